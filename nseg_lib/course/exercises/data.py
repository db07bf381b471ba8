"""Exercises of chapters 00 to 02: masks, annotations and strokes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from skimage.morphology import skeletonize

from nseg_lib.course.exercises.checking import Case, square


def _disc(height: int, width: int, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


_EMPTY = np.zeros((8, 8), bool)
_SQUARE = square(2, 6)  # 16 pixels
_CORNER = square(0, 4)  # 16 pixels, 4 of them in _SQUARE
_OBJECT = _disc(96, 128, 48, 60, 38)

CASES: dict[str, list[Case]] = {}

# --- 00_draw_first --------------------------------------------------------------------------------

# made_worse(before, after): share of the pictures whose IoU fell.
CASES["made_worse"] = [
    Case(([0.8, 0.9, 0.7, 0.6], [0.9, 0.8, 0.7, 0.9]), 0.25, "an unchanged IoU is not worse"),
    Case(([0.5], [0.6]), 0.0),
    Case(([0.5, 0.5], [0.4, 0.1]), 1.0),
]

# what_changed(stroke, answer): pixels added and taken away, as shares of the stroke.
CASES["what_changed"] = [
    Case((_SQUARE, _CORNER), (0.75, 0.75), "12 pixels came and 12 went, of 16"),
    Case((_CORNER, np.ones((8, 8), bool)), (3.0, 0.0), "more can be added than there was"),
    Case((_SQUARE, _EMPTY), (0.0, 1.0), "added comes first"),
]


# --- 01_masks_and_coco ----------------------------------------------------------------------------

# polygon_area(polygon): area in px² of COCO's flat list [x1, y1, x2, y2, …].
_FORWARDS = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0]
_BACKWARDS = [1.0, 4.0, 5.0, 4.0, 5.0, 1.0, 1.0, 1.0]
_ARROW = [0.0, 0.0, 8.0, 3.0, 0.0, 6.0, 2.0, 3.0]
CASES["polygon_area"] = [
    Case((_FORWARDS,), 12.0, "the last point is joined to the first"),
    Case((_BACKWARDS,), 12.0, "an area is positive, whichever way the points run"),
    Case((_ARROW,), 18.0, "the area is that of the polygon, not of its convex hull"),
]

# box_of_runs(counts, height): COCO's [x, y, width, height] from run lengths, column by column.
CASES["box_of_runs"] = [
    Case(([7, 2, 3, 2, 10], 5), [1, 2, 2, 2], "pixel 7 of height 5 is column 1, row 2"),
    Case(([0, 3, 17], 5), [0, 0, 1, 3], "runs begin with background"),
    Case(([8, 4, 8], 5), [1, 0, 2, 5], "a run over the end of a column touches top and bottom"),
    Case(([6, 1, 0, 1, 12], 5), [1, 1, 1, 2], "a run may be empty"),
]

# --- 02_strokes -----------------------------------------------------------------------------------

# iou_of_faults(missed, outside): the IoU of a stroke, from the two shares that are wrong.
CASES["iou_of_faults"] = [
    Case((0.0, 0.0), 1.0),
    Case((0.2, 0.0), 0.8, "nothing outside: the union is the object"),
    Case((0.0, 0.5), 0.5, "nothing missed: the union is the stroke"),
    Case((0.75, 0.75), 4 / 28, "two squares of 16 pixels that share 4"),
]


# scribble(mask, rng): a thin stroke, as people draw it and erode never does.
def _is_thin_scribble(_: Callable[..., Any], answer: Any, mask: np.ndarray, rng: Any) -> str:
    stroke = np.asarray(answer)
    if stroke.shape != mask.shape or stroke.dtype != np.bool_:
        return f"it must return a bool array of shape {mask.shape}"
    if not stroke.any():
        return "the stroke is empty"
    if (stroke & ~mask).any():
        return f"{np.count_nonzero(stroke & ~mask)} pixels lie outside the object"
    parts, _ = cv2.connectedComponents(stroke.astype(np.uint8), connectivity=8)
    if parts > 2:  # the background is one of them
        return f"it has {parts - 1} parts; draw one connected line"
    padded = np.pad(stroke, 1).astype(np.uint8)
    width = 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max()) - 1
    if width > 9:
        return f"it is {width:.0f} pixels wide at its widest place; at most 9"
    length = np.count_nonzero(skeletonize(stroke))
    if length < 4 * width:
        return f"it is {length} pixels long and {width:.0f} wide; a line is longer than that"
    share = np.count_nonzero(stroke) / np.count_nonzero(mask)
    if not 0.005 <= share <= 0.15:
        return f"it covers {share:.1%} of the object; it must cover 0.5 % to 15 %"
    return ""


_WIDE = np.zeros((80, 160), bool)
_WIDE[20:60, 10:150] = True
CASES["scribble"] = [
    Case((mask, np.random.default_rng(seed)), _is_thin_scribble)
    for seed, mask in enumerate((_OBJECT, _WIDE), 1)
]
