"""What moves a number: chance and choice beside the differences that the paper interprets.

A difference between two networks means little if drawing the strokes anew, reading another epoch
or counting otherwise moves the same number as far. Each such move is a row here.
"""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nseg_lib.course.look import styled
from nseg_lib.evaluation.tables import LABELS
from nseg_lib.palette import PALETTE
from reproduction import comparisons
from reproduction.effects import areas
from reproduction.evidence import Evidence
from reproduction.paper import around_the_best

METRICS = ("iou", "boundary_iou_1px")
"""The two panels."""

CHANCE, CHOICE, READ = "chance", "choice", "read by the paper"

COLOURS = {CHANCE: PALETTE["stroke"], CHOICE: PALETTE["attn"], READ: PALETTE["res"]}

Move = tuple[str, str, str, str, float]
"""Metric, kind, source, what of, and by how much the mean moves (0 or more)."""

DIFFERENCES = {
    "residual, 16-32": comparisons.RESIDUAL,
    "depth, 16-128": comparisons.DEPTH,
    "boundary loss": comparisons.BOUNDARY,
    "attention gates": comparisons.GATES,
    "larger network": comparisons.WIDTH,
}
"""What the paper reads off Table 1, in its order."""


def data(e: Evidence) -> pd.DataFrame:
    """All moves that the report's rows, logs and measurements hold.

    Returns:
        Columns ``metric``, ``kind``, ``source``, ``of``, ``moves``: an absolute difference of a
        mean over pictures. A source without data is one row with ``moves`` NaN and why in ``of``.
    """
    moves = [move for metric in METRICS for move in _moves(e, metric)]
    return pd.DataFrame(moves, columns=["metric", "kind", "source", "of", "moves"]).round(6)


def _moves(e: Evidence, metric: str) -> Iterator[Move]:
    for kind, source, found, absent in (
        (CHANCE, "strokes drawn anew", _redraws(e, metric), "not measured"),
        (CHANCE, "another seed", _seeds(e, metric), "missing: no model has two seeds here"),
        (CHANCE, "an epoch earlier or later, authors", _epochs(e, metric), ""),
        (CHANCE, "an epoch earlier or later, ours", _own_epochs(e, metric), "not in our logs"),
        (CHANCE, "other pictures (what models add)", _splits(e, metric), "one split only"),
        (CHANCE, "res for tiny, ours", _twins(e, metric), "no such pair evaluated"),
        (CHOICE, "threshold: logit .5", _threshold(e, metric), "no model evaluated"),
        (CHOICE, "definition of the metric", _definition(e, metric), "no model evaluated"),
        (READ, "", _printed(e, metric), ""),
    ):
        yield from ((metric, kind, source or name, name, abs(value)) for name, value in found)
        if not found:
            yield metric, kind, source, absent, float("nan")


Found = list[tuple[str, float]]


def _redraws(e: Evidence, metric: str) -> Found:
    """Each draw's mean less the mean over draws; draw 0 is that of all tables."""
    found: Found = []
    judged = e.results[e.results["split"] == e.splits[-1]]
    for method, draws in e.redraws.groupby("method", sort=False):
        own = judged.loc[judged["method"] == method, metric].mean()
        means = pd.Series([own, *draws[metric]], [0, *draws["draw"]])
        off = means - means.mean()
        found += [(f"{method}, draw {draw}", value) for draw, value in off.items()]
    return found


def _means(e: Evidence, column: str, split: str) -> pd.Series:
    """Mean over pictures of each (model, seed) of the paper's eight."""
    rows = e.results[(e.results["split"] == split) & e.results["method"].isin(e.evaluated)]
    return rows.groupby(["method", "seed"], sort=False)[column].mean()


def _named(values: pd.Series, prefix: str = "") -> Found:
    """A series by (model, seed) as pairs of text and value."""
    keys = values.index.to_frame().astype(str)
    names = prefix + keys["method"] + ", seed " + keys["seed"]
    return list(zip(names, values.astype(float), strict=True))


def _seeds(e: Evidence, metric: str) -> Found:
    """Each seed's mean less the mean over seeds of its model."""
    found: Found = []
    for _, values in _means(e, metric, e.splits[-1]).groupby("method", sort=False):
        if len(values) > 1:
            found += _named(values - values.mean())
    return found


def _epochs(e: Evidence, metric: str) -> Found:
    found: Found = []
    for model, log in e.authors.groupby("model", sort=False):
        _, there, near = around_the_best(log, comparisons.LOGGED[metric])
        found += [(str(model), value - there) for value in near]
    return found


def _own_epochs(e: Evidence, metric: str) -> Found:
    found: Found = []
    if metric == "iou":
        for model in e.evaluated:  # a training that goes on has not chosen its epoch
            for run in e.logs.get(model, []):
                _, there, near = around_the_best(run.log(), "val_iou")
                found += [(f"{model}, seed {run.seed}", value - there) for value in near]
    return found


def _splits(e: Evidence, metric: str) -> Found:
    """How far two sets of pictures lie apart, in what the models add to the stroke."""
    if len(e.splits) < 2:
        return []
    added = []
    for split in e.splits:
        rows = e.results[e.results["split"] == split]
        stroke = rows.loc[rows["method"] == "identity", metric].mean()
        added.append(_means(e, metric, split) - stroke)
    return _named(added[0] - added[1])


def _twins(e: Evidence, metric: str) -> Found:
    """Networks that differ in the stroke added to the logits alone, at equal widths and loss."""
    means = _means(e, metric, e.splits[-1]).groupby("method", sort=False).mean()
    pairs = [(name, name.replace("tiny", "res", 1)) for name in means.index if "tiny" in name]
    return [(f"{b} − {a}", means[b] - means[a]) for a, b in pairs if b in means.index]


def _threshold(e: Evidence, metric: str) -> Found:
    split = e.splits[-1]
    moved = _means(e, f"{metric}_logit05", split) - _means(e, metric, split)
    return _named(moved)


def _definition(e: Evidence, metric: str) -> Found:
    """IoU of all pixels together in place of the mean over pictures; a band of 2 % for 1 px."""
    split = e.splits[-1]
    if metric != "iou":
        moved = _means(e, "boundary_iou", split) - _means(e, metric, split)
        return _named(moved, "2 % band: ")
    rows = e.results[(e.results["split"] == split) & e.results["method"].isin(e.evaluated)]
    sums = areas(rows)
    sums = sums.groupby([rows["method"], rows["seed"]], sort=False).sum()
    moved = sums["shared"] / sums["union"] - _means(e, "iou", split)
    return _named(moved, "all pixels together: ")


def _printed(e: Evidence, metric: str) -> Found:
    table = e.printed["table1"]
    return [
        (name, table[a][metric] - table[b][metric])
        for name, pairs in DIFFERENCES.items()
        for a, b in pairs
    ]


# --- the figure -----------------------------------------------------------------------------------


@styled
def figure(moves: pd.DataFrame) -> Figure:
    """One row a source, a dot a move, a bar at the median; the paper's differences below.

    Args:
        moves: from :func:`data`.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.6), sharey=True, layout="constrained")
    sources = list(dict.fromkeys(zip(moves["kind"], moves["source"], strict=True)))
    for ax, metric in zip(axes, METRICS, strict=True):
        of_metric = moves[moves["metric"] == metric]
        limit = _limit(of_metric)
        for place, (kind, source) in enumerate(sources):
            part = of_metric[(of_metric["source"] == source) & (of_metric["kind"] == kind)]
            _row(ax, place + (kind == READ) * 0.6, part, kind, limit)
        ax.set(xlim=(0, limit * 1.06), xlabel=f"how far the mean {LABELS[metric]} moves")
        ax.grid(axis="x", color="#e6e6e6")
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
        ax.axhline(sum(k != READ for k, _ in sources) - 0.2, color="#999999", lw=0.8)
    places = [p + (kind == READ) * 0.6 for p, (kind, _) in enumerate(sources)]
    names = [f"{'Table 1: ' * (kind == READ)}{source}" for kind, source in sources]
    axes[0].set_yticks(places, names)
    axes[0].invert_yaxis()
    dots = [Line2D([], [], marker="o", ls="", color=c, label=kind) for kind, c in COLOURS.items()]
    bar = Line2D([], [], marker="|", ls="", ms=11, mew=1.6, color="black", label="median")
    fig.legend(handles=[*dots, bar], loc="outside lower center", ncols=4)
    return fig


def _limit(moves: pd.DataFrame) -> float:
    """Right end of a panel: what is read and most of the moves fit; the rest is written."""
    read = moves.loc[moves["kind"] == READ, "moves"].max()
    chance = moves.loc[moves["kind"] == CHANCE, "moves"].max()
    return float(pd.Series([read, chance]).max())


def _row(ax: Axes, place: float, part: pd.DataFrame, kind: str, limit: float) -> None:
    colour = COLOURS[kind]
    values = part["moves"].dropna()
    if values.empty:
        why = part["of"].iloc[0] if len(part) else ""
        ax.text(limit * 0.01, place, why, va="center", fontsize=7, style="italic", color="#666666")
        return
    inside = values[values <= limit]
    ax.plot(inside, [place] * len(inside), "o", ms=4.5, color=colour, alpha=0.55, mew=0)
    if values.median() <= limit:
        ax.plot([values.median()] * 2, [place - 0.3, place + 0.3], color="black", lw=1.6)
    if len(inside) < len(values):
        what = f"{part['of'].iloc[0].partition(':')[0]}: " if kind == CHOICE else ""
        ends = dict.fromkeys(f"{value:.2f}" for value in (values.min(), values.max()))
        text = f"{what}{' to '.join(ends)} →"
        ax.text(limit, place, text, ha="right", va="center", fontsize=8, color=colour)
