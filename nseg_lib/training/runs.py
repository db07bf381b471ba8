"""TODO."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nseg_lib import config


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


def find_runs(runs: str | Path) -> dict[str, list[Run]]:
    """Model → its finished runs by seed; the paper's eight in table order first."""
    return _by_model(Path(runs).glob("*/seed*/weights.safetensors"))


def logged_runs(runs: str | Path) -> dict[str, list[Run]]:
    """Model → its runs that finished an epoch, also those that were cut off or go on."""
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
