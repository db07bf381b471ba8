"""Copy a run's log into the report and its weights into the package; name runs that are missing."""

from __future__ import annotations

import json
from pathlib import Path

from nseg_lib import config
from nseg_lib.files import sha256, write_atomic
from nseg_lib.networks.weights import PRETRAINED, write_checksums
from nseg_lib.provenance import PROJECT, portable_path
from nseg_lib.training.runs import Run, find_runs, logged_runs
from reproduction import profiles
from reproduction.ingredients import flat

KEPT = ("log.csv", "steps.csv", "weights.safetensors.json")
"""Files of a run that a report keeps: a row an epoch, a row every few steps, provenance."""

RECORDS = "SHA256SUMS"
"""Lists the provenance of a report: the JSON file beside each of its files, with its SHA-256."""

MAX_WEIGHT_BYTES = 12_000_000
"""Bytes of weights that a package may carry, each: the 16-128 models have 7.8 million."""


def keep_logs(runs: Path, report: Path) -> None:
    """Copy :data:`KEPT` of every run that finished an epoch into a report's folder of logs.

    What the report has of runs that are not there stays.
    """
    for run in (run for of_model in logged_runs(runs).values() for run in of_model):
        for name in KEPT:
            if (run.folder / name).is_file():
                copy = report / run.model / run.folder.name / name
                write_atomic(copy, (run.folder / name).read_bytes())


def records(report: Path) -> list[Path]:
    """The JSON files of a report's rows, measurements, trainings, tables, figures and strokes.

    And all files of ``native``, whose rows no step of the workflow makes.
    """
    folders = ("rows", "measured", "training", "tables", "figures", "strokes")
    found = (path for folder in folders for path in (report / folder).rglob("*.json"))
    return sorted([*found, *(report / "native").rglob("*.*")])


def write_record_sums(report: Path) -> None:
    """Write :data:`RECORDS` of a report, as ``sha256sum`` does."""
    lines = [f"{sha256(p)}  {p.relative_to(report).as_posix()}\n" for p in records(report)]
    write_atomic(report / RECORDS, "".join(lines))


def ship_weights(run: Run, folder: Path) -> list[Path]:
    """Copy a finished run's weights and provenance into the package's folder of weights.

    Returns:
        ``<model>.safetensors``, ``<model>.json`` and the folder's checksums.

    Raises:
        ValueError: the package does not ship this model, the run is not finished, or its weights
            are larger than :data:`MAX_WEIGHT_BYTES`.
    """
    if run.model not in PRETRAINED:
        raise ValueError(
            f"'{run.model}' is not one of {', '.join(PRETRAINED)}; to ship it, first add it to "
            "PRETRAINED in nseg_lib/networks/weights.py, and a card to nseg_lib/weights/README.md"
        )
    sources = {".safetensors": run.weights, ".json": run.weights.with_suffix(".safetensors.json")}
    for path in sources.values():
        if not path.is_file():
            raise ValueError(f"{path}: no such file; is {run.model}, seed {run.seed} trained?")
    size = run.weights.stat().st_size
    if size > MAX_WEIGHT_BYTES:
        raise ValueError(
            f"{run.weights}: {size:,} bytes, at most {MAX_WEIGHT_BYTES:,} can be shipped"
        )
    for suffix, source in sources.items():
        write_atomic(folder / f"{run.model}{suffix}", source.read_bytes())
    return [*(folder / f"{run.model}{suffix}" for suffix in sources), write_checksums(folder)]


def nearest_run(found: dict[str, list[Run]], wanted: str) -> Run | None:
    """The first run of a model, or else of the one found next to it in the paper's table.

    ``None`` where none of the paper's eight was trained.
    """
    place = config.THE_EIGHT.index
    trained = [name for name in config.THE_EIGHT if name in found]
    nearest = min(trained, key=lambda name: abs(place(name) - place(wanted)), default=None)
    return found[nearest][0] if nearest else None


def missing_run_command(model: str, data: Path, runs: Path) -> str:
    """The command that trains what is missing from a folder of runs.

    In a profile's folder it is the profile's, and where there are no runs yet the command of its
    graph, which makes them all. Elsewhere, data and training settings are those of the runs that
    are there, so that the new row can stand beside theirs; without any, they are the paper's.
    """
    there = [found[0] for found in find_runs(runs).values()]
    if runs.name in profiles.available(PROJECT):
        if not there:
            return f"make reproduce PROFILE={runs.name}"
        if runs.resolve() == PROJECT / "runs" / runs.name:
            profile = profiles.load(PROJECT, runs.name)
            return profiles.train_command(profile, model, profile.seeds[0])
    defaults = flat(config.load(model).model_dump(mode="json"))
    theirs = flat(
        json.loads((there[0].folder / "run.json").read_bytes())["config"] if there else {}
    )
    settings = {
        key: value
        for key, value in theirs.items()
        if key.startswith(("data.", "training.")) and value != defaults[key]
    }
    seed = theirs.get("training.seed", defaults["training.seed"])
    out = f"{portable_path(runs)}/{model}/seed{seed}"
    return profiles.nseg_train(model, portable_path(data), out, settings)
