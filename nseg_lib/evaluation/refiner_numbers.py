"""The refiner beside other methods, as numbers: by kind of prompt, by size, stroke after stroke.

They are made of the files of rows alone (:mod:`nseg_lib.evaluation.judge`), so they can be made
again at any time. :mod:`nseg_lib.evaluation.refiner_tables` writes them down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nseg_lib.data.frozen import HUMAN, HUMAN_SPLIT, KINDS
from nseg_lib.evaluation import summary
from nseg_lib.evaluation.corrections import MAX_STROKES, TARGETS, read_corrections, strokes_needed
from nseg_lib.networks.weights import PRETRAINED

REFINER = PRETRAINED[0]
"""The package's refiner. A method that is slow saw some of the pictures only; beside its numbers
stand those of this one on the same pictures."""

SIZES = ("all", "small", "middle", "large")
"""All objects, and thirds of a split's objects by their area in pixels."""

MIN_COMMON = 20
"""The fewest objects of which the figure shows a method."""

OVERVIEW = (
    "split", "recipe", "method", "n", "iou", "low", "high",
    "difference", "difference_low", "difference_high", "made_worse",
    "gap", "refiner", "gap_low", "gap_high",
)  # fmt: skip
"""Columns of :func:`overview`. ``n`` objects; each mean has its 95 % bootstrap interval over
pictures; ``difference`` is to the stroke unchanged, on the same objects; ``made_worse`` is the
share of objects more than .005 below the stroke; ``gap`` is to :data:`REFINER`, whose IoU on the
same objects is ``refiner`` (NaN where it has no row of one)."""

_PROMPT = ["split", "recipe"]
_OBJECT = ["image_id", "annotation_id"]


@dataclass(frozen=True)
class Rows:
    """All rows of a measurement, methods in the order of the tables."""

    answers: pd.DataFrame
    corrections: pd.DataFrame
    """Perhaps empty."""
    files: tuple[Path, ...]


def read(folder: Path) -> Rows:
    """Read ``rows/*.csv`` and ``corrections/*.csv`` of a folder.

    Raises:
        ValueError: no rows of identity; a broken file; corrections of more than one split.
    """
    check_identity(folder)
    files = sorted((folder / "rows").glob("*.csv"))
    corrected = sorted((folder / "corrections").glob("*.csv"))
    answers = pd.concat([summary.read_results(file) for file in files], ignore_index=True)
    corrections = pd.DataFrame()
    if corrected:
        frames = [read_corrections(file) for file in corrected]
        corrections = summary.in_table_order(pd.concat(frames, ignore_index=True))
        splits = corrections["split"].unique()
        if len(splits) > 1:
            raise ValueError(
                f"{folder / 'corrections'}: holds {' and '.join(splits)}; measure each split into "
                "a folder of its own (--out)"
            )
    return Rows(summary.in_table_order(answers), corrections, (*files, *corrected))


def check_identity(folder: Path) -> None:
    """Raise ValueError unless the folder has the rows with which every table compares."""
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
        methods = part.groupby(_OBJECT)["method"].transform("nunique")
        parts.append(part[methods == len(enough)])
    return pd.concat(parts)


def overview(answers: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU of each method with each kind of prompt.

    Returns:
        Columns :data:`OVERVIEW`, kinds in their order.

    Raises:
        ValueError: an object without a row of identity.
    """
    # One row per method and object, its seeds averaged; beside it the stroke's IoU and ours.
    keys = [*_PROMPT, "method", *_OBJECT]
    ious = answers.groupby(keys, sort=False)["iou"].mean().reset_index()
    for column, beside in (("stroke", "identity"), ("refiner", REFINER)):
        theirs = ious[ious["method"] == beside].set_index([*_PROMPT, *_OBJECT])["iou"]
        ious = ious.join(theirs.rename(column), on=[*_PROMPT, *_OBJECT])
    ious["difference"], ious["gap"] = ious["iou"] - ious["stroke"], ious["iou"] - ious["refiner"]
    rows = []
    for key, part in ious.groupby([*_PROMPT, "method"], sort=False):
        missing = int(part["stroke"].isna().sum())
        if missing:
            split, kind, method = key
            raise ValueError(f"{split}, {kind}: {method} has {missing} objects that identity lacks")
        columns = part[["iou", "difference", "gap"]]
        means = columns.mean(skipna=False)
        ends = summary.bootstrap_interval(columns.to_numpy(), part["image_id"].to_numpy())
        row: dict[Any, Any] = dict(zip(OVERVIEW, (*key, len(part)), strict=False))
        for name, mean, low, high in zip(columns, means, *ends, strict=True):
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        row["refiner"] = row["iou"] - row["gap"]
        row["made_worse"] = (-part["difference"] > summary.IOU_MARGIN).mean()
        rows.append(row)
    frame = pd.DataFrame(rows).rename(columns={"iou_low": "low", "iou_high": "high"})
    frame = frame[list(OVERVIEW)]
    order = frame["recipe"].map(_kind_order).argsort(kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def by_size(answers: pd.DataFrame) -> pd.DataFrame:
    """Every metric of each method with each kind of prompt, for all objects and by their size.

    Returns:
        Columns ``split``, ``recipe``, ``size`` (of :data:`SIZES`), and those of
        :func:`nseg_lib.evaluation.summary.summarise`: each method is compared with identity on the
        objects that it was measured on itself.
    """
    found = []
    for split, of_split in answers.groupby("split", sort=False):
        edges = of_split.groupby("image_id")["object_area"].first().quantile([1 / 3, 2 / 3])
        third = np.searchsorted(edges.to_numpy(), of_split["object_area"]) + 1
        for kind in sorted(of_split["recipe"].unique(), key=_kind_order):
            for i, size in enumerate(SIZES if split != HUMAN_SPLIT else SIZES[:1]):
                rows = of_split[(of_split["recipe"] == kind) & ((i == 0) | (third == i))]
                strokes = rows[rows["method"] == "identity"]
                for method, part in rows.groupby("method", sort=False):
                    same = strokes.merge(part[_OBJECT].drop_duplicates(), on=_OBJECT)
                    both = same if method == "identity" else pd.concat([same, part])
                    where = {"split": split, "recipe": kind, "size": size}
                    numbers = summary.summarise(both).iloc[[-1]]
                    found.append(pd.DataFrame(where, index=numbers.index).join(numbers))
    return pd.concat(found, ignore_index=True)


def curve(corrections: pd.DataFrame) -> pd.DataFrame:
    """IoU after each stroke, a picture that needs no more keeping its last.

    Returns:
        Columns ``strokes``, ``method``, ``round``, ``n``, ``iou``, ``low``, ``high``.
    """
    found = []
    for way, method, ious in by_stroke(corrections):
        low, high = summary.bootstrap_interval(ious.to_numpy(), ious.index.to_numpy())
        row = {"strokes": way, "method": method, "round": ious.columns, "n": len(ious)}
        row |= {"iou": ious.to_numpy().mean(0), "low": low, "high": high}
        found.append(pd.DataFrame(row))
    return pd.concat(found, ignore_index=True)


def strokes_table(corrections: pd.DataFrame) -> pd.DataFrame:
    """NoC: mean number of strokes until an IoU is reached, a failure counting as 20.

    Returns:
        Columns ``strokes``, ``method``, ``n`` and for each target ``noc85``, ``noc85_low``,
        ``noc85_high`` (95 % bootstrap interval over pictures) and ``failed85`` (objects that
        never reach it).
    """
    rows = []
    for way, method, ious in by_stroke(corrections):
        row = {"strokes": way, "method": method, "n": len(ious)}
        for target in TARGETS:
            at, counts = f"{100 * target:.0f}", strokes_needed(ious.to_numpy(), target)
            low, high = summary.bootstrap_interval(counts[:, None], ious.index.to_numpy())
            row |= {f"noc{at}": counts.mean(), f"noc{at}_low": low[0], f"noc{at}_high": high[0]}
            row[f"failed{at}"] = int((ious.max(axis=1) < target).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def by_stroke(corrections: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Way of drawing, method, and IoU: a row per picture, a column per stroke; seeds averaged."""
    for way, part in corrections.groupby("strokes", sort=False):
        for method, rows in part.groupby("method", sort=False):
            mean = rows.groupby(["image_id", "round"])["iou"].mean().unstack("round")
            every = mean.reindex(columns=range(1, MAX_STROKES + 1)).ffill(axis=1)
            yield str(way), str(method), every.astype(np.float64)


def _kind_order(kind: str) -> int:
    return (*KINDS, *HUMAN).index(kind)
