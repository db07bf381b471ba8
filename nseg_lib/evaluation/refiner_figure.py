"""The figure of the comparison: IoU by kind of prompt, and against the number of strokes."""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nseg_lib import provenance
from nseg_lib.data.frozen import HUMAN
from nseg_lib.evaluation.baselines import SEEDED
from nseg_lib.files import sha256
from nseg_lib.palette import PALETTE

COLOURS = [PALETTE[k] for k in ("prediction", "res", "tiny", "stroke", "attn", "blockres")]
"""Of the methods that are not classical, in their order."""

CLASSICAL = {
    "identity": ("#404040", "o"),
    "grabcut": ("#7A7A7A", "s"),
    "watershed": ("#9A9A9A", "^"),
    "random_walker": ("#B5B5B5", "D"),
}


def write(folder: Path) -> Path:
    """Draw and save ``refiner.png``, ``.pdf``, and the sidecar; returns the PNG's path.

    Args:
        folder: holds ``common.csv`` and perhaps ``common_curve.csv``.
    """
    began = time.perf_counter()
    files = [folder / name for name in ("common.csv", "common_curve.csv")]
    inputs = [file for file in files if file.exists()]
    fig = draw(*(pd.read_csv(file) for file in inputs))
    stem = folder / "refiner"
    for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
        fig.savefig(stem.with_suffix(suffix), dpi=150, bbox_inches="tight", metadata=metadata)
    plt.close(fig)
    drawn = {suffix: sha256(stem.with_suffix(suffix)) for suffix in (".png", ".pdf")}
    provenance.write_sidecar(stem, None, inputs, time.perf_counter() - began, files=drawn)
    return stem.with_suffix(".png")


def draw(overview: pd.DataFrame, curves: pd.DataFrame | None = None) -> Figure:
    """Kinds of prompt above; below, one panel for each way of drawing corrections.

    Args:
        overview, curves: ``common.csv`` and ``common_curve.csv`` of
            :mod:`nseg_lib.evaluation.refiner_tables`.
    """
    ways = [] if curves is None else list(curves["strokes"].unique())
    methods = list(overview["method"].unique())
    learned = [method for method in methods if method not in SEEDED]
    styles = {m: (COLOURS[i % len(COLOURS)], "o") for i, m in enumerate(reversed(learned))}
    styles = {method: CLASSICAL.get(method) or styles[method] for method in methods}
    rows = 2 if ways else 1
    fig = plt.figure(figsize=(9.5, 7 if ways else 3.6), layout="constrained")
    grid = fig.add_gridspec(rows, max(1, len(ways)), height_ratios=[1.1, 1][:rows])
    above = fig.add_subplot(grid[0, :])
    _kinds(above, overview, styles)
    for i, way in enumerate(ways):
        assert curves is not None
        _curve(fig.add_subplot(grid[1, i]), curves[curves["strokes"] == way], styles, str(way))
    handles, labels = above.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8)
    return fig


def _kinds(ax: Axes, overview: pd.DataFrame, styles: dict[str, tuple[str, str]]) -> None:
    kinds = list(dict.fromkeys(zip(overview["split"], overview["recipe"], strict=True)))
    place = {kind: i for i, kind in enumerate(kinds)}
    most = overview.groupby(["split", "recipe"])["n"].max()
    for i, (method, (colour, marker)) in enumerate(styles.items()):
        rows = overview[overview["method"] == method]
        x = np.array([place[kind] for kind in zip(rows["split"], rows["recipe"], strict=True)])
        ax.errorbar(
            x + 0.7 * ((i + 0.5) / len(styles) - 0.5), rows["iou"],
            yerr=[rows["iou"] - rows["low"], rows["high"] - rows["iou"]],
            fmt=marker, color=colour, ms=4, lw=1, label=method,
        )  # fmt: skip
    for i in range(1, len(place)):
        ax.axvline(i - 0.5, color="#dddddd", lw=0.6)
    people = ["\n(people)" if kind in HUMAN else "" for _, kind in kinds]
    # One word a line, for the columns are narrow.
    shown = [
        f"{kind[1].replace('_', chr(10)).replace('+', chr(10) + '+ ')}{who}\nn {most[kind]}"
        for kind, who in zip(kinds, people, strict=True)
    ]
    ax.set_xticks(range(len(place)), shown, fontsize=7)
    ax.set(ylabel="mean IoU", ylim=(0, 1), xlim=(-0.5, len(place) - 0.5))


def _curve(ax: Axes, curves: pd.DataFrame, styles: dict[str, tuple[str, str]], way: str) -> None:
    for method, (colour, _) in styles.items():
        rows = curves[curves["method"] == method]
        if len(rows):
            x = rows["round"]
            ax.plot(x, rows["iou"], color=colour, lw=1.4)
            ax.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.15, lw=0)
    ax.set(xlabel=f"strokes ({way}), n {curves['n'].max()}", ylabel="mean IoU")
    ax.set(ylim=(0, 1), xlim=(1, 20))
    ax.set_xticks([1, 5, 10, 15, 20])
