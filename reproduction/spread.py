"""The figure "spread": how far chance and hidden choices move a mean, beside Table 1's differences.

A difference between two networks means little if new strokes, another epoch or another definition
of the metric move the same number as far.
"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nseg_lib.course.look import styled
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.palette import PALETTE
from reproduction.claims import read_claims
from reproduction.evidence import Evidence, mask_areas
from reproduction.exhibits import Drawing
from reproduction.paper import LOG_COLUMNS, around_the_best

METRICS = ("iou", "boundary_iou_1px")
"""The metrics of the two panels."""

CHANCE, CHOICE, INTERPRETED = "chance", "choice", "interpreted by the paper"

COLOURS = {CHANCE: PALETTE["stroke"], CHOICE: PALETTE["attn"], INTERPRETED: PALETTE["res"]}

DIFFERENCES = (
    "residual, 16-32",
    "depth, 16-128",
    "boundary loss",
    "attention gates",
    "larger network",
)
"""The differences in Table 1 that the paper interprets, named as in ``reports/claims.yml``."""

Moves = list[tuple[str, float]]
"""For each move the model (or what else moves) and the signed change of the mean over pictures."""


# --- the sources, each a function of the evidence and a metric ------------------------------------


def redrawn_strokes(evidence: Evidence, metric: str) -> Moves:
    """Each draw's mean less the mean over draws; all tables use draw 0."""
    moves: Moves = []
    rows = evidence.held_out
    for method, draws in evidence.redraws.groupby("method", sort=False):
        first = rows.loc[rows["method"] == method, metric].mean()
        means = pd.Series([first, *draws[metric]], [0, *draws["draw"]])
        away = means - means.mean()
        moves += [(f"{method}, draw {draw}", value) for draw, value in away.items()]
    return moves


def seeds(evidence: Evidence, metric: str) -> Moves:
    """Each seed's mean less the mean over all seeds of the model, those that wait included."""
    means = seed_means(evidence, metric)
    groups = means.groupby("method", sort=False)
    return _named((means - groups.transform("mean"))[groups.transform("size") > 1])


def authors_epochs(evidence: Evidence, metric: str) -> Moves:
    """The authors' values one epoch before and after the chosen one, less the chosen one's."""
    return _epochs(evidence.authors, metric, "{}")


def own_epochs(evidence: Evidence, metric: str) -> Moves:
    """The same in those of our own logs that hold the metric."""
    return _epochs(evidence.own_logs, metric, "{}, seed {}")


def other_pictures(evidence: Evidence, metric: str) -> Moves:
    """A model's gain over the stroke on validation pictures less its gain on test pictures."""
    if len(evidence.splits) < 2:
        return []
    added = []
    for split in evidence.splits:
        rows = evidence.results[evidence.results["split"] == split]
        stroke = rows.loc[rows["method"] == "identity", metric].mean()
        added.append(seed_means(evidence, metric, rows) - stroke)
    return _named(added[0] - added[1])


def stroke_added(evidence: Evidence, metric: str) -> Moves:
    """Pairs of equal widths and loss, of which the first adds the stroke to its logits."""
    means = seed_means(evidence, metric).groupby("method", sort=False).mean()
    pairs = [(name, name.replace("tiny", "res", 1)) for name in means.index if "tiny" in name]
    return [(f"{res} − {tiny}", means[res] - means[tiny]) for tiny, res in pairs if res in means]


def threshold(evidence: Evidence, metric: str) -> Moves:
    """The change when the logit, not the probability, must exceed 0.5."""
    return _named(seed_means(evidence, f"{metric}_logit05") - seed_means(evidence, metric))


def definition(evidence: Evidence, metric: str) -> Moves:
    """The change when a metric is defined otherwise.

    The IoU is taken of all pixels together, not averaged over pictures; the boundary IoU has a band
    of 2 % of the diagonal, not of 1 px.
    """
    means = seed_means(evidence, metric)
    if metric == "boundary_iou_1px":
        return _named(seed_means(evidence, "boundary_iou") - means, "2 % band: ")
    rows = evidence.held_out
    areas = mask_areas(rows).groupby([rows["method"], rows["seed"]], sort=False).sum()
    return _named((areas["shared"] / areas["union"])[means.index] - means, "all pixels together: ")


def seed_means(evidence: Evidence, metric: str, rows: pd.DataFrame | None = None) -> pd.Series:
    """Mean over pictures, held-out ones by default, of each (model, seed) of the paper's eight."""
    rows = evidence.held_out if rows is None else rows
    rows = rows[rows["method"].isin(evidence.evaluated)]
    return rows.groupby(["method", "seed"], sort=False)[metric].mean()


def _named(values: pd.Series, prefix: str = "") -> Moves:
    """A series indexed by (model, seed) as moves."""
    keys = zip(values.index, values, strict=True)
    return [(f"{prefix}{model}, seed {seed}", float(value)) for (model, seed), value in keys]


def _epochs(logs: pd.DataFrame, metric: str, name: str) -> Moves:
    moves: Moves = []
    column = LOG_COLUMNS[metric]
    if column in logs:
        logged = logs.dropna(subset=column)
        for key, log in logged.groupby(["model", "seed"], sort=False):
            before, chosen, after = around_the_best(log, column)
            near = (value for value in (before, after) if not math.isnan(value))
            moves += [(name.format(*key), value - chosen) for value in near]
    return moves


SOURCES = (
    (CHANCE, "strokes drawn anew", redrawn_strokes, "not measured"),
    (CHANCE, "another seed", seeds, "missing: no model has two seeds here"),
    (CHANCE, "an epoch earlier or later, authors", authors_epochs, ""),
    (CHANCE, "an epoch earlier or later, ours", own_epochs, "not in our logs"),
    (CHANCE, "other pictures (what models add)", other_pictures, "one split only"),
    (CHOICE, "stroke added to the logits, ours", stroke_added, "no such pair evaluated"),
    (CHOICE, "threshold: logit 0.5", threshold, "no model evaluated"),
    (CHOICE, "definition of the metric", definition, "no model evaluated"),
)
"""Kind and name of a source, the function that finds its moves, and the text if there are none."""


def spread(evidence: Evidence) -> Drawing:
    """The figure, and its numbers: all moves, and the differences that the paper interprets.

    The numbers' columns are ``metric``, ``kind``, ``source``, ``of`` and ``moves``, the absolute
    change of a mean over pictures. A source without data has one row: ``moves`` is NaN, ``of`` says
    why.
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
                rows.append((metric, INTERPRETED, name, name, difference))
    numbers = pd.DataFrame(rows, columns=["metric", "kind", "source", "of", "moves"]).round(6)
    return Drawing(numbers, lambda: figure(numbers))


# --- the figure -----------------------------------------------------------------------------------


@styled
def figure(moves: pd.DataFrame) -> Figure:
    """One row per source, with a dot per move and a bar at the median; below, the paper's rows."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.6), sharey=True, layout="constrained")
    sources = list(dict.fromkeys(zip(moves["kind"], moves["source"], strict=True)))
    for ax, metric in zip(axes, METRICS, strict=True):
        of_metric = moves[moves["metric"] == metric]
        # A panel ends where the paper's differences and all moves by chance fit; the range of wider
        # moves by choice is written at its edge.
        limit = float(of_metric.loc[of_metric["kind"].isin([INTERPRETED, CHANCE]), "moves"].max())
        for place, (kind, source) in enumerate(sources):
            part = of_metric[(of_metric["source"] == source) & (of_metric["kind"] == kind)]
            _row(ax, place + (kind == INTERPRETED) * 0.6, part, kind, limit)
        ax.set(xlim=(0, limit * 1.06), xlabel=f"how far the mean {LABELS[metric]} moves")
        ax.grid(axis="x", color="#e6e6e6")
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
        ax.axhline(sum(k != INTERPRETED for k, _ in sources) - 0.2, color="#999999", lw=0.8)
    places = [p + (kind == INTERPRETED) * 0.6 for p, (kind, _) in enumerate(sources)]
    names = [f"{'Table 1: ' * (kind == INTERPRETED)}{source}" for kind, source in sources]
    axes[0].set_yticks(places, names)
    axes[0].invert_yaxis()
    dots = [Line2D([], [], marker="o", ls="", color=c, label=kind) for kind, c in COLOURS.items()]
    bar = Line2D([], [], marker="|", ls="", ms=11, mew=1.6, color="black", label="median")
    fig.legend(handles=[*dots, bar], loc="outside lower center", ncols=4)
    return fig


def _row(ax: Axes, place: float, part: pd.DataFrame, kind: str, limit: float) -> None:
    colour = COLOURS[kind]
    values = part["moves"].dropna()
    if values.empty:
        why = part["of"].iloc[0]
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
