"""The paper's Tables 1 and 2 beside ours, as functions of rows; chapter ``07`` shows them.

No model of the paper is left out: one that was not run is a row that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.evaluation.summary import IOU_MARGIN, summarise
from nseg_lib.evaluation.tables import difference_cell, mean_cell, number
from nseg_lib.networks import ModelSize
from reproduction.artefacts import Table, grouped
from reproduction.paper import around_the_best
from reproduction.words import notes

PAPER_METRICS = ("pixel_accuracy", "iou", "boundary_iou_1px", "hausdorff_region")
"""What the paper's Table 1 reports, in its order: its "Boundary IoU" is the overlap of one-pixel
boundaries, its "Hausdorff Distance" that between all mask pixels."""

NOT_RUN = "not run"

Cells = dict[tuple[str, str], str]


def table1(
    results: pd.DataFrame, printed: Mapping[str, Any], authors: pd.DataFrame, profile: str
) -> Table:
    """Table 1: paper, its authors' logs and ours, identity and the classical methods first.

    Args:
        results: from :func:`nseg_lib.evaluation.summary.read_folder`.
        printed: the paper's, :func:`reproduction.paper.numbers`.
        authors: :func:`reproduction.paper.authors_logs`.
        profile: its name; a verdict is given in the paper's own setting only.
    """
    val, logit, test = _summaries(results)
    theirs = printed["table1"]
    models = [*theirs, *(m for m in val if m not in theirs and m not in BASELINES)]
    rows, numbers = [], []
    for method in [*BASELINES, *models]:
        paper, ours, judged = theirs.get(method, {}), val.get(method), test.get(method)
        row: Cells = {("", "method"): method}
        for name in PAPER_METRICS:
            row[LABELS[name], "paper"] = number(paper.get(name, math.nan), name)
            row[LABELS[name], "ours"] = mean_cell(ours, name) if ours else "–"
        row["", "verdict"] = _verdict(ours, paper, printed["tolerance"], profile)
        row |= _authors_cells(authors, method)
        row |= _against_identity("validation", ours, method)
        row["validation", "IoU, logit > .5"] = mean_cell(logit[method], "iou") if ours else "–"
        if test:
            for name in PAPER_METRICS:
                row["test", LABELS[name]] = mean_cell(judged, name) if judged else "–"
            row |= _against_identity("test", judged, method)
        rows.append(row)
        for split, summary in (("val", ours), ("test", judged)):
            if summary or split == "val":
                known = {f"paper_{k}": v for k, v in paper.items()} if split == "val" else {}
                rule = logit[method]["iou"] if ours and split == "val" else math.nan
                here = {"iou_logit05": rule, **(summary or {})}
                numbers.append({"method": method, "split": split, **known, **here})
    return Table(
        "Table 1. Paper and ours, by method.",
        grouped(rows),
        pd.DataFrame(numbers).round(6),
        notes(
            "table1",
            profile=profile,
            val=val["identity"]["n"],
            test=test["identity"]["n"] if test else 0,
            size=f"{results['width'].median():.0f}x{results['height'].median():.0f}",
            seeds=sorted({int(row["seeds"]) for m, row in val.items() if m not in BASELINES}),
            margin=IOU_MARGIN,
            tolerance=", ".join(f"{LABELS[n]} {v:g}" for n, v in printed["tolerance"].items()),
            missing=[name for name in models if name not in val],
        ),
    )


def _summaries(results: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Method → its row of a summary: validation, validation by the logit rule, test."""
    wanted = [("val", "probability"), ("val", "logit")]
    if "test" in set(results["split"]):
        wanted.append(("test", "probability"))
    found = []
    for split, rule in wanted:
        summary = summarise(results, split=split, rule=rule)
        found.append({row["method"]: row for row in summary.to_dict("records")})
    return found[0], found[1], found[2] if len(found) > 2 else {}


def _authors_cells(authors: pd.DataFrame, method: str) -> Cells:
    """The epoch that the authors' row comes from, and what stood beside it."""
    group = "authors' log, IoU"
    log = authors[authors["model"] == method]
    if log.empty:
        return {(group, column): "–" for column in ("epoch", "one before, after")}
    epoch, _, near = around_the_best(log, "val_iou")
    return {
        (group, "epoch"): f"{epoch} of {len(log)}",
        (group, "one before, after"): ", ".join(number(value, "iou") for value in near),
    }


def _verdict(
    ours: Any,
    paper: Mapping[str, float],
    tolerance: Mapping[str, float],
    profile: str,
) -> str:
    if not ours:
        return NOT_RUN
    if not paper or profile != "paper":
        return "–"
    off = [n for n in tolerance if abs(ours[n] - paper[n]) > tolerance[n]]
    return "agrees" if not off else f"differs: {', '.join(LABELS[n] for n in off)}"


def _against_identity(group: str, row: Any, method: str) -> Cells:
    judged = row is not None and method != "identity"
    return {
        (group, "Δ IoU to identity [95 %]"): difference_cell(row, "iou") if judged else "–",
        (group, "made worse"): f"{100 * row['made_worse']:.0f} %" if judged else "–",
    }


def table2(sizes: Sequence[ModelSize], printed: Mapping[str, float]) -> Table:
    """Table 2: the paper's sizes beside weights and training checkpoint.

    Args:
        sizes: of each model, :func:`nseg_lib.networks.size`.
        printed: the paper's "MB", ``paper.numbers()["table2"]``.
    """
    rows, numbers = [], []
    for size in sizes:
        paper = printed.get(size.name, math.nan)
        mib = {"weights": size.weight_bytes / 2**20, "checkpoint": size.checkpoint_bytes / 2**20}
        off = mib["checkpoint"] / paper - 1
        rows.append(
            {
                ("", "method"): size.name,
                ("", "parameters"): f"{size.parameters:,}",
                ("paper", "MB"): "–" if math.isnan(paper) else f"{paper:.2f}",
                ("ours, MiB", "weights"): f"{mib['weights']:.2f}",
                ("ours, MiB", "with Adam's moments"): f"{mib['checkpoint']:.2f}",
                ("ours, MiB", "less the paper's"): "–"
                if math.isnan(off)
                else f"{100 * off:+.1f} %",
                ("", "GFLOP at 640x480"): f"{size.gflop:.1f}",
            }
        )
        numbers.append(
            {
                "method": size.name,
                "parameters": size.parameters,
                "paper_mb": paper,
                "weights_mib": mib["weights"],
                "checkpoint_mib": mib["checkpoint"],
                "gflop_640x480": size.gflop,
            }
        )
    caption, frame = "Table 2. Size of each model.", pd.DataFrame(numbers)
    return Table(caption, grouped(rows), frame, notes("table2"))
