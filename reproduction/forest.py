"""The figure "forest": every claim's difference in the paper, in the authors' logs and in ours.

All differences are counted in the direction of the claim, so that a dot on the right speaks for it.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nseg_lib.course.look import styled
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.palette import PALETTE
from reproduction.claims import judge
from reproduction.evidence import Evidence
from reproduction.exhibits import Drawing

PANELS = {
    "iou": LABELS["iou"],
    "boundary_iou_1px": LABELS["boundary_iou_1px"],
    "pixel_accuracy": "pixel accuracy",
    "hausdorff_region": LABELS["hausdorff_region"],
    "loss": "validation loss",
    "correlation": "rank correlation",
}
"""Metric → the title of its panel, from top to bottom."""

SOURCES = {
    "printed": ("paper, Table 1", "D", PALETTE["paper"], 0.0),
    "logs": ("authors' logs, last five epochs", "s", PALETTE["stroke"], 0.26),
    "ours": ("ours, held-out pictures", "o", PALETTE["res"], -0.26),
}
"""Name of its columns → label, marker, colour, and place below the middle of a claim's row."""


def forest(evidence: Evidence) -> Drawing | None:
    """The figure, and its numbers: one row per claim that has an estimate, panel by panel.

    The numbers' columns are ``panel``, ``claim``, ``role``, ``printed``, ``ours`` and ``logs`` with
    their ``_low`` and ``_high``, ``seed`` (how far a difference moves by the choice of trainings,
    in 95 of 100), ``margin`` (NaN where there is none) and ``verdict``. Differences are counted in
    the direction of the claim.
    """
    if not evidence.evaluated:
        return None
    rows = []
    for found in judge(evidence).dropna(subset="ours_mean").to_dict("records"):
        sign = found["sign"]
        row = {"panel": found["metric"], "claim": found["statement"], "role": found["role"]}
        row["printed"] = sign * found["printed"]
        for name in ("ours", "logs"):
            low, high = sorted((sign * found[f"{name}_low"], sign * found[f"{name}_high"]))
            row |= {name: sign * found[f"{name}_mean"], f"{name}_low": low, f"{name}_high": high}
        row |= {"seed": found["ours_seed_reach"], "margin": found["margin"]}
        rows.append(row | {"verdict": found["verdict"]})
    frame = pd.DataFrame(rows)
    place = frame["panel"].map([*PANELS].index)
    numbers = frame.iloc[place.argsort(kind="stable")].reset_index(drop=True).round(6)
    return Drawing(numbers, lambda: figure(numbers))


@styled
def figure(claims: pd.DataFrame) -> Figure:
    """One panel per metric, one row per claim, with the verdict at its end."""
    panels = {str(name): rows for name, rows in claims.groupby("panel", sort=False)}
    heights = [len(rows) + 0.9 for rows in panels.values()]
    fig, axes = plt.subplots(
        len(panels), 1, figsize=(9.6, 0.36 * sum(heights)), height_ratios=heights,
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for ax, (name, rows) in zip(axes.flat, panels.items(), strict=True):
        _panel(ax, rows.reset_index(drop=True))
        ax.set_title(PANELS[name], loc="left", fontsize=9, fontweight="bold")
        ax.set_title("as claimed →", loc="right", fontsize=7, color="#707070")
    handles = dict(
        item for ax in axes.flat for item in zip(*ax.get_legend_handles_labels()[::-1], strict=True)
    )
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return fig


def _panel(ax: Axes, rows: pd.DataFrame) -> None:
    ax.axvline(0, color="black", lw=0.8)
    for place, row in enumerate(rows.to_dict("records")):
        # Behind the dots: how far other trainings reach, and what is too small to matter.
        if row["seed"] > 0:
            band: Any = {"color": "#e9e9e9", "label": "by the choice of trainings (95 %)"}
            ax.barh(place, 2 * row["seed"], left=-row["seed"], height=0.9, zorder=0, **band)
        if pd.notna(row["margin"]):
            ends = [-row["margin"], row["margin"]]
            dots: Any = {"lw": 0.9, "ls": ":", "color": "#707070", "label": "too small to matter"}
            ax.vlines(ends, place - 0.45, place + 0.45, **dots)
        alone = pd.isna(row["printed"]) and pd.isna(row["logs"])
        for name, (label, marker, colour, below) in SOURCES.items():
            if pd.isna(row[name]):
                continue
            below = 0.0 if alone else below
            if name != "printed":
                ends = [row[f"{name}_low"], row[f"{name}_high"]]
                ax.plot(ends, [place + below] * 2, color=colour, lw=1.4)
            ax.plot(row[name], place + below, marker, ms=4.5, color=colour, mew=0, label=label)
        weight = "bold" if row["role"] == "primary" else "normal"
        style: Any = {"va": "center", "fontsize": 8, "fontweight": weight}
        ax.text(1.01, place, row["verdict"], transform=ax.get_yaxis_transform(), **style)
    # Each panel has one metric, so its name need not end the name of each row.
    names = rows["claim"]
    if rows["panel"].iloc[0] != "correlation":
        names = names.str.partition(": ")[0]
    ax.set_yticks(range(len(rows)), names, fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    for spine in ("top", "right", "left"):
        ax.spines[spine].set_visible(False)
