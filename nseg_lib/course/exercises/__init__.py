"""The checks of the course's exercises: whether an answer is right, and what is wrong with it.

A chapter poses an exercise as a function whose body is ``...`` and ends with ``check(function)``.
The cases that the function must pass stand under its name in :data:`CASES`. The solutions are in
``notebooks/solutions/``; the tests run them, and some wrong answers, through these checks.
"""

from collections.abc import Callable
from typing import Any

from nseg_lib.course.exercises import data, judging, networks
from nseg_lib.course.exercises.checking import NOT_DONE, RIGHT, check_cases

__all__ = ["CASES", "NOT_DONE", "RIGHT", "check"]

CASES = data.CASES | networks.CASES | judging.CASES
"""Exercise → its cases."""


def check(function: Callable[..., Any]) -> str:
    """One line: ``right``, ``not done yet: …`` or ``wrong: …`` with the reason.

    It never raises, so a chapter runs from top to bottom with its exercises untouched.

    Args:
        function: has the name of its exercise.
    """
    name = getattr(function, "__name__", "")
    if name not in CASES:
        return f"wrong: there is no exercise named '{name}'; keep the function's name"
    return check_cases(function, CASES[name])
