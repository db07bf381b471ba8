"""Each exercise: its solution is right; wrong answers and the untouched stub are told apart."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import cv2
import numpy as np
import pytest

from nseg_lib.course import exercises
from nseg_lib.course.exercises import Case, check

PROJECT = Path(__file__).parents[2]
SOLUTIONS = sorted((PROJECT / "notebooks" / "solutions").glob("[0-9]*.py"))
CHECK = re.compile(r"\bcheck_(\w+)\(\1\)")


def solutions_in(path: Path) -> dict[str, Callable[..., Any]]:
    spec = importlib.util.spec_from_file_location(f"solutions_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = vars(module).items()
    return {
        name: function
        for name, function in found
        if isinstance(function, FunctionType) and function.__module__ == module.__name__
    }


def functions_in(source: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


ALL = [(path, name) for path in SOLUTIONS for name in solutions_in(path)]
IDS = [f"{path.stem}:{name}" for path, name in ALL]


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_chapter_poses_what_its_solutions_solve(path: Path) -> None:
    chapter = (PROJECT / "notebooks" / "scripts" / path.name).read_text(encoding="utf-8")
    assert set(CHECK.findall(chapter)) == set(solutions_in(path))
    assert len(solutions_in(path)) >= 3


@pytest.mark.parametrize(("path", "name"), ALL, ids=IDS)
def test_a_solution_is_right(path: Path, name: str) -> None:
    assert getattr(exercises, f"check_{name}")(solutions_in(path)[name]) == exercises.RIGHT


@pytest.mark.parametrize(("path", "name"), ALL, ids=IDS)
def test_the_stub_is_not_done_and_takes_the_arguments_of_the_solution(
    path: Path, name: str
) -> None:
    chapter = (PROJECT / "notebooks" / "scripts" / path.name).read_text(encoding="utf-8")
    stub = functions_in(chapter)[name]
    solution = functions_in(path.read_text(encoding="utf-8"))[name]
    assert [a.arg for a in stub.args.args] == [a.arg for a in solution.args.args]
    namespace: dict[str, Any] = {"np": np}
    exec(ast.unparse(stub), namespace)
    assert getattr(exercises, f"check_{name}")(namespace[name]) == exercises.NOT_DONE


def _share(a: Any, b: Any) -> float:
    return np.count_nonzero(a) / np.count_nonzero(b)


def _eroded(mask: Any, beyond: bool) -> Any:
    padded = np.pad(mask, 1, constant_values=beyond)
    h, w = mask.shape
    return np.all([padded[y : y + h, x : x + w] for y in range(3) for x in range(3)], axis=0)


def _depth(region: Any, beyond: int = 1) -> float:
    padded = np.pad(region, beyond).astype(np.uint8)
    return float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max()) if region.any() else 0.0


def _cosine(features: Any, prototype: Any) -> Any:
    unit = features / np.linalg.norm(features, axis=0)
    return np.tensordot(prototype / max(np.linalg.norm(prototype), 1e-12), unit, 1)


WRONG: dict[str, list[Callable[..., Any]]] = {
    "scaled": [
        lambda strokes, f: [
            {**s, "points": [[f * v for v in p] for p in s["points"]]} for s in strokes
        ],  # the path grows too
        lambda strokes, f: [
            {"kind": "object", "points": [[x, y, f * r] for x, y, r in s["points"]]}
            for s in strokes
        ],
    ],
    "in_capsule": [
        lambda x, y, a, b, r: (x - a[0]) ** 2 + (y - a[1]) ** 2 <= r * r,  # one end only
        lambda x, y, a, b, r: (
            abs((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]))
            <= r * ((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5
        ),  # the endless line
    ],
    "corrected": [
        lambda mask, add, remove: (mask & ~remove) | add,  # in the wrong order
        lambda mask, add, remove: mask | add,
    ],
    "iou": [
        lambda p, t: float((p & t).sum() / (p.sum() + t.sum())),  # the shared pixels counted twice
        lambda p, t: float((p & t).sum() / (p | t).sum()),  # 0 / 0 for two empty masks
        lambda p, t: (p & t).sum() / (p | t).sum() if p.any() else 0.0,
    ],
    "pixel_accuracy": [lambda p, t: (p & t).sum() / t.sum(), lambda p, t: (p != t).mean()],
    "made_worse": [
        lambda before, after: np.mean(np.array(after) <= np.array(before)),
        lambda before, after: int(np.sum(np.array(after) < np.array(before))),
    ],
    "polygon_area": [
        lambda p: float(np.ptp(p[0::2]) * np.ptp(p[1::2])),  # the bounding box
        lambda p: (
            sum(
                p[i] * p[(i + 3) % len(p)] - p[(i + 2) % len(p)] * p[i + 1]
                for i in range(0, len(p), 2)
            )
            / 2
        ),  # a sign for the direction
    ],
    "rle_area": [lambda counts: sum(counts[::2]), lambda counts: sum(counts)],
    "bounding_box": [
        lambda m: [
            int(np.flatnonzero(m.any(i))[0]) if k == 0 else int(np.ptp(np.flatnonzero(m.any(i))))
            for k in (0, 1)
            for i in (0, 1)
        ],  # one pixel short
        lambda m: [
            *np.flatnonzero(m.any(1))[:1],
            *np.flatnonzero(m.any(0))[:1],
            m.any(1).sum(),
            m.any(0).sum(),
        ],  # rows before columns
    ],
    "sample": [
        lambda ids, n, seed: [int(i) for i in np.random.default_rng(seed).permutation(ids)[:n]],
        lambda ids, n, seed: sorted(ids)[:n],
        lambda ids, n, seed: sorted(ids)[: n - 1],
    ],
    "stroke_faults": [
        lambda s, m: (_share(m & ~s, s), _share(s & ~m, s)),
        lambda s, m: (_share(s & ~m, s), _share(m & ~s, m)),
    ],
    "band_of": [
        lambda mask, b: mask,
        lambda mask, b: np.zeros_like(mask),
    ],
    "scribble": [
        lambda mask, rng: mask,
        lambda mask, rng: np.zeros_like(mask),
        lambda mask, rng: np.eye(*mask.shape, dtype=bool),
        lambda mask, rng: mask.astype(np.uint8),
    ],
    "convolution_parameters": [lambda i, o, k: i * o * k * k, lambda i, o, k: i * o * k + o],
    "unet_parameters": [lambda widths, c: sum(widths), lambda widths, c: 117_681],
    "receptive_field": [lambda levels: 3**levels, lambda levels: 2 ** (levels + 2) + 6],
    "padded_size": [
        lambda h, w, levels: (h + h % 2**levels, w + w % 2**levels),
        lambda h, w, levels: (h // 2**levels * 2**levels, w // 2**levels * 2**levels),
        lambda h, w, levels: ((h // 2**levels + 1) * 2**levels, (w // 2**levels + 1) * 2**levels),
    ],
    "with_stroke": [lambda p: p + 1, lambda p: min(1.0, p * np.e)],
    "strength": [lambda p: p - 0.5, lambda p: np.log(p)],
    "checkpoint_mib": [lambda n: n * 12 / 1e6, lambda n: n * 4 / 2**20],
    "shortcut_parameters": [lambda i, o: i * o + o, lambda i, o: 0 if i == o else i * o * 9 + o],
    "gate_parameters": [lambda c: 2 * (c * c // 2) + c // 2 + 1, lambda c: c * c + 3 * c + 3],
    "apply_gate": [
        lambda skip, scores: skip * scores,
        lambda skip, scores: 1 / (1 + np.exp(-skip * scores)),
        lambda skip, scores: (skip / (1 + np.exp(-scores)))[0],
    ],
    "soft_dice": [
        lambda p, t: 1 - 2 * (p * t).sum() / (p.sum() + t.sum()),  # no smoothing
        lambda p, t: (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1),  # the score, not the loss
    ],
    "running_mean": [
        lambda values, window: np.convolve(values, np.ones(window) / window, "valid"),
        lambda values, window: [np.mean(values[i : i + window]) for i in range(len(values))],
    ],
    "stops_at": [
        lambda losses, patience: (int(np.argmin(losses)), len(losses) - 1),
        lambda losses, patience: (1, 3),
    ],
    "matched_difference": [
        lambda a, b: float(np.mean(a) - np.mean(b)),
        lambda a, b: float(max(a) - max(b)),  # the best epochs, as in the paper's table
    ],
    "inner_boundary": [
        lambda m: m & ~_eroded(m, False),  # the border taken for background
        lambda m: ~m,
    ],
    "hausdorff": [
        lambda a, b: float(np.sqrt(((b[:, None] - a[None]) ** 2).sum(2)).min(1).max()),  # one way
        lambda a, b: float(np.sqrt(((b[:, None] - a[None]) ** 2).sum(2)).max()),
    ],
    "logit_of": [lambda p: p - 0.5, lambda p: 1 / (1 + np.exp(-p))],
    "paired": [
        lambda before, after, margin: (
            np.mean(after) - np.mean(before),
            np.mean(np.array(after) < np.array(before)),
        ),
        lambda before, after, margin: float(np.mean(after) - np.mean(before)),
    ],
    "precision_recall": [
        lambda p, t: (_share(p & t, t), _share(p & t, p)),
        lambda p, t: (_share(p & t, p), _share(p & t, t)),  # 0 / 0 for an empty prediction
    ],
    "typical_place": [
        lambda values: int(np.argsort(values)[-1]),  # the best, as figures often show
        lambda values: len(values) // 2,
    ],
    "bin_means": [
        lambda by, values, bins: [np.mean(v) for v in np.array_split(values, bins)],
        lambda by, values, bins: [
            np.mean(np.array(values)[np.digitize(by, np.linspace(min(by), max(by), bins + 1)) == i])
            for i in range(1, bins + 1)
        ],
    ],
    "share_of_gap": [lambda i, m: m - i, lambda i, m: (m - i) / i],
    "next_stroke": [
        lambda m, a: "object" if (m & ~a).sum() >= (a & ~m).sum() else "background",  # the larger
        lambda m, a: "object" if _depth(m & ~a) >= _depth(a & ~m) else "background",  # no mistake
        lambda m, a: (
            "" if (m == a).all() else "object" if _depth(m & ~a) > _depth(a & ~m) else "background"
        ),
        lambda m, a: (
            ""
            if (m == a).all()
            else "object"
            if _depth(m & ~a, 0) >= _depth(a & ~m, 0)
            else "background"
        ),  # as if mistakes went on beyond the picture
    ],
    "strokes_until": [
        lambda ious, target, most: next((i for i, v in enumerate(ious) if v >= target), most),
        lambda ious, target, most: next((i for i, v in enumerate(ious, 1) if v > target), most),
        lambda ious, target, most: next((i for i, v in enumerate(ious, 1) if v >= target), most),
        lambda ious, target, most: min(most, 1 + sum(v < target for v in ious)),
    ],
    "likeness": [
        lambda f, c: _cosine(f, np.tensordot(f, c, 2)),  # long features outweigh
        lambda f, c: np.tensordot(np.tensordot(f, c, 2), f, 1),
        lambda f, c: _cosine(f, np.tensordot(f / np.linalg.norm(f, axis=0), c > 0, 2)),
    ],
    "contrast": [
        lambda a, m: float(a[m].mean()),
        lambda a, m: abs(float(a[m].mean() - a[~m].mean())),
    ],
}
"""Answers that are wrong, most of them in the way that people get them wrong."""


@pytest.mark.parametrize(
    ("name", "answer"),
    [(name, answer) for name, answers in WRONG.items() for answer in answers],
    ids=[f"{name}-{i}" for name, answers in WRONG.items() for i in range(len(answers))],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_answer_is_told_from_a_right_one(name: str, answer: Callable[..., Any]) -> None:
    verdict = getattr(exercises, f"check_{name}")(answer)
    assert verdict.startswith("wrong: ")
    assert "\n" not in verdict


@pytest.mark.parametrize(("path", "name"), ALL, ids=IDS)
def test_every_exercise_has_wrong_answers(path: Path, name: str) -> None:
    assert name in WRONG


def test_a_check_says_what_was_wrong_and_never_raises() -> None:
    def fails(x: int) -> int:
        raise KeyError("width")

    cases = [Case((2,), 4, "square it"), Case((3,), 9)]
    assert check(lambda x: x * x, cases) == "right"
    assert check(lambda x: x + x, cases) == "wrong: for 3, you gave 6, expected 9"
    assert check(lambda x: 0, cases) == "wrong: for 2, you gave 0, expected 4 (square it)"
    assert check(fails, cases) == "wrong: for 2 it raised KeyError: 'width' (square it)"
    assert check(lambda x: "four", cases).startswith("wrong: for 2, 'four' cannot be judged")
    assert check(lambda x: 4 if x == 2 else None, cases) == "wrong: for 3 it returns nothing"
    assert check(lambda x: None, cases) == exercises.NOT_DONE


def test_a_check_is_not_fooled_by_changed_arguments() -> None:
    shared = [1, 2, 3]

    def clears(numbers: list[int]) -> int:
        total = sum(numbers)
        numbers.clear()
        return total

    assert check(clears, [Case((shared,), 6), Case((shared,), 6)]) == "right"


def test_arrays_are_compared_by_shape_and_value() -> None:
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert check(lambda: array + 1e-9, [Case((), array)]) == "right"
    assert "1 of 4 values differ" in check(lambda: array * [[1, 1], [1, 2]], [Case((), array)])
    assert "shape (2,), not (2, 2)" in check(lambda: array[0], [Case((), array)])
