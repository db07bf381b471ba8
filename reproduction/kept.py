"""Copy a run's log into the report, and its weights into the package."""

from __future__ import annotations

from pathlib import Path

from nseg_lib import config
from nseg_lib.data.coco import read_json
from nseg_lib.files import sha256, write_atomic
from nseg_lib.networks.loading import load_weights
from nseg_lib.networks.weights import PRETRAINED, write_checksums
from nseg_lib.training.runs import Run, logged_runs

KEPT = ("log.csv", "steps.csv", "weights.safetensors.json")
"""Files of a run that a report keeps: a row an epoch, a row every few steps, provenance."""

RECORDS = "SHA256SUMS"
"""Lists the provenance of a report: the JSON file beside each of its files, with its SHA-256."""

MAX_WEIGHT_BYTES = 12_000_000
"""Bytes of weights that a package may carry, each: the 16-128 models have 7.8 million."""


def keep_logs(runs: Path, report: Path) -> None:
    """Copy :data:`KEPT` of every run that finished an epoch into a report's folder of logs.

    What the report has of runs that are not there stays. Networks without a configuration of their
    own, which were tried by hand with ``--set``, do not belong to the report and are not copied.
    """
    known = {name: of for name, of in logged_runs(runs).items() if name in config.names()}
    for run in (run for of_model in known.values() for run in of_model):
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
            are broken, another network's, or larger than :data:`MAX_WEIGHT_BYTES`.
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
    # What the package has would be lost.
    _, trained = load_weights(run.weights)
    if trained.name != run.model:
        raise ValueError(f"{run.weights}: is {trained.name}, not {run.model}")
    if not isinstance(read_json(sources[".json"]), dict):
        raise ValueError(f"{sources['.json']}: not a record of provenance")
    for suffix, source in sources.items():
        write_atomic(folder / f"{run.model}{suffix}", source.read_bytes())
    return [*(folder / f"{run.model}{suffix}" for suffix in sources), write_checksums(folder)]
