"""The checks of the course's exercises: whether an answer is right, and what is wrong with it.

A chapter asks three questions with a choice of answers, ``choose(question, answer)``, and poses
two functions whose body is ``...``, each followed by ``check(function)``. The cases that a function
must pass stand under its name in :data:`CASES`; the reasons why an answer to a question is wrong
stand in ``questions.yml``. The solutions are in ``notebooks/solutions/``; the tests run them, some
wrong answers, and the chapters' own code through these checks.
"""

from collections.abc import Callable
from typing import Any

from nseg_lib.course.exercises import beyond, data, judging, networks
from nseg_lib.course.exercises.checking import NOT_DONE, RIGHT, check_cases
from nseg_lib.course.exercises.questions import QUESTIONS, choose

__all__ = ["CASES", "NOT_DONE", "QUESTIONS", "RIGHT", "check", "check_cases", "choose"]

CASES = data.CASES | networks.CASES | judging.CASES | beyond.CASES
"""Exercise → its cases."""


def check(function: Callable[..., Any]) -> str:
    """``right``, ``not done yet: …`` or ``wrong: …`` with the reason.

    It never raises, so a chapter runs from top to bottom with its exercises untouched.

    Args:
        function: has the name of its exercise.
    """
    name = getattr(function, "__name__", "")
    if name not in CASES:
        return f"wrong: there is no exercise named '{name}'; keep the function's name"
    return check_cases(function, CASES[name])
