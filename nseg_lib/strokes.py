"""Every way to make a stroke: simulated from a mask, or rasterised from what a person drew.

The four recipes are those of the paper's released code. Each is a short function of a mask and a
random generator; :func:`make_stroke` seeds the generator from what the stroke is of, so a stroke
never depends on the order of access, on workers or on what was drawn before. Chapter
``02_stroke_synthesis`` takes them apart step by step.

All radii, kernels and sigmas are in pixels of the picture at its native size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
_Bytes = NDArray[np.uint8]
_Floats = NDArray[np.float64]
_Integers = NDArray[np.int_]

MIN_STROKE_AREA = 50
"""A simulated stroke of fewer pixels is dropped and counted, never replaced. The released code
silently took the next sample instead, often a training picture."""

_MARGIN = 128
"""Pixels around the object beyond which no recipe draws or looks (paintbrush needs most: a disc
of 40 px centred 20 px outside, a closing of 20 px more and a blur of 36 px)."""


def _ellipse(size: int) -> _Bytes:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def _discs(band: _Bytes, count: int, radii: tuple[int, int], rng: Generator) -> _Bytes:
    """``count`` filled discs centred on pixels of ``band``, radii uniform in ``radii``."""
    discs = np.zeros_like(band)
    centres = np.column_stack(np.nonzero(band))
    for _ in range(count):
        y, x = centres[rng.integers(len(centres))]
        cv2.circle(discs, (int(x), int(y)), int(rng.integers(*radii, endpoint=True)), 255, -1)
    return discs


def _smooth(mask: _Bytes, rng: Generator) -> Mask:
    """Gaussian blur with sigma uniform in 6..12 px, then threshold above 127/255."""
    return cv2.GaussianBlur(mask, (0, 0), sigmaX=rng.uniform(6.0, 12.0)) > 127


def _erode(mask: _Bytes, rng: Generator) -> Mask:
    """Bites taken out of the mask's edge: the paper's recipe (section 2.2)."""
    b = int(rng.integers(30, 40, endpoint=True))
    band = mask - cv2.erode(mask, _ellipse(b))
    if not band.any():
        return mask > 0
    count = int(rng.integers(2, 6, endpoint=True))
    bitten = mask & ~_discs(band, count, (b // 4, b // 2), rng)
    opening = _ellipse(int(rng.integers(b // 2, b, endpoint=True)))
    return _smooth(cv2.morphologyEx(bitten, cv2.MORPH_OPEN, opening), rng)


def _v1(mask: _Bytes, rng: Generator) -> Mask:
    """Small discs round the edge, then dilation, erosion and a slight blur."""
    band = cv2.dilate(mask, np.ones((7, 7), np.uint8)) - mask
    if not band.any():
        return mask > 0
    grown = mask | _discs(band, int(rng.integers(15, 40, endpoint=True)), (3, 10), rng)
    size = int(rng.integers(7, 15, endpoint=True))
    times = int(rng.integers(1, 2, endpoint=True))
    grown = cv2.dilate(grown, _ellipse(size), iterations=times)
    size = int(rng.integers(5, size - 1, endpoint=True))
    shape = int(rng.choice([cv2.MORPH_ELLIPSE, cv2.MORPH_RECT, cv2.MORPH_CROSS]))
    shrunk = cv2.erode(grown, cv2.getStructuringElement(shape, (size, size)))
    soft = cv2.GaussianBlur(shrunk, (5, 5), sigmaX=rng.uniform(2.0, 4.5))
    return soft > int(rng.integers(60, 120, endpoint=True))


def _paintbrush(mask: _Bytes, rng: Generator) -> Mask:
    """Large discs added outside the edge, closed and blurred: a brush that overshoots."""
    b = int(rng.integers(15, 40, endpoint=True))
    band = cv2.dilate(mask, _ellipse(b)) - mask
    if not band.any():
        return mask > 0
    grown = mask | _discs(band, int(rng.integers(8, 18, endpoint=True)), (b // 2, b), rng)
    closing = _ellipse(int(rng.integers(b // 2, b, endpoint=True)))
    return _smooth(cv2.morphologyEx(grown, cv2.MORPH_CLOSE, closing), rng)


def _dist(mask: _Bytes, rng: Generator) -> Mask:
    """Signed distance to the edge, less 12 px, plus 12 times smoothed noise (sigma 6 px)."""
    inside = (mask > 0).astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 3
    )
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    return signed + 12 * cv2.GaussianBlur(noise, (0, 0), 6.0) - 12 > 0


RECIPES: dict[str, Callable[[_Bytes, Generator], Mask]] = {
    "erode": _erode,
    "v1": _v1,
    "paintbrush": _paintbrush,
    "dist": _dist,
}
"""The released recipes by name, each (uint8 H×W of 0 and 255, generator) → bool H×W."""


def make_stroke(
    mask: Mask,
    recipe: str = "erode",
    *,
    seed: int = 0,
    image_id: int = 0,
    annotation_id: int = 0,
    draw: int = 0,
) -> Mask:
    """Simulate the stroke that a user might draw over an object.

    The same arguments give the same stroke, always: randomness comes from ``seed``, ``image_id``,
    ``annotation_id``, ``recipe`` and ``draw`` alone. Training raises ``draw`` with the epoch.

    Args:
        mask: bool H×W, the object.
        recipe: ``erode`` (the paper's), ``v1``, ``paintbrush`` or ``dist``.
        seed, image_id, annotation_id, draw: whole numbers from 0.

    Returns:
        bool H×W. Empty where the mask is empty or the recipe leaves nothing of it; below
        :data:`MIN_STROKE_AREA` pixels callers drop the sample.

    Raises:
        ValueError: an unknown recipe, a mask that is not bool H×W, or a number below 0.

    Source: the paper's section 2.2 and its released code.
    """
    if recipe not in RECIPES:
        raise ValueError(f"unknown stroke recipe '{recipe}'; one of: {', '.join(RECIPES)}")
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
        got = f"{getattr(mask, 'dtype', type(mask).__name__)} of shape {np.shape(mask)}"
        raise ValueError(f"mask must be bool H×W, got {got}")
    numbers = {"seed": seed, "image_id": image_id, "annotation_id": annotation_id, "draw": draw}
    for name, number in numbers.items():
        if not isinstance(number, int | np.integer) or number < 0:
            raise ValueError(f"{name} must be a whole number from 0, got {number!r}")
    stroke = np.zeros_like(mask)
    if not mask.any():
        return stroke
    key = (seed, image_id, annotation_id, zlib.crc32(recipe.encode()), draw)
    rng = np.random.default_rng(key)
    window = _window(mask)
    stroke[window] = RECIPES[recipe](mask[window].astype(np.uint8) * 255, rng)
    return stroke


def _window(mask: Mask) -> tuple[slice, slice]:
    """The object's bounding box and :data:`_MARGIN`: all that a recipe can reach."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    rows = slice(max(0, y - _MARGIN), y + height + _MARGIN)
    return rows, slice(max(0, x - _MARGIN), x + width + _MARGIN)


# --- what a person drew ---------------------------------------------------------------------------

KINDS: dict[str, int] = {"erase": 0, "object": 1, "background": 2}
"""The kinds of a drawn stroke, and the label that each paints over what was drawn before it."""


class Drawn(NamedTuple):
    """What a drawing covers: two masks that share no pixel."""

    object: Mask
    """bool H×W, brushed as object; what the refiner takes as its stroke."""
    background: Mask
    """bool H×W, brushed as background."""


def check_strokes(strokes: object) -> None:
    """Raise ValueError, in one line, unless ``strokes`` is a drawing as :func:`rasterize` asks."""
    if not isinstance(strokes, list | tuple):
        raise ValueError(f"strokes must be a list, got {type(strokes).__name__}")
    for number, stroke in enumerate(strokes, 1):
        if not isinstance(stroke, Mapping):
            raise ValueError(f"stroke {number}: an object with 'kind' and 'points' is needed")
        kind = stroke.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            allowed = ", ".join(KINDS)
            raise ValueError(f"stroke {number}: kind is {kind!r:.40}, not {allowed}")
        try:
            points = np.asarray(stroke.get("points"), dtype=np.float64)
        except (TypeError, ValueError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"stroke {number}: points must be [[x, y, radius], …], at least one")
        if not (np.abs(points) < 1e6).all() or (points[:, 2] <= 0).any():
            raise ValueError(f"stroke {number}: points must be finite, radii above 0")


def rasterize(strokes: Sequence[Mapping[str, Any]], height: int, width: int) -> Drawn:
    """The pixels that a drawing covers.

    A stroke is ``{"kind": "object", "points": [[x, y, radius], …]}`` in pixels of the picture:
    pixel (row i, column j) has its centre at x = j + ½, y = i + ½. Each pair of neighbouring points
    spans a capsule, the convex hull of their two discs, so the radius varies evenly between them.
    A pixel is covered if its centre lies in a capsule, border included; there is no antialiasing.
    Strokes are painted in order, each over what was there: ``object``, ``background``, or ``erase``
    (neither). The drawing widget paints by the same rule, row by row, in the browser.

    Args:
        strokes: as above; other keys are ignored.
        height, width: the picture's, in pixels. What lies outside is cut off.

    Raises:
        ValueError: something that is no drawing, in one line.
    """
    check_strokes(strokes)
    labels = np.zeros((height, width), np.uint8)
    for stroke in strokes:
        _paint(labels, np.asarray(stroke["points"], np.float64), KINDS[stroke["kind"]])
    return Drawn(labels == KINDS["object"], labels == KINDS["background"])


def _paint(labels: _Bytes, points: _Floats, label: int) -> None:
    """Set the pixels of one stroke: its rows' spans, united by a running count of open spans."""
    height, width = labels.shape
    rows, first, last = _spans(points, height)
    first, last = np.maximum(first, 0), np.minimum(last, width - 1)
    seen = first <= last
    rows, first, last = rows[seen], first[seen], last[seen]
    if not len(rows):
        return
    top, left = rows.min(), first.min()
    shape = (int(rows.max() - top) + 1, int(last.max() - left) + 2)
    spans_open = np.zeros(shape, np.int32)
    np.add.at(spans_open, (rows - top, first - left), 1)
    np.add.at(spans_open, (rows - top, last - left + 1), -1)
    covered = np.cumsum(spans_open, axis=1)[:, :-1] > 0
    labels[top : top + shape[0], left : left + shape[1] - 1][covered] = label


def _spans(points: _Floats, height: int) -> tuple[_Integers, _Integers, _Integers]:
    """Row, first and last column of every row of every capsule.

    A capsule is convex, so a row meets it in one span, whose ends lie on a disc or on one of the
    two common tangents.
    """
    a, b = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    top = np.ceil(np.minimum(a[:, 1] - a[:, 2], b[:, 1] - b[:, 2]) - 0.5)
    bottom = np.floor(np.maximum(a[:, 1] + a[:, 2], b[:, 1] + b[:, 2]) - 0.5)
    top, bottom = np.maximum(top, 0).astype(int), np.minimum(bottom, height - 1).astype(int)
    counts = np.maximum(bottom - top + 1, 0)
    which = np.repeat(np.arange(len(counts)), counts)
    rows = top[which] + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    y = rows + 0.5
    a, b = a[which].T, b[which].T
    ends = [*_disc_ends(a, y), *_disc_ends(b, y), *_tangent_ends(a, b, y)]
    low, high = np.fmin.reduce(ends), np.fmax.reduce(ends)
    met = ~np.isnan(low)
    first, last = np.ceil(low[met] - 0.5).astype(int), np.floor(high[met] - 0.5).astype(int)
    return rows[met], first, last


def _disc_ends(disc: _Floats, y: _Floats) -> tuple[_Floats, _Floats]:
    """Where the line at height ``y`` enters and leaves a disc (x, y, radius); NaN if it misses."""
    squared = disc[2] ** 2 - (y - disc[1]) ** 2
    half = np.sqrt(np.where(squared >= 0, squared, np.nan))
    return disc[0] - half, disc[0] + half


def _tangent_ends(a: _Floats, b: _Floats, y: _Floats) -> list[_Floats]:
    """Where the line at height ``y`` meets two discs' outer tangents; NaN if it misses."""
    dx, dy, shrink = b - a
    length = np.sqrt(dx * dx + dy * dy)
    apart = length > np.abs(shrink)  # else one disc holds the other
    length = np.where(apart, length, 1.0)
    along = np.where(apart, -shrink / length, 0.0)
    across = np.sqrt(1 - along * along)
    ends = []
    for side in (-1.0, 1.0):
        nx = (dx * along - side * dy * across) / length
        ny = (dy * along + side * dx * across) / length
        px, py, qx, qy = a[0] + a[2] * nx, a[1] + a[2] * ny, b[0] + b[2] * nx, b[1] + b[2] * ny
        meets = apart & (py != qy) & ((y - py) * (y - qy) <= 0)
        rise = np.where(meets, qy - py, 1.0)
        ends.append(np.where(meets, px + (y - py) * (qx - px) / rise, np.nan))
    return ends
