"""Exercises of chapter 09: strokes as vectors, and corrections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nseg_lib.course.exercises.checking import Case, check

_STROKES: list[dict[str, Any]] = [
    {"kind": "object", "points": [[10.0, 20.0, 8.0], [30.0, 25.0, 6.0]]},
    {"kind": "erase", "points": [[15.0, 5.0, 4.0]]},
]


def check_scaled(function: Callable[..., Any]) -> str:
    """``scaled(strokes, factor)``: the same strokes, drawn with a broader or narrower brush."""

    def expected(factor: float) -> list[dict[str, Any]]:
        return [{**s, "points": [[x, y, r * factor] for x, y, r in s["points"]]} for s in _STROKES]

    def same(wanted: list[dict[str, Any]]) -> Callable[[Any], str]:
        def judge(answer: Any) -> str:
            if [s["kind"] for s in answer] != [s["kind"] for s in wanted]:
                return "the kinds of the strokes are not kept"
            for given, right in zip(answer, wanted, strict=True):
                if not np.allclose(given["points"], right["points"]):
                    return f"a stroke has the points {given['points']}, not {right['points']}"
            return ""

        return judge

    hint = "the path stays, the radius changes"
    return check(function, [Case((_STROKES, f), same(expected(f)), hint) for f in (2.0, 0.5)])


def check_in_capsule(function: Callable[..., Any]) -> str:
    """``in_capsule(x, y, a, b, radius)``: is the point within ``radius`` of the segment a to b?"""
    a, b = (2.0, 2.0), (10.0, 2.0)
    cases = [
        Case((6.0, 4.0, a, b, 3.0), True),
        Case((6.0, 6.0, a, b, 3.0), False),
        Case((11.0, 3.0, a, b, 2.0), True, "the ends are round"),
        Case((14.0, 2.0, a, b, 3.0), False, "beyond an end, the distance to that end counts"),
        Case((6.0, 5.0, a, b, 3.0), True, "the border belongs to it"),
        Case((3.0, 3.0, a, a, 2.0), True, "a dot: both ends are one point"),
        Case((4.0, 5.0, (0.0, 0.0), (8.0, 8.0), 0.8), True),
        Case((4.0, 6.0, (0.0, 0.0), (8.0, 8.0), 0.8), False),
    ]
    return check(function, cases)


def check_corrected(function: Callable[..., Any]) -> str:
    """``corrected(mask, add, remove)``: the mask after both corrections; ``remove`` was last."""
    rng = np.random.default_rng(9)
    cases = []
    for _ in range(3):
        mask, add, remove = rng.random((3, 6, 8)) < 0.5
        hint = "what was drawn last wins where both were drawn"
        cases.append(Case((mask, add, remove), (mask | add) & ~remove, hint))
    return check(function, cases)
