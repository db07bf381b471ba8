"""What moves a number: chance and choice beside the differences that the paper interprets.

A difference between two networks means little if drawing the strokes anew, reading another epoch
or counting otherwise moves the same number as far. Each such move is a row of :func:`data` and a
dot of :func:`figure`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nseg_lib.course.look import styled
from nseg_lib.evaluation.tables import LABELS
from nseg_lib.palette import PALETTE
from reproduction.claims import read_claims
from reproduction.evidence import Evidence, mask_areas
from reproduction.paper import LOG_COLUMNS, around_the_best

METRICS = ("iou", "boundary_iou_1px")
"""The two panels."""

CHANCE, CHOICE, READ = "chance", "choice", "read by the paper"

COLOURS = {CHANCE: PALETTE["stroke"], CHOICE: PALETTE["attn"], READ: PALETTE["res"]}

DIFFERENCES = (
    "residual, 16-32",
    "depth, 16-128",
    "boundary loss",
    "attention gates",
    "larger network",
)
"""What the paper reads off Table 1, by the names of the pairs in ``reports/claims.yml``."""

Moves = list[tuple[str, float]]
"""What each move is of, and by how much the mean over pictures moves, with its sign."""


# --- the sources, each a function of the evidence and a metric ------------------------------------


def redrawn_strokes(evidence: Evidence, metric: str) -> Moves:
    """Each draw's mean less the mean over draws; draw 0 is that of all tables."""
    moves: Moves = []
    rows = evidence.held_out
    for method, draws in evidence.redraws.groupby("method", sort=False):
        first = rows.loc[rows["method"] == method, metric].mean()
        means = pd.Series([first, *draws[metric]], [0, *draws["draw"]])
        away = means - means.mean()
        moves += [(f"{method}, draw {draw}", value) for draw, value in away.items()]
    return moves


def seeds(evidence: Evidence, metric: str) -> Moves:
    """Each seed's mean less the mean over seeds of its model."""
    moves: Moves = []
    for _, means in _means(evidence, metric).groupby("method", sort=False):
        if len(means) > 1:
            moves += _named(means - means.mean())
    return moves


def authors_epochs(evidence: Evidence, metric: str) -> Moves:
    """The authors' validation rows one epoch away from the chosen one, less the chosen one."""
    moves: Moves = []
    for model, log in evidence.authors.groupby("model", sort=False):
        _, chosen, near = around_the_best(log, LOG_COLUMNS[metric])
        moves += [(str(model), value - chosen) for value in near]
    return moves


def own_epochs(evidence: Evidence, metric: str) -> Moves:
    """The same of our own logs, which hold the IoU alone.

    A training without rows may still go on, and has not chosen its epoch.
    """
    if metric != "iou":
        return []
    moves: Moves = []
    for model in evidence.evaluated:
        for run in evidence.logs.get(model, []):
            _, chosen, near = around_the_best(run.log(), "val_iou")
            moves += [(f"{model}, seed {run.seed}", value - chosen) for value in near]
    return moves


def other_pictures(evidence: Evidence, metric: str) -> Moves:
    """What a model adds to the stroke on validation less what it adds on test pictures."""
    if len(evidence.splits) < 2:
        return []
    added = []
    for split in evidence.splits:
        rows = evidence.results[evidence.results["split"] == split]
        stroke = rows.loc[rows["method"] == "identity", metric].mean()
        added.append(_means(evidence, metric, rows) - stroke)
    return _named(added[0] - added[1])


def res_for_tiny(evidence: Evidence, metric: str) -> Moves:
    """Networks that differ in the stroke added to the logits alone, at equal widths and loss."""
    means = _means(evidence, metric).groupby("method", sort=False).mean()
    pairs = [(name, name.replace("tiny", "res", 1)) for name in means.index if "tiny" in name]
    return [(f"{res} − {tiny}", means[res] - means[tiny]) for tiny, res in pairs if res in means]


def threshold(evidence: Evidence, metric: str) -> Moves:
    """Masks where the logit is above .5 in place of the probability."""
    return _named(_means(evidence, f"{metric}_logit05") - _means(evidence, metric))


def definition(evidence: Evidence, metric: str) -> Moves:
    """IoU of all pixels together in place of the mean over pictures; a band of 2 % for 1 px."""
    means = _means(evidence, metric)
    if metric == "boundary_iou_1px":
        return _named(_means(evidence, "boundary_iou") - means, "2 % band: ")
    rows = evidence.held_out
    areas = mask_areas(rows).groupby([rows["method"], rows["seed"]], sort=False).sum()
    return _named((areas["shared"] / areas["union"])[means.index] - means, "all pixels together: ")


def _means(evidence: Evidence, column: str, rows: pd.DataFrame | None = None) -> pd.Series:
    """Mean over (held-out) pictures of each (model, seed) of the paper's eight."""
    rows = evidence.held_out if rows is None else rows
    rows = rows[rows["method"].isin(evidence.evaluated)]
    return rows.groupby(["method", "seed"], sort=False)[column].mean()


def _named(values: pd.Series, prefix: str = "") -> Moves:
    """A series by (model, seed) as pairs of text and value."""
    keys = values.index.to_frame().astype(str)
    names = prefix + keys["method"] + ", seed " + keys["seed"]
    return list(zip(names, values.astype(float), strict=True))


SOURCES = (
    (CHANCE, "strokes drawn anew", redrawn_strokes, "not measured"),
    (CHANCE, "another seed", seeds, "missing: no model has two seeds here"),
    (CHANCE, "an epoch earlier or later, authors", authors_epochs, ""),
    (CHANCE, "an epoch earlier or later, ours", own_epochs, "not in our logs"),
    (CHANCE, "other pictures (what models add)", other_pictures, "one split only"),
    (CHANCE, "res for tiny, ours", res_for_tiny, "no such pair evaluated"),
    (CHOICE, "threshold: logit .5", threshold, "no model evaluated"),
    (CHOICE, "definition of the metric", definition, "no model evaluated"),
)
"""Kind, name, the function that finds the moves, and what to say where there are none."""


def data(evidence: Evidence) -> pd.DataFrame:
    """All moves that the report's rows, logs and measurements hold, then the paper's differences.

    Returns:
        Columns ``metric``, ``kind``, ``source``, ``of``, ``moves``: an absolute difference of a
        mean over pictures. A source without data is one row with ``moves`` NaN and why in ``of``.
    """
    pairs = read_claims(evidence.claims_file).pairs
    table1 = evidence.printed["table1"]
    rows = []
    for metric in METRICS:
        for kind, source, find, absent in SOURCES:
            moves = find(evidence, metric) or [(absent, float("nan"))]
            rows += [(metric, kind, source, of, abs(value)) for of, value in moves]
        for name in DIFFERENCES:
            for a, b in pairs[name]:
                difference = abs(table1[a][metric] - table1[b][metric])
                rows.append((metric, READ, name, name, difference))
    return pd.DataFrame(rows, columns=["metric", "kind", "source", "of", "moves"]).round(6)


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
