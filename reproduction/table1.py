"""The paper's Tables 1 and 2 beside ours, and Table 1b: what each method adds to the stroke.

All are functions of rows; chapter ``09`` shows them. No model of the paper is left out: one that
was not run is a row that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nseg_lib import config, networks
from nseg_lib.data.frozen import MIN_OBJECT
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.metrics import DISTANCES, LABELS
from nseg_lib.evaluation.summary import IOU_MARGIN, summarise
from nseg_lib.evaluation.tables import difference_cell, mean_cell
from nseg_lib.networks import ModelSize
from nseg_lib.strokes.recipes import MIN_STROKE_AREA
from reproduction.artefacts import Table, grouped
from reproduction.evidence import Evidence
from reproduction.words import notes

PAPER_METRICS = ("pixel_accuracy", "iou", "boundary_iou_1px", "hausdorff_region")
"""What the paper's Table 1 reports, in its order: its "Boundary IoU" is the overlap of one-pixel
boundaries, its "Hausdorff Distance" that between all mask pixels."""

IN_PIXELS = ("boundary_iou_1px", "hausdorff_region")
"""Those that depend on the size of the pictures: at another size than the paper's they are other
numbers, and do not stand beside the paper's."""

LOSSES = {"bce-dice": "BCE, Dice", "bce-dice-bound": "BCE, Dice, boundary"}
"""The second half of a network's name → the terms of its loss."""

NOT_RUN = "not run"

Cells = dict[tuple[str, str], str]
"""(group, column) → a cell."""

RELEASED = "released-"
"""How the names of the networks begin that the paper's authors released."""


def table1(results: pd.DataFrame, printed: Mapping[str, Any], profile: str) -> Table:
    """Table 1 as the paper prints it: its eight networks in two groups, paper beside ours.

    The numbers behind it hold every method, and the test split too.

    Args:
        results: from :func:`nseg_lib.evaluation.summary.read_folder`.
        printed: the paper's, :func:`reproduction.paper.numbers`.
        profile: its name; a verdict is given in the paper's own setting only.
    """
    # Method → its row of a summary: validation, validation by the logit rule, and test, if any.
    val, logit, test = (
        _by_method(results, split, rule)
        for split, rule in (("val", "probability"), ("val", "logit"), ("test", "probability"))
    )
    theirs, tolerance = printed["table1"], printed["tolerance"]
    size = _median_size(results)
    papers_size = "{width[median]}x{height[median]}".format(**printed["figure1"])
    rows = []
    for model, paper in theirs.items():
        ours, (network, _, loss) = val.get(model), model.partition("_")
        row = {("", "network"): network, ("", "loss"): LOSSES[loss]}
        for name in PAPER_METRICS:
            row[LABELS[name], "paper"] = _short(paper[name], name)
            if not ours:
                row[LABELS[name], "ours"] = NOT_RUN
            elif size != papers_size and name in IN_PIXELS:
                row[LABELS[name], "ours"] = "–"
            else:
                row[LABELS[name], "ours"] = _short(ours[name], name, ours[f"{name}_std"])
        if profile == "paper":
            row["", "verdict"] = _verdict(ours, paper, tolerance)
        rows.append(row)

    numbers = []
    methods = [*BASELINES, *theirs, *(m for m in val if m not in theirs and m not in BASELINES)]
    for method in methods:
        paper, ours = theirs.get(method, {}), val.get(method)
        values = {"method": method, "split": "val"} | {f"paper_{k}": v for k, v in paper.items()}
        values["iou_logit05"] = logit[method]["iou"] if ours else math.nan
        numbers.append(values | (ours or {}))
        if method in test:
            rule = {"iou_logit05": math.nan}
            numbers.append({"method": method, "split": "test", **rule, **test[method]})
    return Table(
        "Table 1. Paper and ours, validation pictures.",
        grouped(rows),
        pd.DataFrame(numbers).round(6),
        notes(
            "table1",
            profile=profile,
            val=val["identity"]["n"],
            size=size,
            papers_size=papers_size,
            seeds=sorted({int(row["seeds"]) for m, row in val.items() if m not in BASELINES}),
            tolerance=", ".join(f"{LABELS[n]} {v:g}" for n, v in tolerance.items()),
            missing=[name for name in theirs if name not in val],
        ),
    )


def table1b(results: pd.DataFrame) -> Table:
    """Table 1b: what each method adds to the stroke on pictures that nothing was chosen on.

    Args:
        results: from :func:`nseg_lib.evaluation.summary.read_folder`.
    """
    split = "test" if "test" in set(results["split"]) else "val"
    found = _ranked(summarise(results, split=split))
    return Table(
        "Table 1b. What each method adds to the stroke.",
        grouped([{**_about(row), **_added(row, "")} for row in found]),
        pd.DataFrame(found).round(6),
        notes("table1b", split=split, pictures=found[0]["n"], margin=IOU_MARGIN),
    )


def native_table(largest: pd.DataFrame, every: pd.DataFrame) -> Table:
    """Table 1b at the pictures' own size: the authors' released networks beside ours.

    Args:
        largest, every: rows of the largest object of each test picture, and of every object, see
            :attr:`reproduction.evidence.Evidence.native`.
    """
    found = {
        "largest": _ranked(summarise(largest, split="test")),
        "every": _ranked(summarise(every, split="test")),
    }
    titles = {
        "largest": f"the largest object of each picture ({found['largest'][0]['n']})",
        "every": f"every object ({found['every'][0]['n']})",
    }
    of_every = {row["method"]: row for row in found["every"]}
    rows = [
        _about(row)
        | _added(row, titles["largest"])
        | _added(of_every[row["method"]], titles["every"])
        for row in found["largest"]
    ]
    numbers = pd.concat([pd.DataFrame(part).assign(objects=name) for name, part in found.items()])
    return Table(
        "Table 1b, continued: at the pictures' own size.",
        grouped(rows),
        numbers.round(6),
        notes(
            "table1b_native",
            pictures=every["image_id"].nunique(),
            size=_median_size(every),
            least=MIN_OBJECT,
            stroke=MIN_STROKE_AREA,
            margin=IOU_MARGIN,
        ),
    )


def _about(row: Mapping[str, Any]) -> Cells:
    """The first cells of a row of Table 1b: which method it is, and how large."""
    method = str(row["method"])
    model = method.removeprefix(RELEASED)
    if method == "identity":
        label = "identity: the stroke unchanged"
    else:
        label = f"{model}, as the authors released it" if model != method else method
    known = model in config.names()
    size = f"{networks.size(model).parameters:,}" if known else "–"
    return {("", "method"): label, ("", "parameters"): size}


def _added(row: Mapping[str, Any], group: str) -> Cells:
    """The further cells: what the method's masks are worth, and how much of it is its own."""
    is_stroke = row["method"] == "identity"
    return {
        (group, "IoU"): mean_cell(dict(row), "iou"),
        (group, "Δ IoU [95 %]"): "–" if is_stroke else difference_cell(dict(row), "iou"),
        (group, "1-px boundary IoU"): mean_cell(dict(row), "boundary_iou_1px"),
        (group, "made worse"): "–" if is_stroke else f"{100 * row['made_worse']:.0f} %",
    }


def table1_of(evidence: Evidence) -> Table:
    """Table 1 of a report."""
    return table1(evidence.results, evidence.printed, evidence.profile.name)


def table1b_of(evidence: Evidence) -> Table:
    """Table 1b of a report."""
    return table1b(evidence.results)


def native_of(evidence: Evidence) -> Table | None:
    """Table 1b at the pictures' own size, if they were judged at that size."""
    there = {"largest", "every"} <= evidence.native.keys()
    return native_table(**evidence.native) if there else None


def _by_method(results: pd.DataFrame, split: str, rule: str) -> dict[str, dict[str, Any]]:
    if split not in set(results["split"]):
        return {}
    rows: Any = summarise(results, split=split, rule=rule).to_dict("records")
    return {row["method"]: row for row in rows}


def _ranked(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The stroke, then the classical methods, then the networks, each group by its IoU."""
    kinds = summary["method"].map(
        lambda name: 0 if name == "identity" else 1 if name in BASELINES else 2
    )
    ordered = summary.assign(kind=kinds).sort_values(["kind", "iou"], ascending=[True, False])
    rows: Any = ordered.drop(columns="kind").to_dict("records")
    return list(rows)


def _median_size(results: pd.DataFrame) -> str:
    return f"{results['width'].median():.0f}x{results['height'].median():.0f}"


def _short(value: float, metric: str, spread: float = math.nan) -> str:
    """Three decimals, one for pixels; with ± the deviation over seeds if there are several."""
    decimals = 1 if metric in DISTANCES else 3
    text = f"{value:.{decimals}f}"
    return text if math.isnan(spread) else f"{text} ± {spread:.{decimals}f}"


def _verdict(ours: Any, paper: Mapping[str, float], tolerance: Mapping[str, float]) -> str:
    if not ours:
        return NOT_RUN
    off = [name for name in tolerance if abs(ours[name] - paper[name]) > tolerance[name]]
    return "agrees" if not off else f"differs: {', '.join(LABELS[name] for name in off)}"


def table2(sizes: Sequence[ModelSize], printed: Mapping[str, float]) -> Table:
    """Table 2: the paper's sizes beside weights and training checkpoint.

    Args:
        sizes: of each model, :func:`nseg_lib.networks.size`.
        printed: the paper's "MB", ``paper.numbers()["table2"]``.
    """
    rows, numbers = [], []
    for one in sizes:
        paper, weights = printed.get(one.name, math.nan), one.weight_bytes / 2**20
        checkpoint = one.checkpoint_bytes / 2**20
        off = checkpoint / paper - 1
        rows.append({
            ("", "method"): one.name,
            ("", "parameters"): f"{one.parameters:,}",
            ("paper", "MB"): "–" if math.isnan(paper) else f"{paper:.2f}",
            ("ours, MiB", "weights"): f"{weights:.2f}",
            ("ours, MiB", "with Adam's moments"): f"{checkpoint:.2f}",
            ("ours, MiB", "less the paper's"): "–" if math.isnan(off) else f"{100 * off:+.1f} %",
            ("", "GFLOP at 640x480"): f"{one.gflop:.1f}",
        })  # fmt: skip
        numbers.append((one.name, one.parameters, paper, weights, checkpoint, one.gflop))
    columns = ["method", "parameters", "paper_mb", "weights_mib", "checkpoint_mib", "gflop_640x480"]
    caption, frame = "Table 2. Size of each model.", pd.DataFrame(numbers, columns=columns)
    return Table(caption, grouped(rows), frame, notes("table2"))


def table2_of(evidence: Evidence) -> Table:
    """Table 2, which needs no rows."""
    printed = evidence.printed["table2"]
    return table2([networks.size(name) for name in printed], printed)
