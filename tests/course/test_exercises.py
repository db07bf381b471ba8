"""Each exercise accepts its solution, and tells a wrong answer from the untouched stub."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from nseg_lib.course import exercises
from nseg_lib.course.exercises.checking import Case, check_cases

PROJECT = Path(__file__).parents[2]
SOLUTIONS = sorted((PROJECT / "notebooks" / "solutions").glob("[0-9]*.py"))


def solutions_in(path: Path) -> dict[str, Callable[..., Any]]:
    found = runpy.run_path(str(path), run_name=path.stem)
    return {
        name: function
        for name, function in found.items()
        if isinstance(function, FunctionType) and function.__module__ == path.stem
    }


def chapter_of(path: Path) -> str:
    return (PROJECT / "notebooks" / "scripts" / path.name).read_text(encoding="utf-8")


def functions_in(source: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_chapter_poses_what_its_solutions_solve(path: Path) -> None:
    posed = re.findall(r"\bexercises\.check\((\w+)\)", chapter_of(path))
    assert set(posed) == set(solutions_in(path))


ALL = [(path, name) for path in SOLUTIONS for name in solutions_in(path)]


@pytest.mark.parametrize(("path", "name"), ALL, ids=[name for _, name in ALL])
def test_a_solution_is_right_and_the_stub_of_its_arguments_not_done(path: Path, name: str) -> None:
    assert exercises.check(solutions_in(path)[name]) == exercises.RIGHT
    stub = functions_in(chapter_of(path))[name]
    solution = functions_in(path.read_text(encoding="utf-8"))[name]
    assert [a.arg for a in stub.args.args] == [a.arg for a in solution.args.args]
    namespace: dict[str, Any] = {"np": np}
    exec(ast.unparse(stub), namespace)
    assert exercises.check(namespace[name]) == exercises.NOT_DONE


def _share(a: Any, b: Any) -> float:
    return np.count_nonzero(a) / np.count_nonzero(b)


WRONG: dict[str, Callable[..., Any]] = {
    "what_changed": lambda s, a: (_share(a & ~s, a), _share(s & ~a, s)),  # of the answer
    "made_worse": lambda before, after: np.mean(np.array(after) <= np.array(before)),
    "polygon_area": lambda p: float(np.ptp(p[0::2]) * np.ptp(p[1::2])),  # the bounding box
    "box_of_runs": lambda counts, height: [counts[0] // height, 0, 1, height],
    "iou_of_faults": lambda missed, outside: 1 - missed - outside,
    "scribble": lambda mask, rng: mask & (rng.random(mask.shape) < 0.05),  # specks, no line
    "unet_parameters": lambda widths, channels: 117_681,
    "receptive_field": lambda levels: 2 ** (levels + 2) + 6,
    "strength": lambda p, wanted: wanted - p,
    "shortcuts_cost": lambda widths, channels: sum(w * w for w in widths),
    "gate_parameters": lambda c: c * c + 3 * c + 3,
    "best_threshold_iou": lambda a, m: ((a > 0.5) & m).sum() / ((a > 0.5) | m).sum(),
    "focal_loss": lambda p, t, gamma: float(np.mean(-((1 - p) ** gamma) * np.log(p))),
    "tversky_loss": lambda p, t, a: 1 - 2 * (p * t).sum() / (p.sum() + t.sum()),
    "adam_step": lambda w, g, m, v, n, r: (w - r * g, m, v),  # plain gradient descent
    "stops_at": lambda losses, patience: (int(np.argmin(losses)), len(losses) - 1),
    "stands_out": lambda values, reach: max(values) - float(np.mean(values)),
    "average_distance": lambda a, b: float(directed_hausdorff(a, b)[0]),
    "dice_of": lambda iou: 2 * iou,
    "paired": lambda before, after, margin: (
        np.mean(after) - np.mean(before),
        np.mean(np.array(after) < np.array(before)),
    ),
    "same_code": lambda a, b: a.split() == b.split(),
    "all_stale": lambda steps, changed: sorted(
        changed | {s for s, inputs in steps.items() if changed & {*inputs}}
    ),  # one step only
    "worst_category": lambda ious, names, least: names[int(np.argmin(ious))],
    "bin_means": lambda by, values, bins: [np.mean(v) for v in np.array_split(values, bins)],
    "in_capsule": lambda x, y, a, b, r: (x - a[0]) ** 2 + (y - a[1]) ** 2 <= r * r,  # one end
    "relative_length": lambda points, mask: len(points) / mask.sum(),
    "working_size": lambda h, w, longer, step: (longer, longer, longer, longer),
    "next_stroke": lambda m, a: "object" if (m & ~a).sum() >= (a & ~m).sum() else "background",
    "verdict": lambda low, high, margin: "better" if low > 0 else "worse",
    "strokes_until": lambda ious, target, most: min(most, 1 + sum(v < target for v in ious)),
    "gaussian_map": lambda shape, clicks, sigma: np.zeros(shape),
    "crop_around": lambda points, margin, height, width: (
        min(x for x, _ in points) - margin,
        min(y for _, y in points) - margin,
        max(x for x, _ in points) + margin,
        max(y for _, y in points) + margin,
    ),  # beyond the border, and one short
}
"""Answers that are wrong, most of them in the way that people get them wrong."""


@pytest.mark.parametrize("name", exercises.CASES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_answer_is_told_from_a_right_one(name: str) -> None:
    verdict = check_cases(WRONG[name], exercises.CASES[name])
    assert verdict.startswith("wrong: ")


def test_a_check_says_what_was_wrong_and_never_raises() -> None:
    def fails(x: int) -> int:
        raise KeyError("width")

    cases = [Case((2,), 4, "square it"), Case((3,), 9)]
    assert check_cases(lambda x: x * x, cases) == "right"
    assert check_cases(lambda x: x + x, cases) == "wrong: for 3, you gave 6, expected 9"
    assert check_cases(lambda x: 0, cases) == "wrong: for 2, you gave 0, expected 4 (square it)"
    assert check_cases(fails, cases) == "wrong: for 2 it raised KeyError: 'width'"
    assert check_cases(lambda x: "four", cases).startswith("wrong: for 2, 'four' cannot be judged")
    assert check_cases(lambda x: 4 if x == 2 else None, cases) == "wrong: for 3 it returns nothing"
    assert check_cases(lambda x: None, cases) == exercises.NOT_DONE
    assert exercises.check(fails) == (
        "wrong: there is no exercise named 'fails'; keep the function's name"
    )


def test_a_check_refuses_a_function_that_changes_what_it_is_given() -> None:
    def clears(numbers: list[int]) -> int:
        total = sum(numbers)
        numbers.clear()
        return total

    def paints(mask: np.ndarray) -> np.ndarray:
        mask[0] = True
        return mask

    told = "wrong: it changes its argument 1; work on a copy"
    assert check_cases(clears, [Case(([1, 2, 3],), 6)]) == told
    assert check_cases(paints, [Case((np.zeros((2, 2), bool),), np.eye(2))]) == told


def test_arrays_are_compared_by_shape_and_value() -> None:
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert check_cases(lambda: array + 1e-9, [Case((), array)]) == "right"
    told = check_cases(lambda: array * [[1, 1], [1, 2]], [Case((), array)])
    assert "1 of 4 values differ; you gave \n[[1. 2.]\n [3. 8.]]" in told
    assert "shape (2,), not (2, 2)" in check_cases(lambda: array[0], [Case((), array)])
