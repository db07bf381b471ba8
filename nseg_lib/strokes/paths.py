"""Paths through, across and round an object, along which somebody may draw.

A path, here a :data:`Track`, is float N×2 of (x, y) in pixels of the picture; pixel (row i, column
j) has its centre at (j + ½, i + ½).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib.arrays import Mask

Floats = NDArray[np.floating[Any]]
Track = NDArray[np.float64]

GRID = 56
"""Cells along the longer side of the object's box in which paths are found."""


def smooth(
    values: Floats, sigma: float, axis: int = -1, mode: Literal["reflect", "nearest"] = "reflect"
) -> Floats:
    """Values smoothed along an axis by a Gaussian of ``sigma`` steps; ``mode``: beyond the ends."""
    from scipy.ndimage import gaussian_filter1d  # half a second, only where strokes are drawn

    return gaussian_filter1d(values, sigma, axis=axis, mode=mode)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, its logarithm uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True)
class Target:
    """An object to be brushed, and how far every pixel of the picture lies from its edge."""

    mask: Mask
    """bool H×W, not empty."""

    @cached_property
    def size(self) -> float:
        """Square root of the object's area, in pixels."""
        return float(np.sqrt(np.count_nonzero(self.mask)))

    @cached_property
    def picture_side(self) -> float:
        """The picture's longer side in pixels."""
        return float(max(self.mask.shape))

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the object's bounding box."""
        x, y, width, height = cv2.boundingRect(self.mask.view(np.uint8))
        return x, y, width, height

    @cached_property
    def inside(self) -> Floats:
        """float32 H×W: distance to the object's edge in pixels, 0 outside; the picture's border
        counts as edge."""
        x, y, width, height = self.box
        window = slice(y, y + height), slice(x, x + width)
        padded = np.zeros((height + 2, width + 2), np.uint8)
        padded[1:-1, 1:-1] = self.mask[window]
        depth = np.zeros(self.mask.shape, np.float32)
        depth[window] = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
        return depth

    @cached_property
    def outside(self) -> Floats:
        """float32 H×W: distance to the object in pixels, 0 on it."""
        if self.mask.all():
            return np.zeros(self.mask.shape, np.float32)
        return cv2.distanceTransform((~self.mask).view(np.uint8), cv2.DIST_L2, 3)

    @cached_property
    def signed(self) -> Floats:
        """float32 H×W: distance to the edge, positive on the object."""
        return self.inside - self.outside

    @cached_property
    def cells(self) -> Floats:
        """float64: mean depth in each cell of a grid over the box, 0 where no object is."""
        x, y, width, height = self.box
        cell = max(1.0, max(width, height) / GRID)
        shape = (max(1, round(width / cell)), max(1, round(height / cell)))
        depth = self.inside[y : y + height, x : x + width]
        return cv2.resize(depth, shape, interpolation=cv2.INTER_AREA).astype(np.float64)

    @cached_property
    def parts(self) -> NDArray[np.int32]:
        """int32, as :attr:`cells`: which connected part a cell belongs to, 0 for none."""
        return cv2.connectedComponents((self.cells > 0).astype(np.uint8))[1].astype(np.int32)

    def centre(self, cells: Any) -> Track:
        """Centres of cells (row, column) as (x, y) in the picture."""
        x, y, width, height = self.box
        rows, columns = self.cells.shape
        ij = np.asarray(cells, np.float64).reshape(-1, 2) + 0.5
        return np.column_stack([x + ij[:, 1] * width / columns, y + ij[:, 0] * height / rows])

    def deepest(self) -> Track:
        """The path that is only the object's deepest pixel."""
        y, x = np.unravel_index(int(np.argmax(self.inside)), self.mask.shape)
        return np.array([[x + 0.5, y + 0.5]])


def lookup(field: NDArray[Any], path: Track) -> NDArray[Any]:
    """Values of an H×W field below the points of a path; beyond the border, the nearest."""
    height, width = field.shape
    columns = np.clip(path[:, 0].astype(int), 0, width - 1)
    rows = np.clip(path[:, 1].astype(int), 0, height - 1)
    return field[rows, columns]


def path_length(path: Track) -> float:
    """Length of a path in pixels."""
    return float(np.hypot(*np.diff(path, axis=0).T).sum())


def runs(path: Track, kept: Mask) -> list[Track]:
    """The stretches of a path whose points are kept."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
    return [path[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def longest(path: Track, kept: Mask) -> Track:
    """The longest stretch of a path whose points are kept; empty if none is."""
    return max(runs(path, kept), key=len, default=np.empty((0, 2)))


def shortened(path: Track, share: float, rng: Generator) -> Track:
    """A stretch of a path, of this share of its points."""
    count = max(2, round(share * len(path)))
    start = int(rng.integers(max(1, len(path) - count + 1)))
    return path[start : start + count]


def through(
    target: Target, rng: Generator, anchors: int, deep: float, spine: bool = False
) -> Track:
    """The way of least cost 1 / depth^``deep`` between random cells of one part of the object.

    ``deep`` above 1 keeps to the middle, near 0 goes straight. ``spine`` starts and ends as far
    from each other as it gets.
    """
    # The first cell, deeper ones likelier; all others lie in the same connected part.
    cells, parts = target.cells, target.parts
    weight = np.where(parts > 0, cells, 0).ravel() ** rng.uniform(0.3, 2)
    first = _pick(weight, rng)
    weight = np.where(parts.ravel() == parts.flat[first], weight, 0)
    cost = np.where(cells > 0, 1 / np.maximum(cells, 0.1) ** deep, -1.0)
    here = np.unravel_index(first, cells.shape)
    from skimage.graph import MCP_Geometric  # half a second, only where strokes are drawn

    # From cell to cell by the way of least cost; a spine's first leg only finds a far end to
    # start from.
    found: list[Any] = []
    for number in range(anchors - 1 + spine):
        graph = MCP_Geometric(cost)
        reach, _ = graph.find_costs([here])
        reach = np.where(np.isfinite(reach), reach, 0).ravel()
        far = weight * (reach / max(reach.max(), 1e-9)) ** (20 if spine else rng.uniform(0, 3))
        there = np.unravel_index(_pick(far if far.any() else weight, rng), cells.shape)
        if not spine or number > 0:
            found += graph.traceback(there)
        here = there
    path = target.centre(found or [here])
    # Moved by a part of a cell, so that paths do not follow the grid.
    return path + rng.uniform(-0.3, 0.3, 2) * (max(target.box[2:]) / GRID)


def _pick(weight: Floats, rng: Generator) -> int:
    """An index, drawn in proportion to its weight."""
    total = np.cumsum(weight)
    drawn = np.searchsorted(total, rng.uniform(0, total[-1]), side="right")
    return int(min(drawn, total.size - 1))


def _cell(target: Target, rng: Generator, power: float) -> Track:
    """The centre of a random cell, deeper ones likelier by this power of their depth."""
    picked = _pick(target.cells.ravel() ** power, rng)
    return target.centre(np.unravel_index(picked, target.cells.shape))[0]


def line(start: Track, angle: float, length: float, bend: float, steps: int = 24) -> Track:
    """From ``start`` ahead at ``angle`` (radians), turning by ``bend`` radians on the way."""
    turns = angle + bend * np.linspace(-0.5, 0.5, steps)
    ahead = np.column_stack([np.cos(turns), np.sin(turns)]) * (length / steps)
    return start + np.vstack([np.zeros(2), np.cumsum(ahead, axis=0)])


def chord(target: Target, rng: Generator) -> Track:
    """A line across the object, or a part of it, bent by a normal angle of half a radian."""
    # A straight line both ways from a random point; the longest stretch on the object counts.
    middle = _cell(target, rng, 1)
    angle = rng.uniform(0, 2 * np.pi)
    half = line(middle, angle, float(np.hypot(*target.box[2:])), 0, 96)
    path = np.vstack([2 * middle - half[:0:-1], half])
    across = longest(path, lookup(target.inside, path) > 0)
    if len(across) < 2:
        return middle[None]
    low, high = rng.uniform([0.0, 0.6], [0.4, 1.0])
    way = across[-1] - across[0]
    return line(across[0] + low * way, angle, (high - low) * np.hypot(*way), rng.normal(0, 0.5))


def corners(target: Target, rng: Generator) -> Track:
    """Straight lines between three to five random points of the object."""
    picked = [_cell(target, rng, 1) for _ in range(int(rng.integers(3, 6)))]
    return np.vstack([np.linspace(a, b, 16) for a, b in pairwise(picked)])


def doodle(target: Target, rng: Generator, length: float) -> Track:
    """A wandering path that starts deep in the object and turns back before its edge."""
    here = _cell(target, rng, 2)
    step = max(1.0, length / 60)
    heading, turn, path = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.2), [here]
    dodges = np.array([0, 0.5, -0.5, 1.0, -1.0, 1.6, -1.6, 2.4, -2.4])
    for _ in range(60):
        turn = 0.85 * turn + rng.normal(0, 0.15)
        tries = heading + turn + dodges
        ahead = here + 3 * step * np.column_stack([np.cos(tries), np.sin(tries)])
        # Of the headings that do not lead over the edge, the one nearest to straight on.
        safe = np.flatnonzero(lookup(target.inside, ahead) > min(step, 0.05 * target.size))
        if not len(safe):
            break
        heading = tries[safe[0]]
        here = here + step * np.array([np.cos(heading), np.sin(heading)])
        path.append(here)
    return np.array(path)


def level(field: Floats, height: float, rng: Generator, share: float) -> Track:
    """A part of one contour ``field`` = ``height``, the longer ones likelier, without what runs
    along the picture's border; empty if there is none."""
    above = (field >= height).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.empty((0, 2))
    # A stretch of one contour, from a random point on.
    chosen = _pick(np.array([len(c) for c in contours], np.float64) ** 2, rng)
    ring = contours[chosen][:, 0, :].astype(np.float64) + 0.5
    ring = np.roll(ring, int(rng.integers(len(ring))), axis=0)[: max(2, int(share * len(ring)))]
    rows, columns = field.shape
    within = (ring > 2).all(axis=1) & (ring[:, 0] < columns - 2) & (ring[:, 1] < rows - 2)
    return longest(ring, within)


def hatching(
    where: Callable[[Track], Mask],
    box: tuple[float, float, float, float],
    rng: Generator,
    spacing: float,
    wave: float,
) -> list[Track]:
    """Parallel lines over ``box`` (x, y, width, height), cut to the points ``where`` allows.

    They sway by about ``wave`` times the distance between them, ``spacing`` pixels.
    """
    x, y, width, height = box
    half = float(np.hypot(width, height)) / 2
    angle = rng.uniform(0, np.pi)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-ahead[1], ahead[0]])
    steps = np.linspace(-half, half, int(np.clip(2 * half / max(spacing / 3, 3), 16, 90)))
    lines = []
    for offset in np.arange(-half + rng.uniform(0, spacing), half, spacing):
        sway = wave * spacing * smooth(rng.normal(0, 3.3, len(steps)), 3)
        shift = offset + rng.normal(0, 0.15 * spacing) + sway
        path = [x + width / 2, y + height / 2] + steps[:, None] * ahead + shift[:, None] * aside
        lines += [part for part in runs(path, where(path)) if len(part) > 1]
    return lines


def beside(target: Target, rng: Generator, radius: float) -> Track:
    """Round the object, along a side of it, a line near it in any direction, or one elsewhere."""
    distance = radius + 2 + target.size * log_uniform(rng, 0.04, 0.4)
    way = rng.choice(["ring", "along", "any", "side", "elsewhere"], p=[0.3, 0.2, 0.15, 0.12, 0.23])
    if way == "ring":
        ring = level(-target.outside, -distance, rng, rng.uniform(0.1, 1.0))
        if len(ring):
            return ring
    if way == "side":
        # A straight line, or two round a corner, along a box round the object.
        x, y, width, height = target.box
        left, right = x - distance, x + width + distance
        top, bottom = y - distance, y + height + distance
        box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        box = np.roll(box, int(rng.integers(4)), axis=0)[: rng.choice([2, 3])]
        path = np.vstack([np.linspace(a, b, 24) for a, b in pairwise(box)])
        return shortened(path, rng.uniform(0.4, 1), rng)
    start, outward = _start_beside(target, rng, None if way == "elsewhere" else distance)
    angle = outward + np.pi / 2 if way == "along" else rng.uniform(0, 2 * np.pi)
    length = min(target.size * log_uniform(rng, 0.15, 1.5), 0.6 * target.picture_side)
    path = line(start, angle + rng.normal(0, 0.3), length, rng.normal(0, 0.6))
    return path - (path.mean(axis=0) - start)


def _start_beside(target: Target, rng: Generator, distance: float | None) -> tuple[Track, float]:
    """A point about ``distance`` px from the object, or anywhere off it, and the way outward, in
    radians."""
    # Many points in the box round the object, of which one that fits is taken.
    height, width = target.mask.shape
    low, high = np.zeros(2), np.array([width, height], np.float64)
    if distance is not None:
        x, y, wide, tall = target.box
        low = np.maximum(np.array([x, y]) - distance, low)
        high = np.minimum(np.array([x + wide, y + tall]) + distance, high)
    points = rng.uniform(low, high, (400, 2))
    away = lookup(target.outside, points)
    fits = away > 0 if distance is None else np.abs(away - distance) < 0.3 * distance
    fits = fits if fits.any() else away == away.max()
    start = points[rng.choice(np.flatnonzero(fits))]
    # Outward is where the distance to the object grows fastest.
    step = np.array([[2.0, 0], [-2.0, 0], [0, 2.0], [0, -2.0]])
    right, left, down, up = lookup(target.outside, start + step)
    return start, float(np.arctan2(down - up, right - left))


def in_picture(path: Track, target: Target) -> Mask:
    """Which points of a path lie in the picture."""
    height, width = target.mask.shape
    return (path >= 0).all(axis=1) & (path[:, 0] < width) & (path[:, 1] < height)
