"""Strokes as people draw them: lists of points with a brush radius, painted into masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nseg_lib.arrays import Mask
from nseg_lib.strokes.recipes import _Bytes, _Floats, _Integers

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
