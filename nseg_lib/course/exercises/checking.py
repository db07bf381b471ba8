"""How an exercise is checked: its function is called on cases, and one line tells the result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RIGHT = "right"
NOT_DONE = "not done yet: your function returns nothing"

SMALL = 100
"""Arrays of at most so many values are printed whole."""

Judge = Callable[..., str]
"""Says what is wrong with an answer, "" if nothing is; called with the function, its answer and the
case's arguments. For exercises with several right answers."""


class Case(NamedTuple):
    """One call of the function and the answer that it must return."""

    arguments: tuple[Any, ...]
    expected: Any
    """The right answer, or a :data:`Judge`."""
    hint: str = ""
    """What to look at when the answer is wrong; the message ends with it."""


def check_cases(function: Callable[..., Any], cases: Sequence[Case]) -> str:
    """Call a function on one case after the other until an answer is wrong.

    It gets copies of the arguments, and may not change them. Only a wrong value gets a hint: an
    exception says by itself what went wrong.

    Returns:
        ``right``; ``not done yet: …`` if the first answer is ``None``; or ``wrong: …``.
    """
    for number, case in enumerate(cases, 1):
        told = ", ".join(_brief(a) for a in case.arguments)
        hint = f" ({case.hint})" if case.hint else ""
        given = copy.deepcopy(case.arguments)
        try:
            answer = function(*given)
        except Exception as error:
            return f"wrong: for {told} it raised {type(error).__name__}: {error}"
        if answer is None:
            return NOT_DONE if number == 1 else f"wrong: for {told} it returns nothing{hint}"
        for place, (before, after) in enumerate(zip(case.arguments, given, strict=True), 1):
            if isinstance(before, np.ndarray | list | dict) and not _same(before, after):
                return f"wrong: it changes its argument {place}; work on a copy"
        try:
            if callable(case.expected):
                problem = case.expected(function, answer, *case.arguments)
            else:
                problem = _difference(answer, case.expected)
        except Exception as error:
            problem = f"{_brief(answer)} cannot be judged ({type(error).__name__}: {error})"
        if problem:
            return f"wrong: for {told}, {problem}{hint}"
    return RIGHT


def _same(before: Any, after: Any) -> bool:
    """Whether an argument is what it was: arrays by their values, lists and dicts as a whole."""
    if isinstance(before, np.ndarray):
        return bool(np.array_equal(before, after))
    return bool(before == after)


def _difference(answer: Any, expected: Any) -> str:
    """How an answer differs from the right one, numbers by more than six digits; "" if it does not.

    It is said as briefly as possible: by the shape, by some values, or as a whole.
    """
    right, given = np.asarray(expected), np.asarray(answer)
    if right.ndim and given.ndim and right.shape != given.shape:
        return f"the answer has shape {given.shape}, not {right.shape}"
    if right.shape != given.shape or right.dtype.kind == "U":
        same = np.array(bool(answer == expected))
    else:
        same = np.isclose(given, right, rtol=1e-6, atol=1e-9)
    if same.all():
        return ""
    if right.ndim > 1:
        said = f"{np.count_nonzero(~same)} of {right.size} values differ"
        if right.size <= SMALL:
            said += f"; you gave {_brief(given)}\nexpected {_brief(right)}"
        return said
    return f"you gave {_brief(answer)}, expected {_brief(expected)}"


def square(first: int, last: int, size: int = 8) -> NDArray[np.bool_]:
    """bool size×size, True in rows and columns ``first`` to ``last`` - 1."""
    mask = np.zeros((size, size), bool)
    mask[first:last, first:last] = True
    return mask


def _brief(value: Any) -> str:
    """A text for a value; large arrays and long lists are described by their size."""
    if isinstance(value, np.ndarray) and value.ndim > 1 and value.size <= SMALL:
        digits = value.astype(int) if value.dtype == np.bool_ else value
        return "\n" + np.array2string(digits, precision=3)
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, list | tuple) and len(value) > 8:
        return f"a list of {len(value)}"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return f"{value!r:.80}"
