"""Tables of the refiner beside other methods: by kind of prompt, by size, stroke after stroke."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib import provenance
from nseg_lib.data.frozen import HUMAN
from nseg_lib.evaluation import refiner_numbers as numbers
from nseg_lib.evaluation import tables
from nseg_lib.evaluation.corrections import CURVE, MAX_STROKES, TARGETS, strokes_needed
from nseg_lib.evaluation.refiner_numbers import REFINER, SIZES
from nseg_lib.files import write_atomic

NEAR = 0.01
"""A method whose mean IoU is no further below the refiner's, and whose paired difference may be 0,
does as well."""

COLUMN_NAMES = (
    "erode: the paper's stroke. sparse, dense: thin and hatched strokes by the simulator of the "
    "training. plain: straight lines that no training used. …_object: without strokes on the "
    "background. …+box: with a box that the object is in, from its sides up to 6 % too far out; "
    "nothing+box: the box alone. scribbles1: drawn by people. boxes: drawn by people, filled."
)

SEEN_BEFORE = (
    "To hold against these numbers: the ranges of the simulator of people's strokes were set from "
    "the same drawings of people that the methods are measured on. The test split selected "
    "nothing, but it was measured with five states of lite0 while that was being made, and lite0 "
    "was changed after each of the first four. lite1, which starts from lite0, was measured once."
)
"""What the package's refiner knew of the pictures that it is measured on."""

_PROMPT = ["split", "recipe"]


def tables_of(folder: Path) -> dict[str, str]:
    """Every table as text, by file name; made of the rows that a folder holds.

    Raises:
        ValueError: as :func:`numbers.read`; an object without a row of identity.
    """
    return _texts(numbers.read(folder))


def write(folder: Path) -> list[Path]:
    """Write :func:`tables_of` and the figure into the folder, with sidecars; returns the paths."""
    from nseg_lib.evaluation import refiner_figure as figure

    began = time.perf_counter()
    rows = numbers.read(folder)
    texts = _texts(rows)
    for name, text in texts.items():
        write_atomic(folder / name, text)
    seconds = time.perf_counter() - began
    provenance.write_sidecar(folder / "tables", None, rows.files, seconds, files=sorted(texts))
    return [*(folder / name for name in texts), figure.write(folder)]


def _texts(rows: numbers.Rows) -> dict[str, str]:
    ious, prompts = numbers.overview(rows.answers), numbers.by_size(rows.answers)
    # What the figure shows is of the pictures that all of its methods saw: the common ones.
    common = numbers.overview(numbers.common(rows.answers, _PROMPT))
    texts = {
        "prompts.csv": _prompts_csv(prompts),
        "prompts.md": _prompts_md(prompts),
        "sizes.md": _sizes_md(prompts),
        "overview.csv": _csv(ious),
        "overview.md": _overview_md(ious),
        "common.csv": _csv(common),
    }
    if len(rows.corrections):
        common = numbers.curve(numbers.common(rows.corrections, ["strokes"]))
        curves, strokes = numbers.curve(rows.corrections), numbers.strokes_table(rows.corrections)
        texts["curve.csv"] = _csv(curves)
        texts["common_curve.csv"] = _csv(common)
        texts["corrections.csv"] = _csv(strokes)
        texts["corrections.md"] = _strokes_md(strokes, curves, rows.corrections)
    return texts


def _csv(frame: pd.DataFrame) -> str:
    return frame.round(4).to_csv(index=False, lineterminator="\n")


def _prompts_csv(prompts: pd.DataFrame) -> str:
    where = [*_PROMPT, "size"]
    lines = tables.to_csv(prompts.drop(columns=where)).splitlines()
    before = [",".join(where), *prompts[where].agg(",".join, axis=1)]
    return "".join(f"{start},{line}\n" for start, line in zip(before, lines, strict=True))


def _prompts_md(prompts: pd.DataFrame) -> str:
    whole = prompts[prompts["size"] == "all"]
    return (
        "A method with a smaller n saw the first n pictures only; its Δ is to the stroke on those. "
        "Seconds were taken at different times, beside other work; times of one run are in "
        "`benchmarks/results/refiner.json`.\n\n"
    ) + "\n".join(
        f"## {split}: {kind}\n\n{tables.to_markdown(part)}"
        for (split, kind), part in whole.groupby(_PROMPT, sort=False)
    )


def _sizes_md(prompts: pd.DataFrame) -> str:
    lines = []
    thirds = prompts[prompts["size"] != "all"]
    for key, part in thirds.groupby([*_PROMPT, "method"], sort=False):
        if len(part) == len(SIZES) - 1:
            cells = [
                f"{row['iou']:.3f} ({row['iou_difference']:+.3f}, {row['made_worse']:.0%}, "
                f"n {row['n']})"
                for row in part.to_dict("records")
            ]
            lines.append((*map(str, key), *cells))
    note = (
        "IoU (mean difference to the stroke, share made worse, number of objects) by third of "
        "object area. A method with a smaller n saw the first pictures only.\n\n"
    )
    return note + tables.markdown(("split", "prompt", "method", *SIZES[1:]), lines)


def _overview_md(found: pd.DataFrame) -> str:
    """Methods that saw all pictures, down, by kinds of prompt, across; below, the others."""
    full = found.groupby(_PROMPT, sort=False)["n"].max()
    kinds = [*full.index]
    places = pd.MultiIndex.from_frame(found[_PROMPT])
    all_seen = found["n"].to_numpy() == full.loc[places].to_numpy()
    cells = {
        (row["method"], row["split"], row["recipe"]): _interval(row, "iou", "low", "high")
        for row in found[all_seen].to_dict("records")
    }
    lines = [
        (method, *(cells.get((method, *kind), "–") for kind in kinds))
        for method in dict.fromkeys(found.loc[all_seen, "method"])
    ]
    head = [f"{kind} ({split}, n {full[split, kind]})" for split, kind in kinds]
    seen = f"{SEEN_BEFORE}\n\n" if REFINER in set(found["method"]) else ""
    text = f"{COLUMN_NAMES}\n\n{seen}"
    text += "IoU [95 %] of the methods that saw all pictures, at their own size.\n\n"
    text += tables.markdown(("method", *head), lines)

    # In words, where another method does as well as the refiner.
    equal = found[
        all_seen & (found["method"] != REFINER) & (found["gap"] > -NEAR) & (found["gap_high"] >= 0)
    ]
    for (split, kind), part in equal.groupby(_PROMPT, sort=False):
        gaps = [f"{row['method']} ({row['gap']:+.3f})" for row in part.to_dict("records")]
        asked = "what people drew," if kind in HUMAN else "prompts"
        text += f"\nOn {asked} “{kind}” ({split}), {' and '.join(gaps)} "
        text += f"{'do' if len(gaps) > 1 else 'does'} as well as {REFINER}, to {NEAR:g} of IoU.\n"

    slow = [
        (row["method"], f"{row['recipe']} ({row['split']})", str(row["n"]), f"{row['iou']:.3f}",
         f"{row['refiner']:.3f}", _interval(row, "gap", "gap_low", "gap_high", "+"))
        for row in found[~all_seen].to_dict("records")
    ]  # fmt: skip
    if not slow:
        return text
    text += f"\nSlow methods saw the first n pictures only; {REFINER} on the same ones:\n\n"
    return text + tables.markdown(("method", "prompt", "n", "IoU", REFINER, "Δ IoU [95 %]"), slow)


def _interval(row: dict[Any, Any], mean: str, low: str, high: str, sign: str = "") -> str:
    if pd.isna(row[mean]):
        return "–"
    return "{} [{}, {}]".format(*(f"{row[key]:{sign}.3f}" for key in (mean, low, high)))


def _strokes_md(strokes: pd.DataFrame, curves: pd.DataFrame, corrections: pd.DataFrame) -> str:
    after = (1, 2, 3, CURVE, MAX_STROKES)
    targets = [f"{100 * target:.0f}" for target in TARGETS]
    header = ["strokes", "method", "n"]
    header += [f"{what}@{at}" for at in targets for what in ("NoC", "failed")]
    header += [f"IoU after {n}" for n in after]
    ious = curves.set_index(["strokes", "method", "round"])["iou"]
    lines = []
    for row in strokes.to_dict("records"):
        cells = [str(row[name]) for name in ("strokes", "method", "n")]
        for at in targets:
            low, high = row[f"noc{at}_low"], row[f"noc{at}_high"]
            cells += [f"{row[f'noc{at}']:.2f} [{low:.2f}, {high:.2f}]", str(row[f"failed{at}"])]
        lines.append([*cells, *(f"{ious[row['strokes'], row['method'], n]:.3f}" for n in after)])
    # What the package's refiner needs on the fewer objects that some methods saw.
    every = {(way, method): found for way, method, found in numbers.by_stroke(corrections)}
    most, there = strokes["n"].max(), dict[str, None]()
    for (way, _), found in every.items():
        ours = every.get((way, REFINER), pd.DataFrame()).reindex(found.index)
        if len(found) < most and ours.size and not ours.isna().any(axis=None):
            needed = (strokes_needed(ours.to_numpy(), target).mean() for target in TARGETS)
            counts = " and ".join(
                f"{strokes:.2f} strokes to {target:.2f}"
                for strokes, target in zip(needed, TARGETS, strict=True)
            )
            there[f"{counts} ({way}, the first {len(found)})"] = None
    note = (
        "NoC@85: mean number of strokes until an IoU of .85 is reached, 20 where it never is; "
        "failed: objects where it never is. plain: straight lines that no training used; "
        "simulated: those of the training's simulator. A method with fewer than "
        f"{most} objects saw only the first ones."
    )
    same = f" On the same objects, {REFINER} needs {'; '.join(there)}." if there else ""
    return f"{note}{same}\n\n" + tables.markdown(header, lines)
