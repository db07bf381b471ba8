"""The style of all figures, and pictures with strokes, masks, predictions and errors drawn on them.

The colours are those of :mod:`nseg_lib.palette`.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.palette import PALETTE
from nseg_lib.strokes.drawing import Drawn

NAMES = {
    "stroke": "stroke",
    "background stroke": "stroke on the background",
    "truth": "ground truth",
    "prediction": "prediction",
    "missed": "missed",
    "extra": "added wrongly",
}
"""Key of the palette → its words in a legend."""

DRAWN = {
    "stroke": "the stroke as an orange area",
    "background stroke": "the stroke on the background as a dark blue area",
    "truth": "the true outline in blue",
    "prediction": "the answer's outline in magenta",
    "missed": "missed pixels in blue",
    "extra": "wrongly added pixels in magenta",
}
"""Key of the palette → its words in the description of a figure."""

LINES = (
    ("#0072B2", "o-"), ("#D55E00", "s--"), ("#009E73", "^:"), ("#B45CC4", "D-."), ("#404040", "v-"),
)  # fmt: skip
"""Colour, marker and dashes of the curves of a panel; after the last, the first again."""

STYLE: dict[Any, Any] = {
    "figure.dpi": 130,  # a panel of 2.7 inches has 350 pixels: enough to follow an outline
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
"""Matplotlib's settings for every figure of the project."""


def use_style() -> None:
    """Draw all further figures of this process in the project's style; a chapter starts with it."""
    mpl.rcParams.update(STYLE)


styled = mpl.rc_context(STYLE)
"""Decorates a function that makes or saves figures, so that it works in the project's style;
Matplotlib's settings outside the function stay as they are."""


def colour(method: str) -> str:
    """The colour of a method, such as ``"res16-32_bce-dice"`` (by its family) or ``"grabcut"``."""
    if method == "identity":
        return PALETTE["identity"]
    families = ("blockres", "tiny", "res", "attn")
    return PALETTE[next((f for f in families if method.startswith(f)), "classical")]


# --- pictures -------------------------------------------------------------------------------------


@styled
def panels(
    rows: int, columns: int, *, size: tuple[float, float] = (2.4, 2.1)
) -> tuple[Figure, Any]:
    """A figure of rows×columns panels without axes, for pictures; ``size`` in inches per panel."""
    inches = (size[0] * columns, size[1] * rows)
    fig, axes = plt.subplots(rows, columns, figsize=inches, squeeze=False, layout="constrained")
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
    """Draw a picture with a stroke (orange, filled), a mask and a prediction (outlines) on it.

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


def show_drawn(ax: Axes, image: NDArray[Any], drawn: Drawn, **others: Any) -> Axes:
    """Like :func:`show`, with object strokes in orange and background strokes in dark blue.

    Args:
        drawn: the strokes, bool H×W each.
        others: what :func:`show` takes besides the stroke.
    """
    show(ax, image, stroke=drawn.object, **others)
    crop = others.get("crop") or (slice(None), slice(None))
    ax.imshow(tint(drawn.background[crop], "background stroke", 0.85))
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
    """Draw a pale picture with the pixels that a prediction missed (blue) or added (magenta)."""
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
    """Draw the mask's edge; where the mask meets the picture's border, also along the border."""
    if not mask.any():
        return
    height, columns = mask.shape
    x = np.arange(-1, columns + 1).clip(-0.5, columns - 0.5)
    y = np.arange(-1, height + 1).clip(-0.5, height - 0.5)
    values = np.pad(mask, 1).astype(np.float32)
    ax.contour(x, y, values, levels=[0.5], colors=[PALETTE[what]], linewidths=width)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(height - 0.5, -0.5))


def around(*masks: Mask, margin: float = 0.25) -> tuple[slice, slice]:
    """The rows and columns of all the masks, with ``margin`` times their extent on every side."""
    union = np.logical_or.reduce(masks)
    spans = []
    for axis in (1, 0):
        indices = np.flatnonzero(union.any(axis=axis))
        first, last = (int(indices[0]), int(indices[-1])) if len(indices) else (0, union.shape[0])
        extra = round(margin * (last - first)) + 8
        spans.append(slice(max(0, first - extra), last + 1 + extra))
    return spans[0], spans[1]


def legend(fig: Figure, what: Sequence[str]) -> None:
    """Draw a legend below the panels; ``what`` are keys of :data:`NAMES`."""
    handles: list[Patch | Line2D] = []
    for name in what:
        style: dict[str, Any] = {"color": PALETTE[name], "label": NAMES[name]}
        line = name in ("truth", "prediction")
        handles.append(Line2D([], [], **style) if line else Patch(**style, alpha=0.7))
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def finish(fig: Figure, alt: str) -> None:
    """Show a figure and close it.

    Args:
        alt: what it shows, for those who cannot see it; the course's web pages pass it on.
    """
    display(fig, metadata={"image/png": {"alt": alt}})
    plt.close(fig)


def gallery(
    pictures: Mapping[str, NDArray[Any] | Mapping[str, Any]],
    columns: int = 3,
    *,
    crop: tuple[slice, slice] | None = None,
    legend_of: Sequence[str] = (),
    width: float = 2.7,
) -> None:
    """Show pictures side by side, in rows of ``columns``, below their titles.

    Args:
        pictures: title → an array to show, or the arguments of :func:`show` by name (``image``,
            ``stroke``, ``mask``, …). With ``drawn`` (strokes of both kinds) it is shown by
            :func:`show_drawn`; with ``errors`` the ``mask`` and this prediction are compared by
            :func:`show_errors`.
        crop: the part of each picture to show, as :func:`around` gives it.
        legend_of: keys of :data:`NAMES`, explained below the pictures.
        width: of a panel, in inches; its height is that of the tallest picture.
    """
    rows, columns = -(-len(pictures) // columns), min(columns, len(pictures))
    every: list[dict[str, Any]] = [
        {
            "crop": crop,
            **(given if isinstance(given, Mapping) else {"image": given}),
            "title": title,
        }
        for title, given in pictures.items()
    ]
    sizes = [one["image"][one["crop"] or (slice(None), slice(None))].shape[:2] for one in every]
    tallest = min(1.3, max(height / across for height, across in sizes))
    height = width * tallest + 0.28 + (0.42 / rows if legend_of else 0)
    fig, axes = panels(rows, columns, size=(width, height))
    for ax, shown in zip(axes.flat, every, strict=False):
        if "drawn" in shown:
            show_drawn(ax, shown.pop("image"), shown.pop("drawn"), **shown)
        elif "errors" in shown:
            show_errors(ax, shown.pop("image"), prediction=shown.pop("errors"), **shown)
        else:
            show(ax, shown.pop("image"), **shown)
    if legend_of:
        legend(fig, legend_of)
    drawn = "".join(f", {DRAWN[name]}" for name in legend_of)
    finish(fig, f"Pictures side by side: {'; '.join(pictures)}{drawn}.")


def curves(
    panels_of: Mapping[str, Mapping[str, Any]],
    *,
    x: str,
    y: str,
    level: Mapping[str, float] | None = None,
    **settings: Any,
) -> None:
    """Draw curves side by side, one panel for each title.

    Args:
        panels_of: title → label → the values, or a pair (x, values).
        x, y: what the axes show.
        level: label → height of a dashed line in every panel.
        settings: of every panel's axes, such as ``yscale="log"``.
    """
    # The legends stand below the panels, in two columns, where they hide no curve.
    named = max(len(lines) for lines in panels_of.values()) + len(level or {})
    size = (min(10.0, 4.4 * len(panels_of)), 3.0 + 0.1 * named)
    fig, axes = plt.subplots(
        1, len(panels_of), figsize=size, squeeze=False, layout="constrained", sharey=True
    )
    said = []
    for ax, (title, lines) in zip(axes.flat, panels_of.items(), strict=True):
        for (label, values), (ink, way) in zip(lines.items(), itertools.cycle(LINES), strict=False):
            at, heights = values if isinstance(values, tuple) else (range(len(values)), values)
            heights = np.asarray(heights, float)
            mark = way if len(heights) <= 30 else way[1:]  # many markers would hide the line
            ax.plot(at, heights, mark, color=ink, ms=3.5, lw=1.3, label=label)
            known = heights[np.isfinite(heights)]
            said.append(f"{title}: {label} goes from {known[0]:.3g} to {known[-1]:.3g}")
        dashes = itertools.cycle(("--", ":"))
        for (label, height), way in zip((level or {}).items(), dashes, strict=False):
            ax.axhline(height, color=PALETTE["identity"], ls=way, lw=1, label=label)
            said.append(f"{label} is a level line at {height:.3g}")
        ax.set(title=title, xlabel=x, **settings)
        if len(lines) + len(level or {}) > 1:
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    axes[0, 0].set_ylabel(y)
    finish(fig, f"Curves of {y} against {x}. {'; '.join(dict.fromkeys(said))}.")


def absent(ax: Axes, message: str) -> None:
    """Fill a panel with a message that says what is not made yet, and which command makes it."""
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    ax.set_facecolor("#f2f2f2")
    ax.spines[:].set_visible(False)
    text = "\n".join(textwrap.fill(line, 34) for line in message.splitlines())
    ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=6.5, transform=ax.transAxes)
