"""Drawings of single ideas: masks on a grid, a loss, an interval. Each belongs to one chapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from pandas.io.formats.style import Styler

from nseg_lib.arrays import Image, Mask
from nseg_lib.course import look
from nseg_lib.palette import PALETTE, rgb


def table(
    rows: Iterable[Sequence[Any]], columns: Sequence[str], form: str = "{:.3f}", **forms: str
) -> Styler:
    """A table for a page: rows of values below their headings, without row numbers.

    Args:
        form: the format of every number; ``forms`` has other ones by column.
    """
    frame = pd.DataFrame(list(rows), columns=list(columns))
    numbers = [name for name in frame.select_dtypes("number") if name not in forms]
    chosen: dict[Any, Any] = {**dict.fromkeys(numbers, form), **forms}
    return frame.style.format(chosen, na_rep="–").hide()


def compared(predicted: Mask, target: Mask) -> Image:
    """Two masks as one picture: both grey, only the target blue, only the prediction magenta."""
    picture = np.full((*target.shape, 3), 255, np.uint8)
    picture[predicted & target] = 150
    picture[target & ~predicted] = rgb(PALETTE["missed"])
    picture[predicted & ~target] = rgb(PALETTE["extra"])
    return picture


def grid(ax: Axes, predicted: Mask, target: Mask, title: str = "") -> None:
    """Draw two small masks so that pixels can be counted: both grey, missed blue, added magenta."""
    height, width = target.shape
    ax.imshow(compared(predicted, target))
    ax.set(xticks=np.arange(-0.5, width), yticks=np.arange(-0.5, height), title=title)
    ax.tick_params(length=0, labelbottom=False, labelleft=False)
    ax.grid(color="#d0d0d0", lw=0.6)
    ax.spines[:].set_visible(False)


def grids(pairs: dict[str, tuple[Mask, Mask]]) -> None:
    """Draw pairs of small masks, predicted and target, side by side below their titles."""
    fig, axes = plt.subplots(
        1, len(pairs), figsize=(3.4 * len(pairs), 3.2), squeeze=False, layout="constrained"
    )
    for ax, (title, (predicted, target)) in zip(axes.flat, pairs.items(), strict=True):
        grid(ax, predicted, target, title)
    look.finish(fig, f"Small masks on squared paper: {'; '.join(pairs)}.")


def toy_pair() -> tuple[Mask, Mask]:
    """A predicted and a true mask of 12×14 pixels, small enough to count on."""
    target, predicted = np.zeros((2, 12, 14), bool)
    target[2:9, 3:9] = True
    predicted[3:10, 4:9] = True
    predicted[5, 9:12] = True
    return predicted, target


def two_masks_on_a_grid() -> tuple[int, int]:
    """Draw the toy pair; returns the number of pixels in both, and of those in at least one."""
    predicted, target = toy_pair()
    grids({"grey: both · blue: only the truth · magenta: only the answer": (predicted, target)})
    return int((predicted & target).sum()), int((predicted | target).sum())


def intervals(summary: pd.DataFrame, metric: str, caption: str) -> None:
    """Draw what each method adds to the stroke as a dot with its 95 % interval, one row each.

    Args:
        summary: of :func:`nseg_lib.evaluation.summary.summarise`, indexed by method.
        metric: such as ``iou``.
        caption: what the axis shows.
    """
    fig, ax = plt.subplots(figsize=(7.0, 0.6 + 0.27 * len(summary)), layout="constrained")
    said = []
    for y, (name, row) in enumerate(summary.iterrows()):
        middle, low, high = (row[f"{metric}_{part}"] for part in ("difference", "low", "high"))
        bar = [[middle - low], [high - middle]]
        ax.errorbar(middle, y, xerr=bar, fmt="o", ms=5, color=look.colour(str(name)))
        said.append(f"{name} {middle:+.3f} [{low:+.3f}, {high:+.3f}]")
    ax.axvline(0, color=PALETTE["identity"], ls="--", lw=1)
    ax.set_yticks(range(len(summary)), summary.index)
    ax.set(xlabel=caption)
    look.finish(fig, f"Dots with 95 % intervals, {caption}: {'; '.join(said)}.")


def disc(dx: float = 0, radius: float = 32, size: int = 128) -> Mask:
    """bool size×size: a disc whose centre is ``dx`` pixels right of the picture's."""
    rows, columns = np.mgrid[:size, :size]
    return np.asarray((rows - size / 2) ** 2 + (columns - size / 2 - dx) ** 2 <= radius**2)


def sure(mask: Mask) -> NDArray[np.float32]:
    """Logits of a prediction without doubt: 4 within the mask, a probability of .98, else -4."""
    return np.where(mask, 4.0, -4.0).astype(np.float32)


def toy_mistakes(count: int = 300) -> tuple[Mask, dict[str, NDArray[np.float32]]]:
    """A disc, and predictions of it with one mistake each: name → logits.

    Four mistakes have ``count`` wrong pixels; the last is a blurred edge.
    """
    truth, middle = disc(), 64.0
    rows, columns = np.mgrid[:128, :128]

    def nearest(allowed: Mask, y: float, x: float, number: int) -> Mask:
        """The allowed pixels nearest to a point."""
        away = np.where(allowed, (rows - y) ** 2 + (columns - x) ** 2, np.inf)
        chosen = np.zeros(away.size, bool)
        chosen[np.argsort(away, axis=None, kind="stable")[:number]] = True
        return chosen.reshape(away.shape)

    return truth, {
        "none": sure(truth),
        "rim missing": sure(nearest(truth, middle, middle, int(truth.sum()) - count)),
        "bite": sure(truth & ~nearest(truth, middle, middle + 32, count)),
        "hole": sure(truth & ~nearest(truth, middle, middle, count)),
        "blob far away": sure(truth | nearest(~truth, 12, 12, count)),
        "blurred edge": np.asarray(cv2.GaussianBlur(sure(truth), (0, 0), 4), np.float32),
    }


def numbers(arrays: Mapping[str, ArrayLike]) -> None:
    """Draw small arrays as grids of grey squares with their numbers, below their titles."""
    size = (3.0 * len(arrays), 2.9)
    fig, axes = plt.subplots(1, len(arrays), figsize=size, layout="constrained", squeeze=False)
    for ax, (title, given) in zip(axes.flat, arrays.items(), strict=True):
        array = np.asarray(given)
        ax.imshow(array, cmap="gray", vmin=array.min() - 1, vmax=array.max() + 0.5)
        for (y, x), value in np.ndenumerate(array):
            ink = "white" if value < array.mean() - 1 else "black"
            ax.text(x, y, f"{value:g}", ha="center", va="center", color=ink, size=9)
        ax.set(title=title, xticks=[], yticks=[])
    said = (f"{title}: {np.asarray(given).tolist()}" for title, given in arrays.items())
    look.finish(fig, f"Grids of numbers. {'; '.join(said)}.")


def busiest_window(marked: Mask, height: int = 50, width: int = 60) -> tuple[slice, slice]:
    """Rows and columns of a window in which most of the marked pixels lie."""
    counts = cv2.boxFilter(marked.astype(np.float32), -1, (width, height), normalize=False)
    y, x = np.unravel_index(int(np.argmax(counts)), marked.shape)
    top, left = max(0, int(y) - height // 2), max(0, int(x) - width // 2)
    return slice(top, top + height), slice(left, left + width)


def histogram(values: Mapping[str, Sequence[float]], caption: str) -> None:
    """Draw the distribution of shares on a logarithmic axis, the first filled, others as lines."""
    fig, ax = plt.subplots(figsize=(6.0, 2.8), layout="constrained")
    bins = np.geomspace(1e-4, 1, 30).tolist()
    for number, (label, shares) in enumerate(values.items()):
        style: dict[str, Any] = {"color": "#c9c9c9"} if number == 0 else {"color": PALETTE["res"]}
        style |= {"histtype": "step", "lw": 1.8} if number else {}
        ax.hist(shares, bins, label=f"{label} ({len(shares)})", **style)
    ax.set(xscale="log", xlabel=caption, ylabel="objects")
    ax.legend(loc="upper left")
    said = (f"{label}: median {np.median(shares):.2g}" for label, shares in values.items())
    look.finish(fig, f"Histograms of the {caption}. {'; '.join(said)}.")
