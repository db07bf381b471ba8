"""How an exercise is checked: its function is called on cases, and one line tells the result."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RIGHT = "right"
NOT_DONE = "not done yet: your function returns nothing"

Judge = Callable[[Any], str]
"""Takes an answer and returns what is wrong with it, in words; an empty text if it is right."""


class Case(NamedTuple):
    """One call of the function and the answer that it must return."""

    arguments: tuple[Any, ...]
    expected: Any
    """The right answer, or a :data:`Judge` if several answers are right."""
    hint: str = ""
    """What to look at when the answer is wrong; the message ends with it."""


def check(function: Callable[..., Any], cases: Sequence[Case]) -> str:
    """Call a function on one case after the other until an answer is wrong.

    It gets copies of the arguments, so a function that changes them does no harm.

    Returns:
        ``right``; ``not done yet: …`` if the first answer is ``None``; or ``wrong: …``.
    """
    for number, case in enumerate(cases, 1):
        told = ", ".join(_brief(a) for a in case.arguments)
        hint = f" ({case.hint})" if case.hint else ""
        try:
            answer = function(*copy.deepcopy(case.arguments))
        except Exception as error:
            return f"wrong: for {told} it raised {type(error).__name__}: {error}{hint}"
        if answer is None:
            return NOT_DONE if number == 1 else f"wrong: for {told} it returns nothing{hint}"
        judge = case.expected if callable(case.expected) else _Agrees(case.expected)
        try:
            problem = judge(answer)
        except Exception as error:
            problem = f"{_brief(answer)} cannot be judged ({type(error).__name__}: {error})"
        if problem:
            return f"wrong: for {told}, {problem}{hint}"
    return RIGHT


class _Agrees:
    """A judge for exercises with one right answer, compared by :func:`agree`."""

    def __init__(self, expected: Any) -> None:
        self.expected = expected

    def __call__(self, answer: Any) -> str:
        if agree(answer, self.expected):
            return ""
        # Say as briefly as possible how it differs: by its shape, by some values, or as a whole.
        expected, given = np.asarray(self.expected), np.asarray(answer)
        if expected.ndim and given.ndim and expected.shape != given.shape:
            return f"the answer has shape {given.shape}, not {expected.shape}"
        if expected.ndim > 1 and given.shape == expected.shape:
            wrong = np.count_nonzero(~np.isclose(given, expected, rtol=1e-6, atol=1e-9))
            return f"{wrong} of {expected.size} values differ"
        return f"you gave {_brief(answer)}, expected {_brief(self.expected)}"


def agree(answer: Any, expected: Any) -> bool:
    """Whether two values are equal, numbers to six digits, sequences and arrays item by item."""
    if isinstance(expected, np.ndarray):
        given = np.asarray(answer)
        if given.shape != expected.shape:
            return False
        return bool(np.allclose(given, expected, rtol=1e-6, atol=1e-9))
    if isinstance(expected, list | tuple):
        if isinstance(answer, str) or not hasattr(answer, "__len__"):
            return False
        pairs = zip(answer, expected, strict=False)
        return len(answer) == len(expected) and all(agree(a, e) for a, e in pairs)
    if isinstance(expected, int | float):
        return math.isclose(float(answer), expected, rel_tol=1e-6, abs_tol=1e-9)
    return bool(answer == expected)


def square(first: int, last: int, size: int = 8) -> NDArray[np.bool_]:
    """bool size×size, True in rows and columns ``first`` to ``last`` - 1."""
    mask = np.zeros((size, size), bool)
    mask[first:last, first:last] = True
    return mask


def _brief(value: Any) -> str:
    """A short text for a value; arrays and long lists are described by their size."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, list | tuple) and len(value) > 8:
        return f"a list of {len(value)}"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return f"{value!r:.80}"
