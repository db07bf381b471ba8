"""Tables of the refiner beside other methods: by kind of prompt, by size, stroke after stroke.

They and the figure are made of the files of rows alone (:func:`nseg_lib.evaluation.judge.measure`),
so they can be made again at any time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nseg_lib import provenance
from nseg_lib.data import frozen as prompts
from nseg_lib.evaluation import tables
from nseg_lib.evaluation.corrections import (
    CURVE,
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
    summarise,
)
from nseg_lib.files import write_atomic
from nseg_lib.networks.weights import PRETRAINED

_OBJECT = ["image_id", "annotation_id"]

SIZES = ("all", "small", "middle", "large")
"""All objects, and thirds of a split's objects by their area in pixels."""


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


def tables_of(folder: str | Path) -> dict[str, str]:
    """Every table as text, by file name.

    ``prompts.csv`` has all of :func:`nseg_lib.evaluation.summary.summarise` for each split, kind
    of prompt and size of object; ``prompts.md`` its rows for all sizes, ``sizes.md`` IoU by size.
    ``overview.csv`` and ``.md`` have IoU with its interval. ``corrections.csv`` and ``.md`` have
    the numbers of strokes, ``curve.csv`` IoU after each.

    Raises:
        ValueError: as :func:`read`; an object without a row of identity.
    """
    rows = read(folder)
    found = overview(rows.answers)
    parts = _parts(rows.answers)
    texts = {
        "prompts.csv": _prompts_csv(parts),
        "prompts.md": _prompts_md(parts),
        "sizes.md": _sizes_md(parts),
        "overview.csv": _csv(found),
        "overview.md": _overview_md(found),
    }
    if len(rows.corrections):
        curves = curve(rows.corrections)
        strokes = strokes_table(rows.corrections)
        texts["curve.csv"] = _csv(curves)
        texts["corrections.csv"] = _csv(strokes)
        texts["corrections.md"] = _strokes_md(strokes, curves, rows.corrections)
    return texts


def write(folder: str | Path) -> list[Path]:
    """Write :func:`tables_of` and the figure into the folder, with sidecars; returns the paths."""
    from nseg_lib.evaluation import refiner_figure as figure

    began, folder = time.perf_counter(), Path(folder)
    rows, texts = read(folder), tables_of(folder)
    for name, text in texts.items():
        write_atomic(folder / name, text)
    seconds = time.perf_counter() - began
    provenance.write_sidecar(folder / "tables", None, rows.files, seconds, files=sorted(texts))
    curves = curve(rows.corrections) if len(rows.corrections) else rows.corrections
    drawn = figure.write(folder, overview(rows.answers), curves)
    return [*(folder / name for name in texts), drawn]


# --- numbers --------------------------------------------------------------------------------------


def overview(answers: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU of each method with each kind of prompt.

    A method may have been measured on some of the pictures only, where it is slow: ``n`` says on
    how many, and its difference to identity is on the same ones.

    Returns:
        Columns ``split``, ``recipe`` (the kind), ``method``, ``n``, ``iou``, ``low`` and ``high``
        (its 95 % bootstrap interval over pictures), ``difference``, ``difference_low`` and
        ``difference_high`` (to the stroke unchanged, per object), ``made_worse`` (share of
        objects more than .005 below the stroke), ``refiner`` (IoU of the package's refiner on the
        same objects; NaN where it has no row of some of them).

    Raises:
        ValueError: an object without a row of identity.
    """
    rows: list[dict[str, Any]] = []
    ours = answers[answers["method"] == PRETRAINED[0]]
    refiner = ours.groupby(["split", "recipe", *_OBJECT])["iou"].mean().to_dict()
    for (split, kind, method), part in answers.groupby(["split", "recipe", "method"], sort=False):
        mine = part.groupby(_OBJECT)["iou"].mean()
        both = _with_identity(answers, part)
        base = both[both["method"] == "identity"].set_index(_OBJECT)["iou"].reindex(mine.index)
        difference = mine - base
        columns = np.column_stack([mine, difference])
        pictures = mine.index.get_level_values("image_id").to_numpy(np.int64)
        (low, d_low), (high, d_high) = bootstrap_interval(columns, pictures)
        row = {"split": split, "recipe": kind, "method": method, "n": len(mine)}
        row |= {"iou": mine.mean(), "low": low, "high": high, "difference": difference.mean()}
        row |= {"difference_low": d_low, "difference_high": d_high}
        same = np.mean([refiner.get((split, kind, *which), np.nan) for which in mine.index])
        row |= {"made_worse": (-difference > IOU_MARGIN).mean()}
        rows.append(row | {"refiner": same})
    frame = pd.DataFrame(rows)
    place = frame["recipe"].map(_kind_order)
    return frame.iloc[place.argsort(kind="stable")].reset_index(drop=True)


def curve(corrections: pd.DataFrame) -> pd.DataFrame:
    """IoU after each stroke, a picture that needs no more keeping its last.

    Returns:
        Columns ``strokes``, ``method``, ``round``, ``n``, ``iou``, ``low``, ``high``.
    """
    rows: list[dict[str, Any]] = []
    for way, part in corrections.groupby("strokes", sort=False):
        for method, wide in _wide(part).items():
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
        for method, wide in _wide(part).items():
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


def _wide(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Method → IoU, one row per picture, a column per stroke; seeds are averaged."""
    found: dict[str, pd.DataFrame] = {}
    for method, rows in part.groupby("method", sort=False):
        mean = rows.groupby(["image_id", "round"])["iou"].mean().unstack("round")
        full = mean.reindex(columns=range(1, MAX_STROKES + 1)).ffill(axis=1)
        found[str(method)] = full
    return found


def _with_identity(answers: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """The rows of one method in one split and kind, and identity's on the same objects."""
    split, kind, method = part[["split", "recipe", "method"]].iloc[0]
    same = (answers["split"] == split) & (answers["recipe"] == kind)
    base = answers[same & (answers["method"] == "identity")]
    base = base.merge(part[_OBJECT].drop_duplicates(), on=_OBJECT)
    missing = len(part[_OBJECT].drop_duplicates()) - len(base)
    if missing:
        raise ValueError(f"{split}, {kind}: {method} has {missing} objects that identity lacks")
    return base if method == "identity" else pd.concat([base, part], ignore_index=True)


def _kind_order(kind: str) -> int:
    return (*prompts.KINDS, *prompts.HUMAN).index(kind)


# --- text -----------------------------------------------------------------------------------------

_KEY = (
    "erode: the paper's stroke. sparse, dense: thin and hatched strokes by the simulator of the "
    "training. plain: straight lines that no training used. …_object: without strokes on the "
    "background. scribbles1: drawn by people. boxes: drawn by people, filled."
)
"""What the columns are called after."""

_Part = tuple[str, str, str, pd.DataFrame]


def _parts(answers: pd.DataFrame) -> list[_Part]:
    """Split, kind, size and the summary of these rows."""
    found: list[_Part] = []
    for split, of_split in answers.groupby("split", sort=False):
        edges = of_split.groupby("image_id")["object_area"].first().quantile([1 / 3, 2 / 3])
        third = np.searchsorted(edges.to_numpy(), of_split["object_area"]) + 1
        for kind in sorted(of_split["recipe"].unique(), key=_kind_order):
            for i, size in enumerate(SIZES if split != prompts.HUMAN_SPLIT else SIZES[:1]):
                chosen = of_split[(of_split["recipe"] == kind) & ((i == 0) | (third == i))]
                if len(chosen):
                    found.append((str(split), str(kind), size, _summary(chosen)))
    return found


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A summary of each method, compared with identity on the method's own objects."""
    summaries_of = [
        summarise(_with_identity(rows, part)) for _, part in rows.groupby("method", sort=False)
    ]
    return pd.concat([s.iloc[[-1]] for s in summaries_of], ignore_index=True)


def _prompts_csv(parts: Sequence[_Part]) -> str:
    texts = []
    for split, kind, size, summary in parts:
        header, *lines = tables.to_csv(summary).splitlines()
        texts += [f"{split},{kind},{size},{line}" for line in lines]
    return "\n".join([f"split,recipe,size,{header}", *texts, ""])


def _prompts_md(parts: Sequence[_Part]) -> str:
    whole = [(s, k, summary) for s, k, size, summary in parts if size == "all"]
    note = (
        "A method with a smaller n saw the first n pictures only; its Δ is to the stroke on those. "
        "Seconds were taken at different times, beside other work; times of one run are in "
        "`benchmarks/results/refiner.json`.\n\n"
    )
    return note + "\n".join(
        f"## {s}: {k}\n\n{tables.to_markdown(summary)}" for s, k, summary in whole
    )


def _sizes_md(parts: Sequence[_Part]) -> str:
    """IoU, its difference to the stroke and the share made worse, by third of object size."""
    header = ("split", "prompt", "method", *SIZES[1:])
    found: dict[tuple[str, str, str], list[str]] = {}
    for split, kind, size, summary in parts:
        for row in summary.to_dict("records") if size != "all" else ():
            cell = f"{row['iou']:.3f} ({row['iou_difference']:+.3f}, {row['made_worse']:.0%}"
            cell += f", n {row['n']})"
            found.setdefault((split, kind, str(row["method"])), []).append(cell)
    lines = [(*key, *cells) for key, cells in found.items() if len(cells) == 3]
    what = "mean difference to the stroke, share made worse, number of objects"
    fewer = "A method with a smaller n saw the first pictures only."
    return f"IoU ({what}) by third of object area. {fewer}\n\n" + tables.markdown(header, lines)


def _overview_md(found: pd.DataFrame) -> str:
    """Methods down, kinds of prompt across; each cell a mean, its interval and share made worse."""
    kinds = list(dict.fromkeys(zip(found["split"], found["recipe"], strict=True)))
    full = found.groupby(["split", "recipe"], sort=False)["n"].max()
    cells = {}
    for row in found.to_dict("records"):
        kind = row["split"], row["recipe"]
        text = f"{row['iou']:.3f} [{row['low']:.3f}, {row['high']:.3f}], {row['made_worse']:.0%}"
        fewer = bool(row["n"] < full[kind])
        there = f"; {PRETRAINED[0]} there {row['refiner']:.3f}" * bool(row["refiner"] >= 0)
        cells[row["method"], *kind] = text + f" (n {row['n']}{there})" * fewer
    head = [f"{kind} ({split}, n {full[split, kind]})" for split, kind in kinds]
    lines = [
        (method, *(cells.get((method, *kind), "–") for kind in kinds))
        for method in dict.fromkeys(found["method"])
    ]
    note = f"{_KEY}\n\n" + (
        "IoU [95 %], share of objects made worse than the stroke by more than .005. Pictures at "
        "their own size. A slow method saw the first n pictures only: compare it with what "
        f"{PRETRAINED[0]} has there, not with the rest of its column.\n\n"
    )
    return note + tables.markdown(("method", *head), lines)


def _strokes_md(strokes: pd.DataFrame, curves: pd.DataFrame, corrections: pd.DataFrame) -> str:
    shown = (1, 2, 3, CURVE, MAX_STROKES)
    header = ["strokes", "method", "n"]
    header += [f"{what}@{100 * t:.0f}" for t in TARGETS for what in ("NoC", "failed")]
    header += [f"IoU after {n}" for n in shown]
    lines = []
    ious = curves.set_index(["strokes", "method", "round"])["iou"]
    for row in strokes.to_dict("records"):
        cells = [str(row["strokes"]), str(row["method"]), str(row["n"])]
        for target in TARGETS:
            at = f"{100 * target:.0f}"
            low, high = row[f"noc{at}_low"], row[f"noc{at}_high"]
            cells += [f"{row[f'noc{at}']:.2f} [{low:.2f}, {high:.2f}]", str(row[f"failed{at}"])]
        lines.append([*cells, *(f"{ious[row['strokes'], row['method'], n]:.3f}" for n in shown)])
    counts = strokes["n"].max()
    note = (
        "NoC@85: mean number of strokes until an IoU of .85 is reached, 20 where it never is; "
        "failed: objects where it never is. plain: straight lines that no training used; "
        "simulated: those of the training's simulator. A method with fewer than "
        f"{counts} objects saw the first n only"
    )
    same = _refiner_on_the_same(corrections, counts)
    return f"{note}{same}.\n\n" + tables.markdown(header, lines)


def _refiner_on_the_same(corrections: pd.DataFrame, full: int) -> str:
    """What the package's refiner needs on the fewer objects that other methods saw."""
    found: dict[str, None] = {}
    for way, part in corrections.groupby("strokes", sort=False):
        wide = _wide(part)
        for values in wide.values():
            if PRETRAINED[0] not in wide or len(values) == full:
                continue
            ours = wide[PRETRAINED[0]].reindex(values.index).to_numpy(np.float64)
            if not np.isnan(ours).any():
                noc = [np.mean([strokes_needed(v, target) for v in ours]) for target in TARGETS]
                at = " and ".join(f"{value:.2f}" for value in noc)
                found[f"{at} on the first {len(values)} ({way})"] = None
    return f"; {PRETRAINED[0]} needs {', '.join(found)}" if found else ""


def _csv(frame: pd.DataFrame) -> str:
    return frame.round(4).to_csv(index=False, lineterminator="\n")
