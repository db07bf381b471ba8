"""Exercises of chapters 11 to 15: reproduction, strokes as drawn, corrections, tools, relatives."""

from __future__ import annotations

import numpy as np

from nseg_lib.course.exercises.checking import Case, square

CASES: dict[str, list[Case]] = {}


# --- 11_reproduce ---------------------------------------------------------------------------------

# same_code(a, b): whether two sources differ in comments and layout alone.
CASES["same_code"] = [
    Case(("x = 1  # one\n", "x = 1\n"), True, "a comment changes nothing"),
    Case(("x = 1\n", "x = 2\n"), False),
    Case(("f(a,b)\n", "\n\nf(\n    a,\n    b,\n)\n"), True, "the layout does not count"),
    Case(("s = '# 1'\n", "s = '# 2'\n"), False, "within quotation marks there is no comment"),
    Case(("if x:\n    y = 1\nz = 2\n", "if x:\n    y = 1\n    z = 2\n"), False, "indents count"),
]

# all_stale(made_from, changed): the changed steps and all that follow from them, sorted.
_STEPS = {"rows": ["net"], "net": ["data"], "table": ["rows"], "page": ["table", "text"]}
CASES["all_stale"] = [
    Case((_STEPS, {"rows"}), ["page", "rows", "table"], "what follows from a stale step is stale"),
    Case((_STEPS, {"text"}), ["page", "text"]),
    Case((_STEPS, {"data"}), ["data", "net", "page", "rows", "table"], "go on to the end"),
    Case((_STEPS, set()), []),
]


# --- 12_strokes_as_drawn --------------------------------------------------------------------------

# in_capsule(x, y, a, b, radius): is the point within radius of the segment a to b?
_A, _B = (2.0, 2.0), (10.0, 2.0)
CASES["in_capsule"] = [
    Case((6.0, 4.0, _A, _B, 3.0), True),
    Case((6.0, 6.0, _A, _B, 3.0), False),
    Case((11.0, 3.0, _A, _B, 2.0), True, "the ends are round"),
    Case((14.0, 2.0, _A, _B, 3.0), False, "beyond an end, the distance to that end counts"),
    Case((6.0, 5.0, _A, _B, 3.0), True, "the border belongs to it"),
    Case((3.0, 3.0, _A, _A, 2.0), True, "a dot: both ends are one point"),
    Case((4.0, 5.0, (0.0, 0.0), (8.0, 8.0), 0.8), True),
    Case((4.0, 6.0, (0.0, 0.0), (8.0, 8.0), 0.8), False),
]

# relative_length(points, mask): the length of a stroke over the root of the object's area.
_POINTS = [[10.0, 10.0, 3.0], [40.0, 50.0, 3.0], [40.0, 60.0, 9.0]]
CASES["relative_length"] = [
    Case((_POINTS, square(2, 6)), 15.0, "50 and 10 pixels, over the root of 16"),
    Case((_POINTS[:1], square(2, 6)), 0.0, "a dot has no length"),
    Case((_POINTS[:2], np.ones((8, 8), bool)), 50 / 8, "the radius is no part of the length"),
]


# --- 13_corrections -------------------------------------------------------------------------------

# next_stroke(mask, answer): what the next stroke marks, at the deepest mistake: "object",
# "background", or "" where nothing is wrong.
mask = square(0, 6, 12)
thin = mask.copy()
thin[:, 5] = False  # six pixels missed, nowhere deep
added = thin | square(8, 11, 12)  # nine added, two deep
long = np.zeros((12, 12), bool)
long[8, :] = True
CASES["next_stroke"] = [
    Case((mask, np.zeros_like(mask)), "object", "all of it is missed"),
    Case((mask, added), "background"),
    Case((square(4, 7, 12), long), "object", "the deeper mistake, not the larger one"),
    Case((mask, mask), "", "no mistake, no stroke"),
    Case((thin, mask | thin), "background", "one pixel deep is deep enough"),
    Case((square(0, 4, 12), square(7, 10, 12)), "object", "at equal depth, the missed part"),
    Case(
        (square(0, 3, 12), square(5, 10, 12)),
        "background",
        "pixels beyond the picture count as correct",
    ),
]

# working_size(height, width, longer, step): sides when scaled, and when padded.
CASES["working_size"] = [
    Case((300, 400, 320, 32), (240, 320, 256, 320), "scale by the longer side, then pad"),
    Case((100, 50, 320, 32), (320, 160, 320, 160), "small crops are enlarged"),
    Case((333, 500, 256, 16), (170, 256, 176, 256), "round first, then pad"),
]


# --- 14_judging_a_tool ----------------------------------------------------------------------------

# strokes_until(ious, target, most): strokes until the IoU reaches the target (NoC).
CASES["strokes_until"] = [
    Case(([0.5, 0.8, 0.9], 0.85, 20), 3, "strokes are counted from 1"),
    Case(([0.9, 0.7, 0.95], 0.85, 20), 1, "the first time counts, whatever comes later"),
    Case(([0.5, 0.85], 0.85, 20), 2, "reaching it is enough"),
    Case(([0.5, 0.6], 0.85, 20), 20, "if it never does, the answer is the most allowed"),
    Case(([0.1, 0.2, 0.3, 0.9], 0.85, 3), 3, "strokes after the most allowed do not count"),
]

# verdict(low, high, margin): what the interval of a difference shows.
CASES["verdict"] = [
    Case((0.02, 0.05, 0.01), "better"),
    Case((-0.05, -0.02, 0.01), "worse"),
    Case((-0.01, 0.03, 0.005), "cannot be told"),
    Case((0.001, 0.004, 0.005), "too small to matter", "within the margin comes first"),
    Case((-0.004, 0.004, 0.005), "too small to matter"),
]


# --- 15_related_work ------------------------------------------------------------------------------

# gaussian_map(shape, clicks, sigma): at each pixel the largest Gaussian of the clicks.
_ROWS, _COLUMNS = np.mgrid[:4, :6]
_BLOB = np.exp(-((_ROWS - 1) ** 2 + (_COLUMNS - 4) ** 2) / 2)
_BOTH = np.maximum(_BLOB, np.exp(-((_ROWS - 3) ** 2 + (_COLUMNS - 4) ** 2) / 2))
CASES["gaussian_map"] = [
    Case(((4, 6), [(4, 1)], 1.0), _BLOB, "a click is (x, y), and x is the column"),
    Case(((4, 6), [(4, 1), (4, 3)], 1.0), _BOTH, "the largest of the clicks, not their sum"),
    Case(((4, 6), [], 1.0), np.zeros((4, 6)), "without clicks it is 0 everywhere"),
]

# crop_around(points, margin, height, width): (left, top, right, bottom), ends exclusive.
_EXTREMES = [(10, 40), (60, 35), (30, 20), (35, 80)]
CASES["crop_around"] = [
    Case((_EXTREMES, 5, 100, 200), (5, 15, 66, 86), "right and bottom are exclusive"),
    Case((_EXTREMES, 50, 100, 90), (0, 0, 90, 100), "cut at the border of the picture"),
    Case(([(7, 3)], 0, 10, 10), (7, 3, 8, 4), "one point, one pixel"),
]
