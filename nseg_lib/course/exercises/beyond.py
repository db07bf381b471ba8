"""Exercises of chapters 11 to 15: reproduction, strokes as drawn, corrections, tools, relatives."""

from __future__ import annotations

from nseg_lib.course.exercises.checking import Case

CASES: dict[str, list[Case]] = {}
