"""How a hand moves over an object: paths through a mask, round it, across it, and their habits.

A path is float N×2 of (x, y) in pixels of the picture, pixel (row i, column j) having its centre at
(j + ½, i + ½). :func:`trace` turns a path into the points of one stroke for
:func:`nseg_lib.strokes.rasterize`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from skimage.graph import MCP_Geometric

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Path = NDArray[np.float64]

GRID = 56
"""Cells along the longer side of the object's box in which paths are found."""


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, its logarithm uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True)
class Scene:
    """An object, and how far every pixel of the picture lies from its edge."""

    mask: Mask
    """bool H×W, not empty."""

    @cached_property
    def size(self) -> float:
        """Square root of the object's area, in pixels."""
        return float(np.sqrt(np.count_nonzero(self.mask)))

    @cached_property
    def inside(self) -> Floats:
        """float32 H×W: distance to the object's edge in pixels, 0 outside; the picture's border
        counts as edge."""
        padded = cv2.copyMakeBorder(self.mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]

    @cached_property
    def outside(self) -> Floats:
        """float32 H×W: distance to the object in pixels, 0 on it."""
        return cv2.distanceTransform((~self.mask).view(np.uint8), cv2.DIST_L2, 3)

    @cached_property
    def signed(self) -> Floats:
        """float32 H×W: distance to the edge, positive on the object."""
        return self.inside - self.outside

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the object's bounding box."""
        x, y, width, height = cv2.boundingRect(self.mask.view(np.uint8))
        return x, y, width, height

    @cached_property
    def cells(self) -> Floats:
        """float32: mean depth in each cell of a grid over the box, 0 where no object is."""
        x, y, width, height = self.box
        cell = max(1.0, max(width, height) / GRID)
        shape = (max(1, round(width / cell)), max(1, round(height / cell)))
        depth = self.inside[y : y + height, x : x + width]
        return cv2.resize(depth, shape, interpolation=cv2.INTER_AREA)

    @cached_property
    def parts(self) -> NDArray[np.int32]:
        """int32, as :attr:`cells`: which connected part a cell belongs to, 0 for none."""
        return cv2.connectedComponents((self.cells > 0).astype(np.uint8))[1].astype(np.int32)

    def to_picture(self, cells: Any) -> Path:
        """Centres of cells (row, column) as (x, y) in the picture."""
        x, y, width, height = self.box
        rows, columns = self.cells.shape
        ij = np.asarray(cells, np.float64).reshape(-1, 2) + 0.5
        return np.column_stack([x + ij[:, 1] * width / columns, y + ij[:, 0] * height / rows])


def lookup(field: NDArray[Any], path: Path) -> NDArray[Any]:
    """Values of an H×W field below the points of a path; beyond the border, the nearest."""
    height, width = field.shape
    columns = np.clip(path[:, 0].astype(int), 0, width - 1)
    rows = np.clip(path[:, 1].astype(int), 0, height - 1)
    return field[rows, columns]


def path_length(path: Path) -> float:
    """Length of a path in pixels."""
    return float(np.hypot(*np.diff(path, axis=0).T).sum())


# --- paths ----------------------------------------------------------------------------------------


def through(scene: Scene, rng: Generator, anchors: int = 2, deep: float = 1.0) -> Path:
    """The way of least cost 1 / depth^``deep`` between random cells of one part of the object.

    ``deep`` above 1 keeps to the middle, near 0 goes straight.
    """
    cells, parts = scene.cells, scene.parts
    weight = np.where(parts > 0, cells, 0).ravel().astype(np.float64) ** rng.uniform(0.3, 2)
    first = _pick(weight, rng)
    weight = np.where(parts.ravel() == parts.flat[first], weight, 0)
    cost = np.where(cells > 0, 1 / np.maximum(cells, 0.1) ** deep, -1.0)
    here = np.unravel_index(first, cells.shape)
    found = []
    for _ in range(anchors - 1):
        graph = MCP_Geometric(cost)
        reach, _ = graph.find_costs([here])
        reach = np.where(np.isfinite(reach), reach, 0).ravel()
        far = weight * reach ** rng.uniform(0, 3) / max(reach.max(), 1e-9)
        there = np.unravel_index(_pick(far if far.any() else weight, rng), cells.shape)
        found += graph.traceback(there)
        here = there
    path = scene.to_picture(found or [here])
    return path + rng.uniform(-0.3, 0.3, 2) * (max(scene.box[2:]) / GRID)


def _pick(weight: Floats, rng: Generator) -> int:
    """An index, drawn in proportion to its weight."""
    total = np.cumsum(weight)
    return int(
        np.searchsorted(total, rng.uniform(0, total[-1]), side="right").clip(0, total.size - 1)
    )


def line(start: Path, angle: float, length: float, bend: float, steps: int = 24) -> Path:
    """From ``start`` ahead at ``angle`` (radians), turning by ``bend`` radians on the way."""
    turns = angle + bend * np.linspace(-0.5, 0.5, steps)
    ahead = np.column_stack([np.cos(turns), np.sin(turns)]) * (length / steps)
    return start + np.vstack([np.zeros(2), np.cumsum(ahead, axis=0)])


def chord(scene: Scene, rng: Generator) -> Path:
    """A slightly bent line across the object, or a part of it."""
    middle = scene.to_picture(
        np.unravel_index(_pick(scene.cells.ravel().astype(np.float64), rng), scene.cells.shape)
    )[0]
    length = 1.5 * float(np.hypot(*scene.box[2:]))
    angle = rng.uniform(0, 2 * np.pi)
    path = line(middle, angle, length, 0, 96)
    path = np.vstack([2 * middle - path[:0:-1], path])
    across = longest(path, lookup(scene.inside, path) > 0)
    if len(across) < 2:
        return middle[None]
    bend = rng.normal(0, 0.5)
    low, high = np.sort(rng.uniform([0.0, 0.6], [0.4, 1.0]))
    start, end = (
        across[0] + (across[-1] - across[0]) * low,
        across[0] + (across[-1] - across[0]) * high,
    )
    return line(start, angle, float(np.hypot(*(end - start))), bend)


def doodle(scene: Scene, rng: Generator, length: float) -> Path:
    """A wandering path that starts deep in the object and turns back before its edge."""
    weight = scene.cells.ravel().astype(np.float64) ** 2
    here = scene.to_picture(np.unravel_index(_pick(weight, rng), scene.cells.shape))[0]
    step = max(1.0, length / 60)
    heading, turn, path = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.2), [here]
    for _ in range(60):
        turn = 0.85 * turn + rng.normal(0, 0.15)
        tries = heading + turn + np.array([0, 0.5, -0.5, 1.0, -1.0, 1.6, -1.6, 2.4, -2.4])
        ahead = here + 3 * step * np.column_stack([np.cos(tries), np.sin(tries)])
        safe = np.nonzero(lookup(scene.inside, ahead) > min(step, 0.05 * scene.size))[0]
        if not len(safe):
            break
        heading = tries[safe[0]]
        here = here + step * np.array([np.cos(heading), np.sin(heading)])
        path.append(here)
    return np.array(path)


def level(field: Floats, height: float, rng: Generator, share: float) -> Path:
    """A part of one contour ``field`` = ``height``, the longer ones likelier, without what runs
    along the picture's border; empty if there is none."""
    above = (field >= height).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.empty((0, 2))
    weight = np.array([len(c) for c in contours], np.float64) ** 2
    ring = contours[_pick(weight, rng)][:, 0, :].astype(np.float64)
    ring = (
        np.roll(ring, int(rng.integers(len(ring))), axis=0)[: max(2, int(share * len(ring)))] + 0.5
    )
    rows, columns = field.shape
    within = (ring > 2).all(axis=1) & (ring[:, 0] < columns - 2) & (ring[:, 1] < rows - 2)
    return longest(ring, within)


def hatching(
    where: Callable[[Path], Mask], box: tuple[float, float, float, float], rng: Generator,
    angle: float, spacing: float, wave: float,
) -> list[Path]:  # fmt: skip
    """Parallel wavy lines over ``box`` (x, y, width, height), cut to the points ``where`` allows."""
    x, y, width, height = box
    half = float(np.hypot(width, height)) / 2
    centre = np.array([x + width / 2, y + height / 2])
    ahead, aside = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    steps = np.linspace(-half, half, int(np.clip(2 * half / max(spacing / 3, 2), 16, 120)))
    lines = []
    for offset in np.arange(-half + rng.uniform(0, spacing), half, spacing):
        sway = wave * spacing * gaussian_filter1d(rng.normal(0, 3, len(steps)), 6)
        shift = offset + rng.normal(0, 0.15 * spacing) + sway
        path = centre + steps[:, None] * ahead + shift[:, None] * aside
        lines += runs(path, where(path))
    return lines


def runs(path: Path, kept: Mask) -> list[Path]:
    """The stretches of a path whose points are kept."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
    return [path[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def longest(path: Path, kept: Mask) -> Path:
    """The longest stretch of a path whose points are kept; empty if none is."""
    return max(runs(path, kept), key=len, default=np.empty((0, 2)))


# --- habits ---------------------------------------------------------------------------------------


def moved(path: Path, rng: Generator, lag: float, tremor: float, most: int = 64) -> Path:
    """A path as a hand follows it: even steps, corners cut, trembling.

    ``lag`` is the share of the path over which it is smoothed, ``tremor`` a standard deviation in
    pixels; at most ``most`` points come back.
    """
    if len(path) < 2:
        return path
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    count = int(np.clip(along[-1] / 3, 4, most))
    at = np.linspace(0, along[-1], count)
    even = np.column_stack([np.interp(at, along, path[:, 0]), np.interp(at, along, path[:, 1])])
    if lag > 0:
        even = gaussian_filter1d(even, lag * count, axis=0, mode="nearest")
    noise = gaussian_filter1d(rng.normal(0, 1, (count, 2)), 2.0, axis=0) * 2.7
    return even + tremor * noise


def trace(
    kind: str, path: Path, radius: float, rng: Generator, room: Floats | None = None,
    pressure: float = 0.15,
) -> dict[str, Any]:  # fmt: skip
    """One stroke along a path, its radius varying by about ``pressure`` of itself and held to
    ``room`` (H×W: the largest radius at a pixel) where that is given."""
    count = len(path)
    press = gaussian_filter1d(rng.normal(0, 1, count), max(1.0, count / 8), mode="nearest")
    radii = radius * np.exp(pressure * press * min(2.0, np.sqrt(count / 4)))
    if room is not None:
        radii = np.minimum(radii, lookup(room, path) - 0.3)
    return {"kind": kind, "points": np.column_stack([path, np.maximum(radii, 0.6)])}
