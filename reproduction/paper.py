"""The paper's numbers and its authors' logs; how a profile's setting differs from the paper's."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nseg_lib.provenance import PROJECT
from reproduction import profiles

REPORTS = PROJECT / "reports"

LATENCY = Path("benchmarks") / "results" / "latency.json"
"""Seconds per prediction at 640x480, measured by ``benchmarks/bench_latency.py``."""


@cache
def setting_note(profile: str | None) -> str:
    """How a profile's setting differs from the paper's, on each of its tables and figures.

    Empty for ``paper``, and for what is the same in every profile (``None``).
    """
    if profile in ("paper", None):
        return ""
    note = profiles.load(PROJECT, profile).note if profile in profiles.available(PROJECT) else ""
    return f"Not the paper's setting: {note or f'profile {profile}'}."


@cache
def numbers(path: Path = REPORTS / "paper.yml") -> dict[str, Any]:
    """The printed numbers in ``reports/paper.yml``, such as ``table1``, ``table2``, ``figure1``."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


LOG_COLUMNS = {
    "iou": "val_iou",
    "boundary_iou_1px": "val_boundary_iou",
    "pixel_accuracy": "val_accuracy",
    "hausdorff_region": "val_hausdorff",
    "loss": "val_loss",
}
"""Metric → its column in the authors' logs."""

OWN_COLUMNS = {"val_boundary_iou_1px": "val_boundary_iou", "val_pixel_accuracy": "val_accuracy"}
"""Columns of our logs → those of the authors'. Our first trainings logged loss and IoU alone."""


def authors_logs(path: Path = REPORTS / "authors_logs.csv") -> pd.DataFrame:
    """The validation rows of the authors' training logs, one per model and epoch.

    Columns: ``model``, ``seed`` (0: theirs is unknown), ``epoch`` (the first is 0), ``val_loss``,
    ``val_iou``, ``val_boundary_iou`` (1 px), ``val_accuracy``, ``val_hausdorff`` (region, px). They
    were measured on 100 pictures, with strokes drawn anew at every epoch.
    """
    return pd.read_csv(path).assign(seed=0)


def around_the_best(log: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """A column's value one epoch before the epoch of lowest ``val_loss``, there, and one after.

    Args:
        log: one row per epoch, with ``val_loss`` and the column.

    Returns:
        The three values; NaN where there is no such epoch.
    """
    place = int(log["val_loss"].argmin())  # pandas passes over NaN
    before, there, after = [math.nan, *log[column], math.nan][place : place + 3]
    return before, there, after
