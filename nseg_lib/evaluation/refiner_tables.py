"""Tables of the refiner beside other methods: by kind of prompt, by size, stroke after stroke.

They and the figure are made of the files of rows alone (:func:`nseg_lib.evaluation.judge.measure`),
so they can be made again at any time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
    strokes_needed,
)
from nseg_lib.evaluation.refiner_numbers import (
    by_stroke,
    common,
    curve,
    kind_order,
    overview,
    read,
    strokes_table,
    with_identity,
)
from nseg_lib.evaluation.summary import (
    summarise,
)
from nseg_lib.files import write_atomic
from nseg_lib.networks.weights import PRETRAINED

NEAR = 0.01
"""A method whose mean IoU is no further below the refiner's, and whose paired difference may be 0,
does as well."""

SIZES = ("all", "small", "middle", "large")
"""All objects, and thirds of a split's objects by their area in pixels."""


def tables_of(folder: str | Path) -> dict[str, str]:
    """Every table as text, by file name.

    ``prompts.csv`` has all of :func:`nseg_lib.evaluation.summary.summarise` for each split, kind
    of prompt and size of object; ``prompts.md`` its rows for all sizes, ``sizes.md`` IoU by size.
    ``overview.csv`` and ``.md`` have IoU with its interval. ``corrections.csv`` and ``.md`` have
    the numbers of strokes, ``curve.csv`` IoU after each. ``common.csv`` and ``common_curve.csv``
    are what the figure shows: ``overview.csv`` and ``curve.csv`` of the pictures that all of its
    methods saw.

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
        "common.csv": _csv(overview(common(rows.answers, ["split", "recipe"]))),
    }
    if len(rows.corrections):
        curves = curve(rows.corrections)
        strokes = strokes_table(rows.corrections)
        texts["curve.csv"] = _csv(curves)
        texts["common_curve.csv"] = _csv(curve(common(rows.corrections, ["strokes"])))
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
    drawn = figure.write(folder)
    return [*(folder / name for name in texts), drawn]


# --- text -----------------------------------------------------------------------------------------

_KEY = (
    "erode: the paper's stroke. sparse, dense: thin and hatched strokes by the simulator of the "
    "training. plain: straight lines that no training used. …_object: without strokes on the "
    "background. scribbles1: drawn by people. boxes: drawn by people, filled."
)
"""What the columns are called after."""

_SEEN = (
    "To hold against these numbers: the ranges of the simulator of people's strokes were set from "
    "the same drawings of people that the methods are measured on. The test split selected "
    "nothing, but it was measured with five states of lite0 while that was being made, and lite0 "
    "was changed after each of the first four."
)
"""What the package's refiner knew of the pictures that it is measured on."""

_Part = tuple[str, str, str, pd.DataFrame]


def _parts(answers: pd.DataFrame) -> list[_Part]:
    """Split, kind, size and the summary of these rows."""
    found: list[_Part] = []
    for split, of_split in answers.groupby("split", sort=False):
        edges = of_split.groupby("image_id")["object_area"].first().quantile([1 / 3, 2 / 3])
        third = np.searchsorted(edges.to_numpy(), of_split["object_area"]) + 1
        for kind in sorted(of_split["recipe"].unique(), key=kind_order):
            for i, size in enumerate(SIZES if split != prompts.HUMAN_SPLIT else SIZES[:1]):
                chosen = of_split[(of_split["recipe"] == kind) & ((i == 0) | (third == i))]
                if len(chosen):
                    found.append((str(split), str(kind), size, _summary(chosen)))
    return found


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A summary of each method, compared with identity on the method's own objects."""
    summaries_of = [
        summarise(with_identity(rows, part)) for _, part in rows.groupby("method", sort=False)
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
    """Methods that saw all pictures, down, by kinds of prompt, across; below, the others."""
    full = found.groupby(["split", "recipe"], sort=False)["n"].max()
    kinds = [*full.index]
    places = pd.MultiIndex.from_frame(found[["split", "recipe"]])
    all_seen = found["n"].to_numpy() == full.loc[places].to_numpy()
    refiner = PRETRAINED[0]
    cells = {
        (row["method"], row["split"], row["recipe"]): _interval(row, "iou", "low", "high")
        for row in found[all_seen].to_dict("records")
    }
    lines = [
        (method, *(cells.get((method, *kind), "–") for kind in kinds))
        for method in dict.fromkeys(found.loc[all_seen, "method"])
    ]
    head = [f"{kind} ({split}, n {full[split, kind]})" for split, kind in kinds]
    seen = f"{_SEEN}\n\n" if refiner in set(found["method"]) else ""
    text = f"{_KEY}\n\n{seen}"
    text += "IoU [95 %] of the methods that saw all pictures, at their own size.\n\n"
    text += tables.markdown(("method", *head), lines)

    # In words, where another method does as well as the refiner.
    equal = found[
        all_seen & (found["method"] != refiner) & (found["gap"] > -NEAR) & (found["gap_high"] >= 0)
    ]
    for (split, kind), part in equal.groupby(["split", "recipe"], sort=False):
        gaps = [f"{row['method']} ({row['gap']:+.3f})" for row in part.to_dict("records")]
        asked = "what people drew," if kind in prompts.HUMAN else "prompts"
        text += f"\nOn {asked} “{kind}” ({split}), {' and '.join(gaps)} "
        text += f"{'do' if len(gaps) > 1 else 'does'} as well as {refiner}, to {NEAR:g} of IoU.\n"

    slow = [
        (row["method"], f"{row['recipe']} ({row['split']})", str(row["n"]), f"{row['iou']:.3f}",
         f"{row['refiner']:.3f}", _interval(row, "gap", "gap_low", "gap_high", "+"))
        for row in found[~all_seen].to_dict("records")
    ]  # fmt: skip
    if not slow:
        return text
    text += f"\nSlow methods saw the first n pictures only; {refiner} on the same ones:\n\n"
    return text + tables.markdown(("method", "prompt", "n", "IoU", refiner, "Δ IoU [95 %]"), slow)


def _interval(row: dict[Any, Any], mean: str, low: str, high: str, sign: str = "") -> str:
    if pd.isna(row[mean]):
        return "–"
    return "{} [{}, {}]".format(*(f"{row[key]:{sign}.3f}" for key in (mean, low, high)))


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
        wide = by_stroke(part)
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
