"""The refiner beside other methods, as numbers: by kind of prompt, and stroke after stroke.

They are made of the files of rows alone (:func:`nseg_lib.evaluation.judge.measure`), so they can be
made again at any time. :mod:`nseg_lib.evaluation.refiner_tables` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nseg_lib.data import frozen as prompts
from nseg_lib.evaluation.corrections import (
    MAX_STROKES,
    TARGETS,
    read_corrections,
    strokes_needed,
)
from nseg_lib.evaluation.summary import (
    IOU_MARGIN,
    bootstrap_interval,
    in_table_order,
    read_results,
)
from nseg_lib.networks.weights import PRETRAINED

_OBJECT = ["image_id", "annotation_id"]

MIN_COMMON = 20
"""The fewest objects of which the figure shows a method."""


@dataclass(frozen=True)
class Rows:
    """All rows of a measurement."""

    answers: pd.DataFrame
    """As ``read_results`` returns them, methods in the order of the tables."""
    corrections: pd.DataFrame
    """As :func:`nseg_lib.evaluation.corrections.read_corrections`; perhaps empty."""
    files: tuple[Path, ...]


def read(folder: str | Path) -> Rows:
    """Read ``rows/*.csv`` and ``corrections/*.csv`` of a folder.

    Raises:
        ValueError: no rows of identity, which every table needs; a broken file; corrections of
            more than one split.
    """
    folder = Path(folder)
    check_identity(folder)
    files = sorted((folder / "rows").glob("*.csv"))
    corrected = sorted((folder / "corrections").glob("*.csv"))
    answers = pd.concat([read_results(file) for file in files], ignore_index=True)
    corrections = pd.DataFrame()
    if corrected:
        frames = [read_corrections(file) for file in corrected]
        corrections = in_table_order(pd.concat(frames, ignore_index=True))
        splits = corrections["split"].unique()
        if len(splits) > 1:
            raise ValueError(
                f"{folder / 'corrections'}: holds {' and '.join(splits)}; measure each split into "
                "a folder of its own (--out)"
            )
    return Rows(in_table_order(answers), corrections, (*files, *corrected))


def check_identity(folder: Path) -> None:
    """Refuse a folder without the rows of identity, with which every table compares.

    Raises:
        ValueError: there are none.
    """
    if not (folder / "rows" / "identity.csv").is_file():
        raise ValueError(f"{folder}: no rows/identity.csv; measure identity into this folder")


def common(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of objects that all methods saw, so that their means can be compared by eye.

    Args:
        keys: columns by which the rows are grouped; each group has its own common objects. A method
            that saw fewer than :data:`MIN_COMMON` of a group's objects is left out of it, unless
            there are no more.
    """
    parts = []
    for _, part in rows.groupby(keys, sort=False):
        objects = part.groupby("method")["image_id"].nunique()
        enough = objects[objects >= min(MIN_COMMON, objects.max())].index
        part = part[part["method"].isin(enough)]
        methods = part.groupby(["image_id", "annotation_id"])["method"].transform("nunique")
        parts.append(part[methods == len(enough)])
    return pd.concat(parts)


def overview(answers: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU of each method with each kind of prompt.

    A method may have been measured on some of the pictures only, where it is slow: ``n`` says on
    how many, and its difference to identity is on the same ones.

    Returns:
        Columns ``split``, ``recipe`` (the kind), ``method``, ``n``, ``iou``, ``low`` and ``high``
        (its 95 % bootstrap interval over pictures), ``difference``, ``difference_low`` and
        ``difference_high`` (to the stroke unchanged, per object), ``made_worse`` (share of
        objects more than .005 below the stroke), ``refiner`` (IoU of the package's refiner on the
        same objects; NaN where it has no row of some of them), ``gap``, ``gap_low`` and
        ``gap_high`` (the method's IoU less the refiner's, per object).

    Raises:
        ValueError: an object without a row of identity.
    """
    rows: list[dict[str, Any]] = []
    ours = answers[answers["method"] == PRETRAINED[0]]
    refiner = ours.groupby(["split", "recipe", *_OBJECT])["iou"].mean().to_dict()
    for (split, kind, method), part in answers.groupby(["split", "recipe", "method"], sort=False):
        mine = part.groupby(_OBJECT)["iou"].mean()
        both = with_identity(answers, part)
        base = both[both["method"] == "identity"].set_index(_OBJECT)["iou"].reindex(mine.index)
        difference = mine - base
        gap = mine - [refiner.get((split, kind, *objects), np.nan) for objects in mine.index]
        columns = np.column_stack([mine, difference, gap])
        pictures = mine.index.get_level_values("image_id").to_numpy(np.int64)
        (low, d_low, g_low), (high, d_high, g_high) = bootstrap_interval(columns, pictures)
        row: dict[str, Any] = {"split": split, "recipe": kind, "method": method, "n": len(mine)}
        row |= {"iou": mine.mean(), "low": low, "high": high, "difference": difference.mean()}
        row |= {"difference_low": d_low, "difference_high": d_high}
        row |= {"made_worse": (-difference > IOU_MARGIN).mean()}
        row["gap"] = gap.mean() if gap.notna().all() else np.nan
        row |= {"refiner": row["iou"] - row["gap"], "gap_low": g_low, "gap_high": g_high}
        rows.append(row)
    frame = pd.DataFrame(rows)
    place = frame["recipe"].map(kind_order)
    return frame.iloc[place.argsort(kind="stable")].reset_index(drop=True)


def curve(corrections: pd.DataFrame) -> pd.DataFrame:
    """IoU after each stroke, a picture that needs no more keeping its last.

    Returns:
        Columns ``strokes``, ``method``, ``round``, ``n``, ``iou``, ``low``, ``high``.
    """
    rows: list[dict[str, Any]] = []
    for way, part in corrections.groupby("strokes", sort=False):
        for method, wide in by_stroke(part).items():
            values = wide.to_numpy(np.float64)
            low, high = bootstrap_interval(values, wide.index.to_numpy(np.int64))
            for i, number in enumerate(wide):
                row = {"strokes": way, "method": method, "round": number, "n": len(wide)}
                row |= {"iou": values[:, i].mean(), "low": low[i], "high": high[i]}
                rows.append(row)
    return pd.DataFrame(rows)


def strokes_table(corrections: pd.DataFrame) -> pd.DataFrame:
    """NoC: mean number of strokes until an IoU is reached, a failure counting as 20.

    Returns:
        Columns ``strokes``, ``method``, ``n`` and for each target ``noc85``, ``noc85_low``,
        ``noc85_high`` (95 % bootstrap interval over pictures) and ``failed85`` (objects that
        never reach it).
    """
    rows: list[dict[str, Any]] = []
    for way, part in corrections.groupby("strokes", sort=False):
        for method, wide in by_stroke(part).items():
            row: dict[str, Any] = {"strokes": way, "method": method, "n": len(wide)}
            values = wide.to_numpy(np.float64)
            for target in TARGETS:
                at = f"noc{100 * target:.0f}"
                needed = np.array([strokes_needed(v, target) for v in values], np.float64)
                low, high = bootstrap_interval(needed[:, None], wide.index.to_numpy())
                row |= {at: needed.mean(), f"{at}_low": low[0], f"{at}_high": high[0]}
                row[f"failed{100 * target:.0f}"] = int((values.max(axis=1) < target).sum())
            rows.append(row)
    return pd.DataFrame(rows)


def by_stroke(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Method → IoU, one row per picture, a column per stroke; seeds are averaged."""
    found: dict[str, pd.DataFrame] = {}
    for method, rows in part.groupby("method", sort=False):
        mean = rows.groupby(["image_id", "round"])["iou"].mean().unstack("round")
        full = mean.reindex(columns=range(1, MAX_STROKES + 1)).ffill(axis=1)
        found[str(method)] = full
    return found


def with_identity(answers: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """The rows of one method in one split and kind, and identity's on the same objects."""
    split, kind, method = part[["split", "recipe", "method"]].iloc[0]
    same = (answers["split"] == split) & (answers["recipe"] == kind)
    base = answers[same & (answers["method"] == "identity")]
    base = base.merge(part[_OBJECT].drop_duplicates(), on=_OBJECT)
    missing = len(part[_OBJECT].drop_duplicates()) - len(base)
    if missing:
        raise ValueError(f"{split}, {kind}: {method} has {missing} objects that identity lacks")
    return base if method == "identity" else pd.concat([base, part], ignore_index=True)


def kind_order(kind: str) -> int:
    return (*prompts.KINDS, *prompts.HUMAN).index(kind)
