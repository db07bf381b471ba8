"""Figures 6 and 7, and what all figures share: one palette, one look, one way to save.

Importing this module sets matplotlib's defaults to the project's look. Figures 2 to 4, the
architectures, are drawn by :mod:`nseg_lib.diagrams`, 1 and 5 by :mod:`nseg_lib.plots`.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from nseg_lib import metrics, paper
from nseg_lib.provenance import write_atomic, write_sidecar

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PALETTE = {
    "stroke": "#E69F00",
    "truth": "#29B6F6",
    "prediction": "#E0399A",
    "missed": "#29B6F6",
    "extra": "#E0399A",
    "identity": "#404040",
    "classical": "#9A9A9A",
    "tiny": "#009E73",
    "res": "#0072B2",
    "attn": "#B45CC4",
    "blockres": "#8C6D31",
    "paper": "#808080",
}
"""What each colour means, in every figure. Told apart with any of the usual colour blindnesses:
stroke, truth and prediction differ in lightness too (after Okabe and Ito 2008)."""

NAMES = {
    "stroke": "stroke",
    "truth": "ground truth",
    "prediction": "prediction",
    "missed": "missed",
    "extra": "added wrongly",
}

_BEGAN = time.perf_counter()

mpl.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "pdf.fonttype": 42,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "image.cmap": "gray",
    }
)


def colour(method: str) -> str:
    """The palette's colour of a model, by its family, or of a baseline."""
    if method == "identity":
        return PALETTE["identity"]
    families = ("blockres", "tiny", "res", "attn")
    return PALETTE[next((f for f in families if method.startswith(f)), "classical")]


# --- pictures -------------------------------------------------------------------------------------


def panels(
    rows: int, columns: int, *, size: tuple[float, float] = (2.4, 2.1)
) -> tuple[Figure, Any]:
    """A figure of rows×columns panels for pictures, without axes; ``size`` in inches a panel."""
    fig, axes = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        ax.set_axis_off()
    return fig, axes


def show(
    ax: Axes,
    image: NDArray[Any],
    *,
    stroke: Mask | None = None,
    mask: Mask | None = None,
    prediction: Mask | None = None,
    crop: tuple[slice, slice] | None = None,
    title: str = "",
) -> Axes:
    """A picture with a stroke (orange, filled), a mask and a prediction (outlines) over it.

    Args:
        image: uint8 H×W×3, RGB, or any H×W array, shown grey.
        stroke, mask, prediction: bool H×W.
        crop: rows and columns to show, as :func:`around` gives them.
    """
    crop = crop or (slice(None), slice(None))
    ax.imshow(image[crop])
    ax.set_axis_off()
    ax.set_title(title)
    if stroke is not None:
        ax.imshow(tint(stroke[crop], "stroke", 0.45))
        _outline(ax, stroke[crop], "stroke", 0.8)
    if mask is not None:
        _outline(ax, mask[crop], "truth", 1.4)
    if prediction is not None:
        _outline(ax, prediction[crop], "prediction", 1.2)
    return ax


def show_errors(
    ax: Axes,
    image: Image,
    mask: Mask,
    prediction: Mask,
    *,
    crop: tuple[slice, slice] | None = None,
    title: str = "",
) -> Axes:
    """A pale picture with what a prediction missed (blue) and what it added wrongly (magenta)."""
    crop = crop or (slice(None), slice(None))
    ax.imshow((255 - (255 - image[crop].astype(np.float32)) * 0.55).astype(np.uint8))
    ax.imshow(tint((mask & ~prediction)[crop], "missed", 0.9))
    ax.imshow(tint((prediction & ~mask)[crop], "extra", 0.9))
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def tint(mask: Mask, what: str, alpha: float) -> NDArray[np.float64]:
    """A mask as an RGBA layer, float64 H×W×4 in [0, 1], in the palette's colour of ``what``."""
    return mask[..., None] * np.array(to_rgba(PALETTE[what], alpha))


def _outline(ax: Axes, mask: Mask, what: str, width: float) -> None:
    """The mask's edge; where the mask meets the picture's border, the border is drawn too."""
    if not mask.any():
        return
    height, columns = mask.shape
    ax.contour(
        np.arange(-1, columns + 1).clip(-0.5, columns - 0.5),
        np.arange(-1, height + 1).clip(-0.5, height - 0.5),
        np.pad(mask, 1).astype(np.float32),
        levels=[0.5],
        colors=[PALETTE[what]],
        linewidths=width,
    )
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(height - 0.5, -0.5))


def around(*masks: Mask, margin: float = 0.25) -> tuple[slice, slice]:
    """Rows and columns that hold all the masks and ``margin`` times their extent around them."""
    union = np.logical_or.reduce(masks)
    spans = []
    for axis in (1, 0):
        indices = np.flatnonzero(union.any(axis=axis))
        first, last = (int(indices[0]), int(indices[-1])) if len(indices) else (0, union.shape[0])
        extra = round(margin * (last - first)) + 8
        spans.append(slice(max(0, first - extra), last + 1 + extra))
    return spans[0], spans[1]


def legend(fig: Figure, what: Sequence[str]) -> None:
    """Below the panels: what stroke, truth, prediction, missed and extra look like."""
    filled = {"stroke", "missed", "extra"}
    handles = [
        Patch(color=PALETTE[w], label=NAMES[w], alpha=0.7)
        if w in filled
        else Line2D([], [], color=PALETTE[w], label=NAMES[w])
        for w in what
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def absent(ax: Axes, message: str) -> None:
    """An empty panel that says what is not here and which command makes it."""
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    ax.set_facecolor("#f2f2f2")
    ax.spines[:].set_visible(False)
    text = "\n".join(textwrap.fill(line, 34) for line in message.splitlines())
    ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=6.5, transform=ax.transAxes)


# --- the paper's figures --------------------------------------------------------------------------


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
    columns = 4
    rows = 1 + -(-len(predictions) // columns)
    crop = around(mask, stroke)
    height, width = image[crop].shape[:2]
    fig, axes = panels(rows, columns, size=(2.5, max(1.4, min(3.2, 2.5 * height / width)) + 0.3))
    show(axes[0, 0], image, crop=crop, title="picture")
    show(axes[0, 1], image, stroke=stroke, crop=crop, title="picture and stroke")
    show(axes[0, 2], stroke, crop=crop, title=f"stroke unchanged: IoU {ious['identity']:.3f}")
    show(axes[0, 3], mask, crop=crop, title="ground truth")
    for ax, (model, answer) in zip(axes[1:].flat, predictions.items(), strict=False):
        if isinstance(answer, str):
            ax.set_title(model, fontsize=7)
            absent(ax, f"not run here; to make it:\n{answer}")
            continue
        title = f"{model}\nIoU {ious[model]:.3f}"
        show(ax, image, mask=mask, prediction=answer, crop=crop)
        ax.set_title(title, fontsize=7)
    legend(fig, ("stroke", "truth", "prediction"))
    return fig


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
    height, width = image[crop].shape[:2]
    panel = (2.5, max(1.4, min(3.2, 2.5 * height / width)) + 0.3)
    fig, axes = panels(len(strokes), 4, size=panel)
    for row, (name, stroke) in zip(axes, strokes.items(), strict=True):
        before, after = (metrics.iou(m, mask) for m in (stroke, predictions[name]))
        show(row[0], image, stroke=stroke, crop=crop, title=f"{name}: IoU {before:.3f}")
        show(row[1], mask, crop=crop, title="ground truth")
        show(row[2], image, mask=mask, prediction=predictions[name], crop=crop)
        row[2].set_title(f"prediction: IoU {after:.3f}")
        show_errors(row[3], image, mask, predictions[name], crop=crop, title="what is wrong in it")
    legend(fig, ("stroke", "truth", "prediction", "missed", "extra"))
    return fig


# --- saving ---------------------------------------------------------------------------------------


def save(
    fig: Figure,
    stem: str | Path,
    data: pd.DataFrame,
    *,
    profile: str,
    inputs: Sequence[str | Path] = (),
    config: Any = None,
    credit: str = "",
) -> Path:
    """Write ``<stem>.png`` (150 dpi), ``.pdf``, ``.csv`` and the sidecar ``<stem>.json``.

    A figure that depends on a profile other than the paper's first gets a line that says so, see
    :func:`nseg_lib.paper.setting_note`. The sidecar holds the hashes of the three files: which
    picture was drawn from which numbers stays known, though no two versions of matplotlib draw
    the same bytes.

    Args:
        data: the numbers that the figure shows; ``nseg verify`` makes them again.
        inputs: files and folders that the figure was made from, for the sidecar.
        config: settings that made it, JSON data or a configuration.
        credit: of a photograph in it, see :meth:`nseg_lib.coco.Split.credit`.

    Returns:
        The PNG's path. The sidecar's ``seconds`` count from the start of the chapter (the import
        of this module).
    """
    stem = Path(stem)
    note = paper.setting_note(profile, stem.name)
    if credit:
        _line_above(fig, f"Photograph: {credit}", fontsize=6, color="#555555")
    if note:
        _line_above(fig, note, fontsize=7, style="italic", color="#a04000")
    drawn = {".csv": data_text(data).encode()}
    for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=suffix[1:], bbox_inches="tight", metadata=metadata)
        drawn[suffix] = buffer.getvalue()
    for suffix, content in drawn.items():
        write_atomic(stem.with_name(stem.name + suffix), content)
    write_sidecar(
        stem, config, inputs, time.perf_counter() - _BEGAN,
        profile=profile, setting=note or "the paper's",
        files={suffix: hashlib.sha256(content).hexdigest() for suffix, content in drawn.items()},
    )  # fmt: skip
    return stem.with_name(stem.name + ".png")


def data_text(data: pd.DataFrame) -> str:
    """A figure's numbers as CSV text, to six decimals."""
    return data.round(6).to_csv(index=False, lineterminator="\n")


def _line_above(fig: Figure, line: str, **style: Any) -> None:
    """Write a line above all that is drawn, once. Below, it would meet a legend when trimmed."""
    if line not in (text.get_text() for text in fig.texts):
        fig.draw_without_rendering()  # lays out
        top = fig.get_tightbbox().y1 / fig.get_figheight()
        fig.text(0.5, top + 0.01, line, ha="center", va="bottom", **style)
