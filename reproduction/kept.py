"""What a report keeps of its runs, and the command that makes a missing one."""

from __future__ import annotations

import json
from pathlib import Path

from nseg_lib import config
from nseg_lib.files import sha256, write_atomic
from nseg_lib.provenance import PROJECT, portable_path
from nseg_lib.training.runs import Run, find_runs, logged_runs
from reproduction import profiles

KEPT = ("log.csv", "steps.csv", "weights.safetensors.json")
"""Files of a run that a report keeps: a row an epoch, a row every few steps, provenance."""


def keep_logs(runs: str | Path, report: str | Path) -> list[Path]:
    """Copy :data:`KEPT` of every run that finished an epoch into a report's folder of logs.

    Returns:
        The copies. What the report has of runs that are not there stays.
    """
    copies = []
    for run in (run for of_model in logged_runs(runs).values() for run in of_model):
        for name in KEPT:
            if (run.folder / name).is_file():
                copy = Path(report) / run.model / run.folder.name / name
                write_atomic(copy, (run.folder / name).read_bytes())
                copies.append(copy)
    return copies


RECORDS = "SHA256SUMS"
"""Lists the provenance of a report: the JSON file beside each of its files, with its SHA-256."""


def records(report: Path) -> list[Path]:
    """The JSON files of a report's rows, measurements, trainings, tables, figures and strokes."""
    return sorted(
        path
        for folder in ("rows", "measured", "training", "tables", "figures", "strokes")
        for path in (report / folder).rglob("*.json")
    )


def write_record_sums(report: Path) -> None:
    """Write :data:`RECORDS` of a report, as ``sha256sum`` does."""
    lines = [f"{sha256(p)}  {p.relative_to(report).as_posix()}\n" for p in records(report)]
    write_atomic(report / RECORDS, "".join(lines))


MAX_WEIGHT_BYTES = 12_000_000
"""Bytes of weights that a package may carry, each: the 16-128 models have 7.8 million."""


def ship_weights(run: Run, folder: Path) -> list[Path]:
    """Copy a finished run's weights and provenance into the package's folder of weights.

    Returns:
        ``<model>.safetensors`` and ``<model>.json`` there.

    Raises:
        ValueError: the run is not finished, or its weights are larger than
        :data:`MAX_WEIGHT_BYTES`.
    """
    sidecar = run.weights.with_name(f"{run.weights.name}.json")
    for path in (run.weights, sidecar):
        if not path.is_file():
            raise ValueError(f"{path}: no such file; is {run.model}, seed {run.seed} trained?")
    size = run.weights.stat().st_size
    if size > MAX_WEIGHT_BYTES:
        raise ValueError(
            f"{run.weights}: {size:,} bytes, at most {MAX_WEIGHT_BYTES:,} can be shipped"
        )
    targets = [folder / f"{run.model}{suffix}" for suffix in (".safetensors", ".json")]
    for source, target in zip((run.weights, sidecar), targets, strict=True):
        write_atomic(target, source.read_bytes())
    return targets


def nearest_run(found: dict[str, list[Run]], wanted: str) -> Run | None:
    """The first run of a model, or else of the one found next to it in the paper's table.

    ``None`` where none of the paper's eight was trained.
    """
    place = config.THE_EIGHT.index(wanted)
    models = [name for name in config.THE_EIGHT if name in found]
    if not models:
        return None
    return found[min(models, key=lambda name: abs(config.THE_EIGHT.index(name) - place))][0]


def missing_run_command(model: str, data: str | Path, runs: str | Path) -> str:
    """The command that trains what is missing from a folder of runs.

    In a profile's folder it is the profile's, and where there are no runs yet the command of its
    graph, which makes them all. Elsewhere, data and training settings are those of the runs that
    are there, so that the new row can stand beside theirs; without any, they are the paper's.
    """
    name = Path(runs).name
    if name in profiles.available(PROJECT):
        if not find_runs(runs):
            return f"make reproduce PROFILE={name}"
        if Path(runs).resolve() == PROJECT / "runs" / name:
            profile = profiles.load(PROJECT, name)
            return profiles.train_command(profile, model, profile.seeds[0])
    settings, seed = "", config.TrainingConfig().seed
    for run in (runs_[0] for runs_ in find_runs(runs).values()):
        theirs = json.loads((run.folder / "run.json").read_bytes())["config"]
        defaults = config.load(model).model_dump()
        for part in ("data", "training"):
            changed = {k: v for k, v in theirs[part].items() if v != defaults[part][k]}
            seed = changed.pop("seed", seed)
            settings += "".join(f" --set {part}.{k}={v}" for k, v in changed.items())
        settings += f" --set training.seed={seed}" if seed != defaults["training"]["seed"] else ""
        break
    folder = f"{portable_path(runs)}/{model}/seed{seed}"
    return f"nseg train {model} --data {portable_path(data)} --out {folder}{settings}"
