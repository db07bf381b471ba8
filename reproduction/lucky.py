"""The figure "lucky": the IoU of the epoch that each training kept, and of its neighbours.

Each row of the paper's Table 1 is one epoch, the one with the lowest validation loss. Where the
epochs beside it are far below it, the row owes something to luck.
"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nseg_lib.config import THE_EIGHT
from nseg_lib.course.look import styled
from nseg_lib.palette import PALETTE
from reproduction.evidence import Evidence
from reproduction.exhibits import Drawing
from reproduction.paper import around_the_best

PANELS = {"authors": "the authors' logs", "ours": "our logs"}
"""Source → the title of its panel."""


def lucky(evidence: Evidence) -> Drawing:
    """The figure, and its numbers: the kept epoch of each training of the eight, its neighbours.

    The numbers' columns are ``source`` (of :data:`PANELS`), ``model``, ``seed``, ``epochs`` (how
    many there are), ``epoch`` (the kept one, from 0), and the validation IoU ``before``, ``kept``
    and ``after``; NaN where there is no such epoch.
    """
    rows = []
    for source, found in (("authors", evidence.authors), ("ours", evidence.own_logs)):
        for (model, seed), log in found.groupby(["model", "seed"], sort=False):
            epoch, ious = int(log["val_loss"].argmin()), around_the_best(log, "val_iou")
            rows.append((source, model, seed, len(log), epoch, *ious))
    columns = ["source", "model", "seed", "epochs", "epoch", "before", "kept", "after"]
    numbers = pd.DataFrame(rows, columns=columns)
    return Drawing(numbers, lambda: figure(numbers))


@styled
def figure(numbers: pd.DataFrame) -> Figure:
    """A row per network: the kept epoch as a dot, its neighbours as triangles on the same line."""
    fig, axes = plt.subplots(
        1, 2, figsize=(9.6, 4.6), sharex=True, sharey=True, layout="constrained"
    )
    places = {model: place for place, model in enumerate(THE_EIGHT)}
    for ax, (source, title) in zip(axes, PANELS.items(), strict=True):
        shown = numbers[numbers["source"] == source]
        # Trainings with several seeds lie one below the other.
        shown = shown.assign(nth=shown.groupby("model").cumcount())
        several = shown.groupby("model")["nth"].transform("max")
        shown["place"] = shown["model"].map(places) + 0.3 * (shown["nth"] - several / 2)
        for row in shown.to_dict("records"):
            place = row["place"]
            before, kept, after = (row[name] for name in ("before", "kept", "after"))
            values = [value for value in (before, kept, after) if not math.isnan(value)]
            ax.plot([min(values), max(values)], [place, place], color="#bbbbbb", lw=2, zorder=1)
            for value, marker in ((before, "<"), (after, ">")):
                ax.plot(value, place, marker, mfc="white", mec="#555555", ms=6)
            ax.plot(kept, place, "o", color=PALETTE["res"], ms=7)
            ax.annotate(
                f"epoch {row['epoch']} of {row['epochs']}", (max(values), place), xytext=(8, 0),
                textcoords="offset points", va="center", fontsize=6, color="#666666",
            )  # fmt: skip
        ax.margins(x=0.25)
        ax.set(title=title, xlabel="IoU, validation pictures")
        ax.grid(axis="x", color="#e6e6e6")
        ax.set_axisbelow(True)
    axes[0].set_yticks([*places.values()], [*places])
    axes[0].invert_yaxis()
    marks = {"one epoch before": "<", "one epoch after": ">"}
    handles = [Line2D([], [], marker="o", ls="", color=PALETTE["res"], label="the epoch kept")]
    handles += [
        Line2D([], [], marker=marker, ls="", mfc="white", mec="#555555", label=label)
        for label, marker in marks.items()
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig
