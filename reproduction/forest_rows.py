"""The figure "forest", and what each method of Table 1b adds, as the page draws them.

The page draws them itself, from the report's CSV files, so that their words stay large enough to
read on a phone. Places are in percent of the width of a picture. Nothing is judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from reproduction.forest import PANELS, SOURCES


class Axis:
    """A scale from the lowest to the highest of some values, 0 among them."""

    def __init__(self, values: Any) -> None:
        low, high = min(0.0, *values), max(0.0, *values)
        if low == high:  # nothing but zeros, as where a report has one picture
            low, high = -1.0, 1.0
        room = 0.04 * (high - low)
        self.low, self.high = low - room, high + room
        # Four steps or so: more numbers than that run into one another on a phone.
        places = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        step = places[1] - places[0]
        digits = max(len(f"{each:.6f}".rstrip("0").partition(".")[2]) for each in (step, *places))
        self.ticks = [
            (self.at(each), f"{each:.{digits}f}".replace("-", "−"))
            for each in (0.0 if abs(place) < step / 1e6 else float(place) for place in places)
            if self.low <= each <= self.high
        ]
        self.zero = self.at(0)

    def at(self, value: float) -> float:
        """The place of a value, in percent of the width."""
        return round(100 * (float(value) - self.low) / (self.high - self.low), 2)

    def band(self, reach: float) -> tuple[float, float]:
        """The left end and the width of what lies no further than ``reach`` from 0."""
        left, right = (max(0.0, min(100.0, self.at(end))) for end in (-reach, reach))
        return left, round(right - left, 2)


@dataclass(frozen=True)
class Mark:
    """One estimate: its place, and that of its interval's ends, where it has one."""

    source: str
    """A key of :data:`reproduction.forest.SOURCES`."""
    dot: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ForestRow:
    """One claim's marks, and what lies behind them."""

    claim: str
    primary: bool
    verdict: str
    marks: list[Mark]
    seed: tuple[float, float] | None
    """How far the choice of trainings may move a difference."""
    margin: tuple[float, float] | None
    """What is too small to matter."""
    words: str
    """All of it in words, for those who cannot see it."""


@dataclass(frozen=True)
class Panel:
    """The claims about one metric, on one scale."""

    title: str
    axis: Axis
    rows: list[ForestRow]


def forest_panels(report: Path) -> list[Panel]:
    """The panels of a report's ``forest.csv``, in its order; empty without the file."""
    path = report / "figures" / "forest.csv"
    if not path.is_file():
        return []
    panels = []
    for name, rows in pd.read_csv(path).groupby("panel", sort=False):
        ends = [f"{source}{end}" for source in ("ours", "logs") for end in ("_low", "_high")]
        axis = Axis(rows[[*ends, "printed"]].stack())
        found = [_row(row, axis) for row in rows.to_dict("records")]
        panels.append(Panel(PANELS[str(name)], axis, found))
    return panels


def _row(row: dict[Any, Any], axis: Axis) -> ForestRow:
    marks, words = [], []
    for source, (label, *_) in SOURCES.items():
        if pd.isna(row[source]):
            continue
        low, high = row.get(f"{source}_low"), row.get(f"{source}_high")
        said = f"{label} {row[source]:+.4f}"
        if low is None or high is None:  # the paper prints no interval
            marks.append(Mark(source, axis.at(row[source]), None, None))
        else:
            marks.append(Mark(source, axis.at(row[source]), axis.at(low), axis.at(high)))
            said += f" [{low:+.4f}, {high:+.4f}]"
        words.append(said)
    # A panel has one metric, so its name need not end the name of each of its claims.
    claim = row["claim"] if row["panel"] == "correlation" else row["claim"].partition(": ")[0]
    return ForestRow(
        claim=claim, primary=row["role"] == "primary", verdict=row["verdict"], marks=marks,
        seed=axis.band(row["seed"]) if row["seed"] > 0 else None,
        margin=None if pd.isna(row["margin"]) else axis.band(row["margin"]),
        words="; ".join(words),
    )  # fmt: skip


def added(report: Path) -> Panel | None:
    """What each method of ``table1b.csv`` adds to the stroke, in its order; None without the file.

    The identity's row has no marks.
    """
    path = report / "tables" / "table1b.csv"
    if not path.is_file():
        return None
    frame = pd.read_csv(path)
    axis = Axis(frame[["iou_low", "iou_high"]].stack())
    rows = []
    for row in frame.to_dict("records"):
        places = [axis.at(row[f"iou_{end}"]) for end in ("difference", "low", "high")]
        marks = [] if row["method"] == "identity" else [Mark("ours", *places)]
        rows.append(ForestRow(row["method"], True, "", marks, None, None, ""))
    return Panel("Δ IoU", axis, rows)
