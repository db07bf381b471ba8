"""Exercises of chapter 09: strokes as vectors, and corrections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nseg_lib.course.exercises.checking import Case

_STROKES: list[dict[str, Any]] = [
    {"kind": "object", "points": [[10.0, 20.0, 8.0], [30.0, 25.0, 6.0]]},
    {"kind": "erase", "points": [[15.0, 5.0, 4.0]]},
]


def _has_scaled_radii(_: Callable[..., Any], answer: Any, strokes: Any, factor: float) -> str:
    if [s["kind"] for s in answer] != [s["kind"] for s in strokes]:
        return "the kinds of the strokes are not kept"
    for given, stroke in zip(answer, strokes, strict=True):
        right = [[x, y, r * factor] for x, y, r in stroke["points"]]
        if not np.allclose(given["points"], right):
            return f"a stroke has the points {given['points']}, not {right}"
    return ""


CASES: dict[str, list[Case]] = {}

# scaled(strokes, factor): the same strokes, drawn with a broader or narrower brush.
CASES["scaled"] = [
    Case((_STROKES, factor), _has_scaled_radii, "the path stays, the radius changes")
    for factor in (2.0, 0.5)
]

# in_capsule(x, y, a, b, radius): is the point within radius of the segment a to b?
_A, _B = (2.0, 2.0), (10.0, 2.0)
CASES["in_capsule"] = [
    Case((6.0, 4.0, _A, _B, 3.0), True),
    Case((6.0, 6.0, _A, _B, 3.0), False),
    Case((11.0, 3.0, _A, _B, 2.0), True, "the ends are round"),
    Case((14.0, 2.0, _A, _B, 3.0), False, "beyond an end, the distance to that end counts"),
    Case((6.0, 5.0, _A, _B, 3.0), True, "the border belongs to it"),
    Case((3.0, 3.0, _A, _A, 2.0), True, "a dot: both ends are one point"),
    Case((4.0, 5.0, (0.0, 0.0), (8.0, 8.0), 0.8), True),
    Case((4.0, 6.0, (0.0, 0.0), (8.0, 8.0), 0.8), False),
]

# corrected(mask, add, remove): the mask after both corrections; remove was last.
CASES["corrected"] = [
    Case((mask, add, remove), (mask | add) & ~remove, "what was drawn last wins where both were")
    for mask, add, remove in np.random.default_rng(9).random((3, 3, 6, 8)) < 0.5
]
