"""The rasteriser: strokes as lists of points with a brush radius, painted into masks.

What a person draws and what training simulates is painted by this one function, and the drawing
widget paints by the same rule in the browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Mask
from nseg_lib.limits import (
    MAX_STROKE_POINTS,
    MAX_STROKE_RADIUS,
    MAX_STROKE_ROWS,
    MAX_STROKES,
)
from nseg_lib.prompt import Box, Extent

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int_]

KINDS: dict[str, int] = {"erase": 0, "object": 1, "background": 2}
"""The kinds of a drawn stroke, and the label that each paints over what was drawn before it."""

BOX = "box"
"""The kind of what is drawn as a box: two opposite corners as points. It paints nothing; the last
one says where the object is, and one without a pixel takes the box away."""

OUTLINE = "outline"
"""The kind of a closed line of corners, along which somebody has put the mask's edge by hand. It
paints the whole picture: object inside, background outside. Several that follow one another are one
outline, of parts and holes: inside is what lies within an odd number of them. The radius of its
points paints nothing; it is 1 for a corner that the canvas offers to drag, and less for others."""

_PIECE = 1_000_000
"""Rows that are painted at a time, some 200 bytes each."""


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
    if len(strokes) > MAX_STROKES:
        raise ValueError(f"the drawing has {len(strokes):,} strokes, at most {MAX_STROKES:,}")
    total = 0
    for number, stroke in enumerate(strokes, 1):
        if not isinstance(stroke, Mapping):
            raise ValueError(f"stroke {number}: an object with 'kind' and 'points' is needed")
        kind = stroke.get("kind")
        if not isinstance(kind, str) or kind not in (*KINDS, BOX, OUTLINE):
            allowed = ", ".join((*KINDS, BOX, OUTLINE))
            raise ValueError(f"stroke {number}: kind is {kind!r:.40}, not {allowed}")
        try:
            points = np.asarray(stroke.get("points"))
            if points.dtype.kind not in "iuf":  # as of "1", which NumPy would make a number
                raise TypeError
            points = points.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"stroke {number}: points must be [[x, y, radius], …], at least one")
        if not (np.abs(points) < 1e6).all() or (points[:, 2] <= 0).any():
            raise ValueError(f"stroke {number}: points must be between -1e6 and 1e6, radii above 0")
        if stroke.get("extent", "object") not in get_args(Extent):
            allowed = ", ".join(get_args(Extent))
            raise ValueError(f"stroke {number}: extent is {stroke['extent']!r:.40}, not {allowed}")
        if kind == BOX and len(points) != 2:
            raise ValueError(f"stroke {number}: a box has two points, got {len(points)}")
        if kind == OUTLINE and len(points) < 3:
            raise ValueError(f"stroke {number}: an outline has at least three points")
        widest = points[:, 2].max()
        if widest > MAX_STROKE_RADIUS:
            raise ValueError(f"stroke {number}: radius {widest:g}, at most {MAX_STROKE_RADIUS:g}")
        total += len(points)
    if total > MAX_STROKE_POINTS:
        raise ValueError(f"the drawing has {total:,} points, at most {MAX_STROKE_POINTS:,}")


def rasterize(strokes: Sequence[Mapping[str, Any]], height: int, width: int) -> Drawn:
    """The pixels that a drawing covers.

    A stroke is ``{"kind": "object", "points": [[x, y, radius], …]}`` in pixels of the picture:
    pixel (row i, column j) has its centre at x = j + ½, y = i + ½. Each pair of neighbouring points
    spans a capsule, the convex hull of their two discs, so the radius varies evenly between them.
    A pixel is covered if its centre lies in a capsule, border included; there is no antialiasing.
    Strokes are painted in order, each over what was there: ``object``, ``background``, or ``erase``
    (neither). The drawing widget paints by the same rule, row by row, in the browser.

    A box (:data:`BOX`) is passed over: :func:`box_of` gives it. So is a stroke's ``extent``, which
    :func:`extent_of` gives. An :data:`OUTLINE` paints all.

    Args:
        strokes: as above; other keys are ignored.
        height, width: the picture's, in pixels. What lies outside is cut off.

    Raises:
        ValueError: something that is no drawing, or one with more points, a wider brush or longer
            strokes than :mod:`nseg_lib.limits` allows; in one line.
    """
    check_strokes(strokes)
    painting = [s for s in strokes if s["kind"] != BOX]
    drawing = [(np.asarray(s["points"], np.float64), s["kind"]) for s in painting]
    if sum(int(_rows(points, height)[1].sum()) for points, _ in drawing) > MAX_STROKE_ROWS:
        raise ValueError(f"too large a drawing: over {MAX_STROKE_ROWS:,} rows of brush")
    labels = np.zeros((height, width), np.uint8)
    # A long stroke is painted in pieces that share a point, so that memory stays bounded.
    step = max(1, _PIECE // max(1, height))
    for kind, group in groupby(drawing, key=lambda each: each[1]):
        if kind == OUTLINE:
            rings = [points[:, :2] for points, _ in group]
            labels[:] = np.where(within(rings, height, width), KINDS["object"], KINDS["background"])
            continue
        for points, _ in group:
            for first in range(0, max(1, len(points) - 1), step):
                _paint(labels, points[first : first + step + 1], KINDS[kind])
    return Drawn(labels == KINDS["object"], labels == KINDS["background"])


def within(rings: Sequence[Any], height: int, width: int) -> Mask:
    """The pixels whose centres lie within an odd number of closed lines, bool H×W.

    Args:
        rings: each N×2, the corners (x, y) in pixels of the picture.
    """
    odd = np.zeros((height, width + 1), bool)
    for ring in rings:
        (ax, ay), (bx, by) = np.asarray(ring, np.float64).T, np.roll(ring, -1, axis=0).T
        # The rows whose centres, at y = i + ½, an edge passes; its lower end belongs to the next.
        top, bottom = np.ceil(np.minimum(ay, by) - 0.5), np.ceil(np.maximum(ay, by) - 0.5)
        top, bottom = np.clip([top, bottom], 0, height).astype(int)
        which = np.repeat(np.arange(len(ring)), bottom - top)
        rows = np.arange(len(which)) + (bottom - np.cumsum(bottom - top))[which]
        x = ax[which] + (rows + 0.5 - ay[which]) * ((bx - ax)[which] / (by - ay)[which])
        # What is right of a crossing changes sides.
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
        np.logical_xor.at(odd, (rows, columns), True)
    inside: Mask = np.logical_xor.accumulate(odd, axis=1)[:, :-1]
    return inside


def box_of(strokes: Sequence[Mapping[str, Any]], height: int, width: int) -> Box | None:
    """The box of a drawing that :func:`rasterize` takes, grown to whole pixels and cut at the
    picture; None where there is none, or the last one holds no pixel.
    """
    boxes = [stroke["points"] for stroke in strokes if stroke["kind"] == BOX]
    if not boxes:
        return None
    (x0, y0, _), (x1, y1, _) = np.asarray(boxes[-1], np.float64).tolist()
    left, right = max(0, int(np.floor(min(x0, x1)))), min(width, int(np.ceil(max(x0, x1))))
    top, bottom = max(0, int(np.floor(min(y0, y1)))), min(height, int(np.ceil(max(y0, y1))))
    if abs(x1 - x0) < 1 or abs(y1 - y0) < 1 or left >= right or top >= bottom:
        return None
    return left, top, right, bottom


def extent_of(strokes: Sequence[Mapping[str, Any]]) -> Extent:
    """How much a drawing means: what the last stroke with a key ``extent`` says."""
    said: list[Extent] = [stroke["extent"] for stroke in strokes if "extent" in stroke]
    return said[-1] if said else "object"


def _paint(labels: NDArray[np.uint8], points: _Floats, label: int) -> None:
    """Set the pixels of one stroke."""
    height, width = labels.shape
    rows, first, last = _spans(points, height)
    first, last = np.maximum(first, 0), np.minimum(last, width - 1)
    in_picture = first <= last
    rows, first, last = rows[in_picture], first[in_picture], last[in_picture]
    if not len(rows):
        return
    # Spans overlap wherever capsules do. So count along each row, in the box round the stroke, how
    # many spans have begun and not ended: a pixel is covered where that is more than none.
    top, left = rows.min(), first.min()
    shape = (int(rows.max() - top) + 1, int(last.max() - left) + 2)
    spans_open = np.zeros(shape, np.int32)
    np.add.at(spans_open, (rows - top, first - left), 1)
    np.add.at(spans_open, (rows - top, last - left + 1), -1)
    covered = np.cumsum(spans_open, axis=1, out=spans_open)[:, :-1] > 0
    labels[top : top + shape[0], left : left + shape[1] - 1][covered] = label


def _rows(points: _Floats, height: int) -> tuple[_Integers, _Integers]:
    """The first row of each capsule of a stroke, and how many rows it meets in the picture."""
    a, b = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    # Row i is met if its centres, at y = i + ½, lie between the topmost and the lowest point.
    top = np.ceil(np.minimum(a[:, 1] - a[:, 2], b[:, 1] - b[:, 2]) - 0.5)
    bottom = np.floor(np.maximum(a[:, 1] + a[:, 2], b[:, 1] + b[:, 2]) - 0.5)
    top, bottom = np.maximum(top, 0).astype(int), np.minimum(bottom, height - 1).astype(int)
    return top, np.maximum(bottom - top + 1, 0)


def _spans(points: _Floats, height: int) -> tuple[_Integers, _Integers, _Integers]:
    """Row, first and last column of every row of every capsule.

    A capsule is convex, so a row meets it in one span, whose ends lie on a disc or on one of the
    two common tangents.
    """
    top, counts = _rows(points, height)
    # One entry per capsule and row: the capsule's number, and its rows from the top down.
    which = np.repeat(np.arange(len(counts)), counts)
    rows = top[which] + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    y: _Floats = rows.astype(np.float64) + 0.5
    starts, stops = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    a, b = starts[which].T, stops[which].T
    # The span reaches from the leftmost to the rightmost of all meetings; NaN stands for none.
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
    # The tangents touch both discs in the same direction (nx, ny) from their centres, which has the
    # share `along` of the line between the centres and the share `across` at right angles to it.
    length = np.where(apart, length, 1.0)
    along = np.where(apart, -shrink / length, 0.0)
    across = np.sqrt(1 - along * along)
    ends = []
    for side in (-1.0, 1.0):
        nx = (dx * along - side * dy * across) / length
        ny = (dy * along + side * dx * across) / length
        # From (px, py) on the first disc to (qx, qy) on the second.
        px, py, qx, qy = a[0] + a[2] * nx, a[1] + a[2] * ny, b[0] + b[2] * nx, b[1] + b[2] * ny
        meets = apart & (py != qy) & ((y - py) * (y - qy) <= 0)
        rise = np.where(meets, qy - py, 1.0)
        ends.append(np.where(meets, px + (y - py) * (qx - px) / rise, np.nan))
    return ends
