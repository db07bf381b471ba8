"""The paper's figures that are drawn from numbers and pictures: 1, 5, 6 and 7.

The numbers of a figure are a data frame, which is saved beside the figure as CSV and which
``nseg verify`` makes again; the function that draws the figure takes that frame.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

from nseg_lib.arrays import Image, Mask
from nseg_lib.course import diagrams, probes
from nseg_lib.course.look import absent, around, legend, panels, show, show_errors, styled
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.summary import one_training
from nseg_lib.palette import PALETTE
from nseg_lib.training.runs import Run
from reproduction.evidence import Evidence
from reproduction.exhibits import Drawing
from reproduction.profiles import train_command

SMOOTHING = 80
"""Logged steps that the training loss of Figure 5 is averaged over, as in the paper."""

_THINNED = 8
"""Of the smoothed training loss, every so many steps are drawn: a tenth of the smoothing."""


def figure1_data(sizes: Iterable[tuple[int, int]]) -> pd.DataFrame:
    """How many pictures have which width and height.

    Args:
        sizes: width and height of each picture, in pixels.

    Returns:
        Columns ``dimension`` (``width`` or ``height``), ``pixels``, ``pictures``.
    """
    frame = pd.DataFrame(list(sizes), columns=["width", "height"])
    long = frame.melt(var_name="dimension", value_name="pixels")
    counts = long.value_counts(["dimension", "pixels"]).rename("pictures").reset_index()
    # Width comes before height.
    return counts.sort_values(["dimension", "pixels"], ascending=[False, True], ignore_index=True)


@styled
def figure1(data: pd.DataFrame, facts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Histograms of the pictures' sizes, with our mean and median and the paper's beside them.

    Args:
        data: of :func:`figure1_data`.
        facts: the paper's, ``paper.numbers()["figure1"]``.
    """
    fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for ax, name in zip(axes, ("width", "height"), strict=True):
        found = data[data["dimension"] == name]
        values = pd.Series(np.repeat(found["pixels"].to_numpy(), found["pictures"].to_numpy()))
        top = max(640, int(values.max()))
        ax.hist(values, bins=np.linspace(0, top, 33), color=PALETTE["counts"], edgecolor="white")
        printed = facts[name]
        ax.axvline(values.mean(), color=PALETTE["mean"], ls="--", label=f"mean {values.mean():.1f}")
        ax.axvline(values.median(), color=PALETTE["median"], label=f"median {values.median():.0f}")
        # Marks on the axis: lines would cover ours where the two agree.
        label = f"paper: mean {printed['mean']}, median {printed['median']}"
        marks = [printed["mean"], printed["median"]]
        ax.plot(marks, [0, 0], "^", color="black", ms=7, clip_on=False, label=label, zorder=5)
        ax.set(xlabel=f"{name} (pixels)", ylabel="pictures")
        ax.legend(loc="upper left")
    return fig


def figure1_of(evidence: Evidence) -> Drawing | None:
    """Figure 1 from the measured pictures."""
    if evidence.pictures.empty:
        return None
    pictures = evidence.pictures[evidence.pictures["split"].isin(["train", "val"])]
    numbers = figure1_data(zip(pictures["width"], pictures["height"], strict=True))
    return Drawing(numbers, lambda: figure1(numbers, evidence.printed["figure1"]))


def _architecture(name: str, evidence: Evidence) -> Drawing:
    networks = diagrams.of_the_paper(name)
    return Drawing(diagrams.stages(networks), lambda: diagrams.architecture(networks))


figure2_of, figure3_of, figure4_of = (
    partial(_architecture, name) for name in ("figure2", "figure3", "figure4")
)
"""The architectures, which need no evidence, only the networks' modules."""


def figure5_data(
    models: Sequence[str], logs: Mapping[str, Sequence[Run]], authors: pd.DataFrame
) -> pd.DataFrame:
    """The losses of some models: ours of every seed, and the authors'.

    Args:
        models: the panels, ``paper.numbers()["figure5"]``.
        logs: model → runs, :func:`nseg_lib.training.runs.logged_runs`.
        authors: :func:`reproduction.paper.authors_logs`.

    Returns:
        Columns ``model``, ``who`` (``authors`` or ``seed <k>``), ``curve`` (``validation`` or
        ``training``, the latter a running mean over :data:`SMOOTHING` logged steps), ``epochs``
        (finished), ``loss``, ``kept`` (1 at the epoch of lowest validation loss).
    """
    parts = []
    for model in models:
        theirs = authors[authors["model"] == model]
        parts.append(
            _curve(model, "authors", "validation", theirs["epoch"] + 1, theirs["val_loss"])
        )
        for run in logs.get(model, ()):
            log, steps, who = run.log(), run.steps(), f"seed {run.seed}"
            parts.append(_curve(model, who, "validation", log["epoch"] + 1, log["val_loss"]))
            smooth = steps["train_loss"].rolling(SMOOTHING, min_periods=1).mean()[::_THINNED]
            at = (steps["step"] / log["steps"].iloc[0])[::_THINNED]
            parts.append(_curve(model, who, "training", at, smooth))
    return pd.concat(parts, ignore_index=True)


def _curve(
    model: str, who: str, curve: str, epochs: pd.Series[Any], loss: pd.Series[Any]
) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"model": model, "who": who, "curve": curve, "epochs": epochs, "loss": loss}
    ).reset_index(drop=True)
    kept = frame.index == frame["loss"].argmin() if curve == "validation" else False
    return frame.assign(kept=np.asarray(kept).astype(int)).round(6)


@styled
def figure5(data: pd.DataFrame, missing: Mapping[str, str]) -> Figure:
    """Training and validation loss of two models side by side, on one logarithmic axis.

    All epochs are shown, the kept one with a star. Of several seeds every curve is drawn thin,
    and the band from the lowest to the highest validation loss behind them.

    Args:
        data: of :func:`figure5_data`.
        missing: model → the command that trains it, for those without a run.
    """
    models = list(data["model"].unique())
    fig, grid = plt.subplots(
        1, len(models), figsize=(4.2 * len(models), 3.4), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    axes = grid[0]
    for ax, model in zip(axes, models, strict=True):
        of_model = data[data["model"] == model]
        ours = of_model[of_model["who"] != "authors"]
        _losses(ax, of_model[of_model["who"] == "authors"], "authors' ", PALETTE["paper"], ":")
        _band(ax, ours[ours["curve"] == "validation"])
        for _, of_seed in ours.groupby("who", sort=False):
            _losses(ax, of_seed, "", PALETTE["res"], "o-")
        if ours.empty:
            command = textwrap.fill(missing[model], 60, break_on_hyphens=False)
            note = f"not run here; to make it:\n{command}"
            ax.text(0.5, 0.98, note, transform=ax.transAxes, ha="center", va="top", fontsize=6)
            ax.margins(y=0.35)
        ax.set(title=model, xlabel="epochs finished", yscale="log")
        plain_log_axis(ax)
    # The training loss falls steeply in its first epoch; that part would flatten all others.
    later = data.loc[(data["curve"] == "validation") | (data["epochs"] > 1), "loss"]
    axes[0].set(ylim=(0.95 * later.min(), 1.08 * later.max()), ylabel="loss (log axis)")
    handles = {line.get_label(): line for ax in fig.axes for line in (*ax.lines, *ax.collections)}
    shown = [line for label, line in handles.items() if not str(label).startswith("_")]
    fig.legend(handles=shown, loc="outside lower center", ncols=3)
    return fig


def _losses(ax: Axes, curves: pd.DataFrame, whose: str, colour: str, style: str) -> None:
    """One run's training and validation loss, with a star where it was kept."""
    training = curves[curves["curve"] == "training"]
    if len(training):
        label = f"training, mean of {SMOOTHING} logged steps"
        ax.plot(training["epochs"], training["loss"], color=PALETTE["stroke"], lw=1, label=label)
    validation = curves[curves["curve"] == "validation"]
    line: dict[str, Any] = {"ms": 3, "lw": 1, "color": colour, "label": f"{whose}validation"}
    ax.plot(validation["epochs"], validation["loss"], style, **line)
    kept = validation[validation["kept"] == 1]
    star: dict[str, Any] = {"ms": 13, "color": colour, "mec": "white", "zorder": 5}
    ax.plot(kept["epochs"], kept["loss"], "*", label=f"{whose}epoch kept", **star)


def _band(ax: Axes, validation: pd.DataFrame) -> None:
    """From the lowest to the highest seed, at the epochs that more than one has."""
    by_epoch = validation.groupby("epochs")["loss"].agg(["min", "max", "size"])
    by_epoch = by_epoch[by_epoch["size"] > 1]
    if len(by_epoch):
        label = "range over seeds"
        style: dict[str, Any] = {"color": PALETTE["res"], "alpha": 0.18, "lw": 0}
        ax.fill_between(by_epoch.index, by_epoch["min"], by_epoch["max"], label=label, **style)


def plain_log_axis(ax: Axes) -> None:
    """Write a logarithmic axis of losses as .06, .07, .08, .1 in place of powers of ten."""
    ax.yaxis.set_major_locator(LogLocator(subs=[1, 1.2, 1.5, 2, 3, 4, 5, 6, 7, 8]))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_locator(NullLocator())


def figure5_of(evidence: Evidence) -> Drawing:
    """Figure 5 from the kept logs, with the profile's command for what was not trained."""
    models, seed = evidence.printed["figure5"], evidence.profile.seeds[0]
    numbers = figure5_data(models, evidence.logs, evidence.authors)
    commands = {model: train_command(evidence.profile, model, seed) for model in models}
    return Drawing(numbers, lambda: figure5(numbers, commands))


def figure6_data(results: pd.DataFrame, models: Sequence[str], image_id: int) -> pd.DataFrame:
    """The IoU of the stroke and of one training of each model on one validation picture.

    Args:
        results: from :func:`nseg_lib.evaluation.summary.read_folder`.
        models: those that Figure 6 shows.
        image_id: its picture, :func:`nseg_lib.course.probes.typical`.

    Returns:
        Columns ``image_id``, ``method``, ``iou``.
    """
    rows = results[(results["split"] == "val") & (results["image_id"] == image_id)]
    rows = one_training(rows[rows["method"].isin(["identity", *models])])
    return rows[["image_id", "method", "iou"]].reset_index(drop=True).round(6)


def figure6_of(evidence: Evidence) -> Drawing | None:
    """The numbers of Figure 6; its chapter draws it."""
    if evidence.pictures.empty or not evidence.evaluated:
        return None
    val = evidence.pictures.query("split == 'val' and showable == 1")
    typical = probes.typical(evidence.results, evidence.evaluated, [*val["image_id"]])
    return Drawing(figure6_data(evidence.results, evidence.evaluated, typical))


@styled
def figure6(
    image: Image,
    stroke: Mask,
    mask: Mask,
    predictions: Mapping[str, Mask | str],
    ious: Mapping[str, float],
) -> Figure:
    """Picture, stroke, ground truth and the models' predictions, each with its IoU.

    Args:
        image: uint8 H×W×3, RGB.
        stroke, mask: bool H×W.
        predictions: model → bool H×W, or the command that makes what is missing.
        ious: ``identity`` and each model → IoU, as the rows have it.
    """
    crop = around(mask, stroke)
    fig, axes = panels(1 + -(-len(predictions) // 4), 4, size=_panel(image[crop]))
    show(axes[0, 0], image, crop=crop, title="picture")
    show(axes[0, 1], image, stroke=stroke, crop=crop, title="picture and stroke")
    show(axes[0, 2], stroke, crop=crop, title=f"stroke unchanged: IoU {ious['identity']:.3f}")
    show(axes[0, 3], mask, crop=crop, title="ground truth")
    for ax, (model, answer) in zip(axes[1:].flat, predictions.items(), strict=False):
        if isinstance(answer, str):
            ax.set_title(model, fontsize=7)
            absent(ax, f"not run here; to make it:\n{answer}")
            continue
        show(ax, image, mask=mask, prediction=answer, crop=crop)
        ax.set_title(f"{model}\nIoU {ious[model]:.3f}", fontsize=7)
    legend(fig, ("stroke", "truth", "prediction"))
    return fig


@styled
def figure7(
    image: Image, mask: Mask, strokes: Mapping[str, Mask], predictions: Mapping[str, Mask]
) -> Figure:
    """One object under several strokes: a row each, with the prediction and what is wrong in it.

    Args:
        image: uint8 H×W×3, RGB.
        mask: bool H×W, the object.
        strokes, predictions: what the row is called → bool H×W.
    """
    crop = around(mask, *strokes.values(), margin=0.15)
    fig, axes = panels(len(strokes), 4, size=_panel(image[crop]))
    for row, (name, stroke) in zip(axes, strokes.items(), strict=True):
        before, after = (metrics.iou(m, mask) for m in (stroke, predictions[name]))
        show(row[0], image, stroke=stroke, crop=crop, title=f"{name}: IoU {before:.3f}")
        show(row[1], mask, crop=crop, title="ground truth")
        show(row[2], image, mask=mask, prediction=predictions[name], crop=crop)
        row[2].set_title(f"prediction: IoU {after:.3f}")
        show_errors(row[3], image, mask, predictions[name], crop=crop, title="what is wrong in it")
    legend(fig, ("stroke", "truth", "prediction", "missed", "extra"))
    return fig


def _panel(image: Image) -> tuple[float, float]:
    """Width and height in inches of a panel that shows a picture below its title."""
    height, width = image.shape[:2]
    return 2.5, max(1.4, min(3.2, 2.5 * height / width)) + 0.3
