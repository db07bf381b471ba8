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


def crossings() -> None:
    """Draw a polygon, and from four points a ray to the right with the edges that it crosses."""
    corners = np.array([(1, 1), (9, 1), (9, 7), (6, 7), (6, 3.5), (4, 3.5), (4, 7), (1, 7)])
    fig, ax = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    ax.fill(*corners.T, facecolor="#e4e4e4", edgecolor="black", lw=1.5)
    for x, y in ((2.5, 2.2), (2.5, 4.4), (5.0, 5.4), (0.3, 6.4)):
        ends = zip(corners, np.roll(corners, -1, axis=0), strict=True)
        upright = [a[0] for a, b in ends if (a[1] > y) != (b[1] > y)]  # where an edge spans y
        crossed = sorted(place for place in upright if place > x)
        where = "inside" if len(crossed) % 2 else "outside"
        colour = PALETTE["prediction" if where == "inside" else "refined mask"]
        ax.plot([x, 9.6], [y, y], "--", color=colour, lw=1.2)
        ax.plot(x, y, "o", color=colour, ms=8)
        ax.plot(crossed, [y] * len(crossed), "x", color=colour, ms=8, mew=2)
        ax.text(9.8, y, f"{len(crossed)}: {where}", va="center", color=colour)
    ax.set(xlim=(-0.2, 12.2), ylim=(7.6, 0.4), aspect="equal")
    ax.set_axis_off()
    look.finish(
        fig,
        "A polygon with two legs, and a ray to the right from each of four points. The rays from "
        "two points within it cross 1 and 3 edges; those from between the legs and from the left "
        "of it cross 2 and 4.",
    )


def farthest(predicted: Mask, target: Mask) -> None:
    """Draw, for each direction, an arrow from the pixel that lies farthest from the other mask."""
    ways = {
        "prediction to target": (predicted, target),
        "target to prediction": (target, predicted),
    }
    fig, axes = plt.subplots(1, 2, figsize=(6.8, 3.2), layout="constrained")
    said = []
    for ax, (way, (start, end)) in zip(axes, ways.items(), strict=True):
        froms, tos = np.argwhere(start), np.argwhere(end)
        distances = np.linalg.norm(froms[:, None] - tos, axis=2)
        worst = int(distances.min(axis=1).argmax())
        (y0, x0), (y1, x1) = froms[worst], tos[distances[worst].argmin()]
        said.append(f"{way}: {distances[worst].min():.2f} px")
        grid(ax, predicted, target, said[-1])
        arrow = {"arrowstyle": "-|>", "lw": 2, "shrinkA": 0, "shrinkB": 0, "color": "black"}
        ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
    look.finish(fig, f"Two masks, and an arrow for the largest distance. {'; '.join(said)}.")


def distribution(values: ArrayLike, low: float, high: float, caption: str) -> None:
    """Draw how often each value came; those between ``low`` and ``high`` are dark, 0 is dashed."""
    fig, ax = plt.subplots(figsize=(6.0, 2.6), layout="constrained")
    counts, edges, bars = ax.hist(np.asarray(values), 40, color=PALETTE["counts"])
    for left, bar in zip(edges, bars.patches, strict=False):  # type: ignore[union-attr]
        if low <= left + bar.get_width() / 2 <= high:
            bar.set_facecolor(PALETTE["res"])
    ax.axvline(0, color=PALETTE["identity"], ls="--", lw=1)
    for end in (low, high):
        text = (end, float(np.max(counts)) * 0.8)
        ax.annotate(f"{end:+.3f}", (end, 0), text, ha="center", arrowprops={"arrowstyle": "-"})
    ax.set(xlabel=caption, ylabel="how often")
    look.finish(fig, f"Histogram of the {caption}: 95 % lie between {low:+.3f} and {high:+.3f}.")


def steps(made_from: Mapping[str, Sequence[str]], changed: str, stale: Sequence[str]) -> None:
    """Draw steps from left to right, each right of all that it is made from.

    Args:
        made_from: step → the steps that it is made from, which come before it.
        changed: the step whose code changed; stale too, and marked.
        stale: the steps that follow from it.
    """
    column: dict[str, int] = {}
    for step, sources in made_from.items():
        column[step] = 1 + max((column[source] for source in sources), default=-1)
    last = max(column.values())
    places: dict[str, tuple[float, float]] = {}
    for place in range(last + 1):
        here = [step for step in made_from if column[step] == place]
        places |= {step: (2.4 * place, y - (len(here) - 1) / 2) for y, step in enumerate(here)}
    fig, ax = plt.subplots(figsize=(1.7 * (last + 1), 1.8), layout="constrained")
    box = {"boxstyle": "round,pad=0.4", "edgecolor": "black"}
    arrow = {"arrowstyle": "-|>", "color": "#555555"}
    for step, (x, y) in places.items():
        colour = PALETTE["stroke"] if step == changed or step in stale else "white"
        said = f"{step}\n(code changed)" if step == changed else step
        ax.text(x, y, said, ha="center", va="center", bbox={**box, "facecolor": colour})
        for x0, y0 in (places[source] for source in made_from[step]):
            # From the right of the one box to the left of the other, wherever they are drawn.
            ax.annotate("", (x - 0.8, y), (x0 + 0.8, y0), arrowprops=arrow)
    ax.set(xlim=(-0.9, 2.4 * last + 0.9), ylim=(0.9, -0.9))
    ax.set_axis_off()
    arrows = (f"{step} from {' and '.join(of)}" for step, of in made_from.items() if of)
    look.finish(
        fig, f"Boxes and arrows: {'; '.join(arrows)}. Stale: {', '.join([changed, *stale])}."
    )


def gaps(rows: Sequence[tuple[str, float]]) -> None:
    """Draw for each method what the stroke had, what the method added, and what is left to gain.

    Args:
        rows: (method, IoU); the first is the stroke unchanged.
    """
    stroke = rows[0][1]
    fig, ax = plt.subplots(figsize=(7.0, 0.8 + 0.34 * len(rows)), layout="constrained")
    for y, (name, iou) in enumerate(rows):
        ax.barh(y, 1, color="white", edgecolor="#999999", hatch="///", lw=0.8)
        ax.barh(y, min(stroke, iou), color="#c9c9c9")
        ax.barh(y, iou - stroke, left=stroke, color=look.colour(name))
    ax.axvline(stroke, color=PALETTE["identity"], ls="--", lw=1)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.set(xlim=(0, 1), xlabel="IoU", ylim=(len(rows) - 0.4, -0.6))
    said = (f"{name} {iou:.3f}" for name, iou in rows)
    look.finish(fig, f"Bars up to 1, each with the stroke's part in grey: {'; '.join(said)}.")
