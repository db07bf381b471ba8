"""What training left behind: ``<runs>/<model>/seed<k>/``, and the command for what is not there.

Tables, figures and chapters ask here which networks there are, so that a missing one is named
with the command that makes it and never silently left out. The small files of a run, its logs and
its provenance, are kept with the report too (:func:`keep`): it can be read without the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nseg_lib import config, profiles
from nseg_lib.provenance import PROJECT, portable_path, write_atomic

KEPT = ("log.csv", "steps.csv", "weights.safetensors.json")
"""Files of a run that a report keeps: a row an epoch, a row every few steps, provenance."""


@dataclass(frozen=True)
class Run:
    """One trained network: a model, a seed, and the folder that ``nseg train`` filled."""

    model: str
    seed: int
    folder: Path

    @property
    def weights(self) -> Path:
        """The network of the epoch with the lowest validation loss."""
        return self.folder / "weights.safetensors"

    def log(self) -> pd.DataFrame:
        """A row an epoch: ``epoch``, ``steps``, ``dropped``, ``train_loss``, ``val_loss``, …."""
        return pd.read_csv(self.folder / "log.csv")

    def steps(self) -> pd.DataFrame:
        """A row every few steps: ``epoch``, ``step``, ``train_loss``."""
        return pd.read_csv(self.folder / "steps.csv")

    @property
    def best_epoch(self) -> int:
        """The epoch whose network was kept; the first is 0."""
        log = self.log()
        return int(log["epoch"].iloc[log["val_loss"].argmin()])

    @property
    def waited(self) -> int:
        """Epochs since the one that was kept: early stopping ends a run at a number of these."""
        return len(self.log()) - 1 - self.best_epoch


def find(runs: str | Path) -> dict[str, list[Run]]:
    """Model → its finished runs by seed; the paper's eight in table order first."""
    return _by_model(Path(runs).glob("*/seed*/weights.safetensors"))


def logged(runs: str | Path) -> dict[str, list[Run]]:
    """As :func:`find`, with the runs that were cut off or go on: all that finished an epoch."""
    found = _by_model(Path(runs).glob("*/seed*/log.csv"))
    some = {model: [run for run in of_model if len(run.log())] for model, of_model in found.items()}
    return {model: of_model for model, of_model in some.items() if of_model}


def _by_model(files: Iterable[Path]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for path in files:
        match = re.fullmatch(r"seed(\d+)", path.parent.name)
        if match:
            run = Run(path.parent.parent.name, int(match[1]), path.parent)
            found.setdefault(run.model, []).append(run)
    order = {name: place for place, name in enumerate(config.names())}
    models = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return {name: sorted(found[name], key=lambda run: run.seed) for name in models}


def keep(runs: str | Path, report: str | Path) -> list[Path]:
    """Copy :data:`KEPT` of every run that finished an epoch into a report's folder of logs.

    Returns:
        The copies. What the report has of runs that are not there stays.
    """
    copies = []
    for run in (run for of_model in logged(runs).values() for run in of_model):
        for name in KEPT:
            if (run.folder / name).is_file():
                copy = Path(report) / run.model / run.folder.name / name
                write_atomic(copy, (run.folder / name).read_bytes())
                copies.append(copy)
    return copies


LARGEST = 12_000_000
"""Bytes of weights that a package may carry, each: the 16-128 models have 7.8 million."""


def ship(run: Run, folder: Path) -> list[Path]:
    """Copy a finished run's weights and provenance into the package's folder of weights.

    Returns:
        ``<model>.safetensors`` and ``<model>.json`` there.

    Raises:
        ValueError: the run is not finished, or its weights are larger than :data:`LARGEST`.
    """
    sidecar = run.weights.with_name(f"{run.weights.name}.json")
    for path in (run.weights, sidecar):
        if not path.is_file():
            raise ValueError(f"{path}: no such file; is {run.model}, seed {run.seed} trained?")
    size = run.weights.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{run.weights}: {size:,} bytes, at most {LARGEST:,} can be shipped")
    targets = [folder / f"{run.model}{suffix}" for suffix in (".safetensors", ".json")]
    for source, target in zip((run.weights, sidecar), targets, strict=True):
        write_atomic(target, source.read_bytes())
    return targets


def nearest(found: dict[str, list[Run]], wanted: str) -> Run | None:
    """The first run of a model, or else of the one found next to it in the paper's table.

    ``None`` where none of the paper's eight was trained.
    """
    place = config.THE_EIGHT.index(wanted)
    models = [name for name in config.THE_EIGHT if name in found]
    if not models:
        return None
    return found[min(models, key=lambda name: abs(config.THE_EIGHT.index(name) - place))][0]


def command(model: str, data: str | Path, runs: str | Path) -> str:
    """The command that trains what is missing from a folder of runs.

    In a profile's folder it is the profile's, and where there are no runs yet the command of its
    graph, which makes them all. Elsewhere, data and training settings are those of the runs that
    are there, so that the new row can stand beside theirs; without any, they are the paper's.
    """
    name = Path(runs).name
    if name in profiles.available(PROJECT):
        if not find(runs):
            return f"make reproduce PROFILE={name}"
        if Path(runs).resolve() == PROJECT / "runs" / name:
            profile = profiles.load(PROJECT, name)
            return profiles.train_command(profile, model, profile.seeds[0])
    settings, seed = "", config.TrainingConfig().seed
    for run in (runs_[0] for runs_ in find(runs).values()):
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
