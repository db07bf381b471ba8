"""Plain strokes, for measuring only: no network is ever trained on them.

A network knows the strokes of the simulator it was trained with, and is better with them than
with anybody else's. So these are made another way, and by nothing but straight lines: between
deep points of the object, at random places outside it, or through the deepest point of a mistake.
Their width follows the object's size, and they cover about 2 % of it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from nseg_lib.arrays import Mask
from nseg_lib.strokes.drawing import Drawn, rasterize

_Floats = NDArray[np.float32]
_Point = NDArray[np.float64]

COVER = 0.02
"""Share of the object that its strokes cover, about: lines also stand out over its edge, cross
each other, or stop early where the object is too winding for them."""

WIDTH = 0.03
"""Width of a stroke relative to the square root of the object's area; at least 3 px."""

_TRIES = 50


def plain_sparse(mask: Mask, rng: Generator) -> Drawn:
    """One or two polylines within the object, three or four straight lines outside it.

    Each polyline goes from one deep point to the next that can be seen from there, until the
    lines are long enough to cover :data:`COVER` of the object. A deep point is one at least as
    far from the edge as the object's median pixel. The lines outside lie within the object's box
    grown by half its size on each side, clear of the object, .2 to .6 times as long as the square
    root of its area; where there is no room, there are fewer.

    Args:
        mask: bool H×W, the object, with at least one pixel.

    Raises:
        ValueError: an empty mask.
    """
    radius = _radius(mask)
    depth = _depth(mask)
    side = float(np.sqrt(mask.sum()))
    count = int(rng.integers(1, 2, endpoint=True))
    length = COVER * side**2 / (2 * radius) / count
    strokes = [_stroke("object", _polyline(depth, length, rng), radius) for _ in range(count)]
    for _ in range(int(rng.integers(3, 4, endpoint=True))):
        ends = _outside(mask, rng.uniform(0.2, 0.6) * side, 2 * radius + 2, rng)
        if ends is not None:
            strokes.append(_stroke("background", ends, radius))
    return rasterize(strokes, *mask.shape)


def plain_object(mask: Mask, rng: Generator) -> Drawn:
    """The object strokes of :func:`plain_sparse` from the same generator, and none outside."""
    both = plain_sparse(mask, rng)
    return Drawn(both.object, np.zeros_like(mask))


def plain_box(mask: Mask, rng: Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box as somebody drags it round the object.

    Each side is up to 6 % of the object's longer side too far out, none too far in.
    """
    height, width = mask.shape
    x, y, across, down = cv2.boundingRect(mask.astype(np.uint8))
    left, top, right, bottom = (rng.uniform(0, 0.06, 4) * max(across, down)).round().astype(int)
    ends = min(width, x + across + int(right)), min(height, y + down + int(bottom))
    return max(0, x - int(left)), max(0, y - int(top)), *ends


def plain_correction(mask: Mask, predicted: Mask, rng: Generator) -> Drawn:
    """One straight line through the deepest mistake: on missed object or on wrongly added ground.

    The deepest mistake is where the distance to the edge of the missed or of the added region
    is largest, as the field's clicks are placed; beyond the picture nothing is missed. The line
    has a random direction and at most the length of the square root of the object's area, and
    ends where the mistake does. Both masks empty where there is no mistake.

    Source: the click of Sofiiuk et al., "Reviving iterative training with mask guidance for
    interactive segmentation", 2021 (RITM), drawn out to a line.
    """
    missed, added = _depth(mask & ~predicted), _depth(predicted & ~mask)
    kind, depth = ("object", missed) if missed.max() >= added.max() else ("background", added)
    if not depth.any():
        return rasterize([], *mask.shape)
    deepest = np.argwhere(depth == depth.max())
    centre = deepest[rng.integers(len(deepest))].astype(np.float64)
    angle = rng.uniform(0, np.pi)
    reach = np.sqrt(mask.sum()) / 2 * np.array([np.sin(angle), np.cos(angle)])
    ends = [_last_inside(depth > 0, centre, centre + way) for way in (-reach, reach)]
    drawn = rasterize([_stroke(kind, np.stack(ends), _radius(mask))], *mask.shape)
    region = depth > 0
    return Drawn(drawn.object & region, drawn.background & region)


def _radius(mask: Mask) -> float:
    if not mask.any():
        raise ValueError("mask is empty: there is no object to draw on")
    return max(1.5, WIDTH * float(np.sqrt(mask.sum())) / 2)


def _depth(region: Mask) -> _Floats:
    """Distance of each pixel to the nearest one that is not in the region, or to the border.

    SciPy's, because OpenCV's precise one differs in the last digits from call to call, and with
    them the pixels that count as deepest.
    """
    padded = np.pad(region, 1)
    return distance_transform_edt(padded)[1:-1, 1:-1].astype(np.float32)


def _stroke(kind: str, points: _Point, radius: float) -> dict[str, object]:
    """Rows and columns of pixels as a stroke for :func:`rasterize`."""
    return {"kind": kind, "points": [[x + 0.5, y + 0.5, radius] for y, x in points.tolist()]}


def _line(start: _Point, end: _Point) -> NDArray[np.int64]:
    """Pixels from start to end, row and column, no further apart than one."""
    steps = int(np.ceil(np.abs(end - start).max())) + 1
    return np.rint(np.linspace(start, end, steps)).astype(np.int64)


def _inside(region: Mask, pixels: NDArray[np.int64]) -> Mask:
    """Which of the pixels are in the picture and in the region."""
    within = ((pixels >= 0) & (pixels < region.shape)).all(axis=1)
    rows, columns = np.clip(pixels, 0, np.array(region.shape) - 1).T
    return within & region[rows, columns]


def _last_inside(region: Mask, start: _Point, end: _Point) -> _Point:
    """How far one gets from start to end without leaving the region."""
    pixels = _line(start, end)
    left = np.flatnonzero(~_inside(region, pixels))
    return pixels[left[0] - 1 if len(left) else -1].astype(np.float64)


def _polyline(depth: _Floats, length: float, rng: Generator) -> _Point:
    """Corners of a line of about ``length`` px between deep points that see each other."""
    inside = depth > 0
    deep = np.argwhere(depth >= np.median(depth[inside])).astype(np.float64)
    points = [deep[rng.integers(len(deep))]]
    for _ in range(_TRIES):
        if length <= 0:
            break
        target = deep[rng.integers(len(deep))]
        if not _inside(inside, _line(points[-1], target)).all():
            continue
        step = float(np.hypot(*(target - points[-1])))
        share = min(1.0, length / step) if step else 0.0
        points.append(points[-1] + share * (target - points[-1]))
        length -= share * step
    return np.stack(points)


def _outside(mask: Mask, length: float, clearance: float, rng: Generator) -> _Point | None:
    """Ends of a line of ``length`` px near the object, ``clearance`` px off it; or None."""
    free = _depth(~mask) > clearance
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    low = np.array([y - height / 2, x - width / 2])
    high = np.array([y + 1.5 * height, x + 1.5 * width])
    for attempt in range(_TRIES):
        angle = rng.uniform(0, 2 * np.pi)
        start = np.rint(np.clip(rng.uniform(low, high), 0, np.array(mask.shape) - 1))
        # Where room is scarce the later tries are shorter, down to a quarter.
        reach = length * (1 - 0.75 * attempt / _TRIES)
        end = start + reach * np.array([np.sin(angle), np.cos(angle)])
        if _inside(free, _line(start, end)).all():
            return np.stack([start, end])
    return None
