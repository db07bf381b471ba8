"""Exercises of chapters 00 to 02: masks, annotations and strokes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nseg_lib.course.exercises.checking import Case, Judge, check, square


def _disc(height: int, width: int, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


_EMPTY = np.zeros((8, 8), bool)
_SQUARE = square(2, 6)  # 16 pixels
_CORNER = square(0, 4)  # 16 pixels, 4 of them in _SQUARE
_OBJECT = _disc(96, 128, 48, 60, 38)


# --- 00_start_here --------------------------------------------------------------------------------


def check_iou(function: Callable[..., Any]) -> str:
    """``iou(predicted, target)``: |P ∩ T| / |P ∪ T|; 1 for two empty masks."""
    cases = [
        Case((_SQUARE, _CORNER), 4 / 28, "count the union's pixels once"),
        Case((_SQUARE, _SQUARE), 1.0),
        Case((_SQUARE, _EMPTY), 0.0),
        Case((_EMPTY, _EMPTY), 1.0, "two empty masks agree: their IoU is 1 by convention"),
    ]
    return check(function, cases)


def check_pixel_accuracy(function: Callable[..., Any]) -> str:
    """``pixel_accuracy(predicted, target)``: share of pixels on which the masks agree."""
    cases = [
        Case((_EMPTY, _SQUARE), 0.75, "background that is left background counts as right"),
        Case((_SQUARE, _CORNER), 1 - 24 / 64),
        Case((_SQUARE, _SQUARE), 1.0),
    ]
    return check(function, cases)


def check_made_worse(function: Callable[..., Any]) -> str:
    """``made_worse(before, after)``: share of the pictures whose IoU fell."""
    cases = [
        Case(([0.8, 0.9, 0.7, 0.6], [0.9, 0.8, 0.7, 0.9]), 0.25, "an unchanged IoU is not worse"),
        Case(([0.5], [0.6]), 0.0),
        Case(([0.5, 0.5], [0.4, 0.1]), 1.0),
    ]
    return check(function, cases)


# --- 01_dataset_reduction -------------------------------------------------------------------------


def check_polygon_area(function: Callable[..., Any]) -> str:
    """``polygon_area(polygon)``: area in px² of COCO's flat list [x1, y1, x2, y2, …]."""
    square = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0]
    backwards = [1.0, 4.0, 5.0, 4.0, 5.0, 1.0, 1.0, 1.0]
    arrow = [0.0, 0.0, 8.0, 3.0, 0.0, 6.0, 2.0, 3.0]
    cases = [
        Case((square,), 12.0, "the last point is joined to the first"),
        Case((backwards,), 12.0, "an area is positive, whichever way the points run"),
        Case((arrow,), 18.0, "the area is that of the polygon, not of its convex hull"),
    ]
    return check(function, cases)


def check_rle_area(function: Callable[..., Any]) -> str:
    """``rle_area(counts)``: pixels of the object, from run lengths that start with background."""
    cases = [
        Case(([3, 2, 4, 1],), 3, "runs alternate between background and object"),
        Case(([0, 5, 7],), 5, "a mask that starts with an object pixel has a first run of 0"),
        Case(([12],), 0),
    ]
    return check(function, cases)


def check_bounding_box(function: Callable[..., Any]) -> str:
    """``bounding_box(mask)``: COCO's [x, y, width, height] of a bool H×W mask."""
    mask = np.zeros((10, 20), bool)
    mask[3:5, 7:15] = True
    cases = [
        Case((mask,), [7, 3, 8, 2], "x is the column; the width counts both border pixels"),
        Case((_SQUARE,), [2, 2, 4, 4]),
        Case((np.ones((4, 6), bool),), [0, 0, 6, 4]),
    ]
    return check(function, cases)


def check_sample(function: Callable[..., Any]) -> str:
    """``sample(ids, number, seed)``: a seeded choice, independent of the order of the ids."""
    ids = list(range(100, 160))
    shuffled = [int(i) for i in np.random.default_rng(0).permutation(ids)]

    def judge(seed: int) -> Judge:
        def told(answer: Any) -> str:
            chosen = list(answer)
            if len(chosen) != 10 or len(set(chosen)) != 10 or not set(chosen) <= set(ids):
                return "it must choose ten different ids of the list"
            if sorted(function(ids, 10, seed)) != sorted(chosen):
                return "the choice changes with the order of the ids"
            if sorted(function(ids, 10, seed + 1)) == sorted(chosen):
                return "another seed must give another choice"
            return ""

        return told

    return check(function, [Case((shuffled, 10, 1), judge(1)), Case((ids[::-1], 10, 2), judge(2))])


# --- 02_stroke_synthesis --------------------------------------------------------------------------


def check_stroke_faults(function: Callable[..., Any]) -> str:
    """``stroke_faults(stroke, mask)``: two shares in a tuple.

    The share of the object that the stroke misses, and the share of the stroke that lies outside.
    """
    small = square(3, 5)  # 4 of the 16 pixels of _SQUARE
    cases = [
        Case((small, _SQUARE), (0.75, 0.0), "divide the missed pixels by those of the object"),
        Case((_CORNER, _SQUARE), (0.75, 0.75)),
        Case(
            (np.ones((8, 8), bool), _SQUARE),
            (0.0, 0.75),
            "divide the pixels outside by those of the stroke",
        ),
    ]
    return check(function, cases)


def check_band_of(function: Callable[..., Any]) -> str:
    """``band_of(mask, b)``: the mask minus its erosion by a b×b ellipse, bool H×W."""
    from cv2 import MORPH_ELLIPSE, erode, getStructuringElement

    def expected(mask: np.ndarray, b: int) -> np.ndarray:
        inner = erode(mask.astype(np.uint8), getStructuringElement(MORPH_ELLIPSE, (b, b)))
        return mask & (inner == 0)

    hint = "keep the pixels that the erosion removes"
    cases = [
        Case((_OBJECT, 31), expected(_OBJECT, 31), hint),
        Case((_OBJECT, 10), expected(_OBJECT, 10), "the ellipse is b pixels across"),
    ]
    return check(function, cases)


def check_scribble(function: Callable[..., Any]) -> str:
    """``scribble(mask, rng)``: a thin stroke, as people draw it and ``erode`` never does."""

    def judge(mask: np.ndarray) -> Judge:
        def told(answer: Any) -> str:
            stroke = np.asarray(answer)
            if stroke.shape != mask.shape or stroke.dtype != np.bool_:
                return f"it must return a bool array of shape {mask.shape}"
            if not stroke.any():
                return "the stroke is empty"
            if (stroke & ~mask).any():
                return f"{np.count_nonzero(stroke & ~mask)} pixels lie outside the object"
            share = np.count_nonzero(stroke) / np.count_nonzero(mask)
            if not 0.005 <= share <= 0.15:
                return f"it covers {share:.1%} of the object; it must cover 0.5 % to 15 %"
            return ""

        return told

    wide = np.zeros((80, 160), bool)
    wide[20:60, 10:150] = True
    cases = [
        Case((_OBJECT, np.random.default_rng(1)), judge(_OBJECT)),
        Case((wide, np.random.default_rng(2)), judge(wide)),
    ]
    return check(function, cases)
