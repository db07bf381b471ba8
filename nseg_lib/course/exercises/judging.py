"""Exercises of chapters 04, 05 and 08 to 10, and older ones of 12 to 14."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nseg_lib.course.exercises.checking import Case, square

_TARGET = np.array([[1, 1, 0, 0], [1, 1, 0, 0]])

CASES: dict[str, list[Case]] = {}


# --- 04_training_by_hand, 05_losses ---------------------------------------------------------------

# focal_loss(p, t, gamma): cross-entropy with pixels that are nearly right counting less.
_RIGHT = np.where(_TARGET == 1, [[0.9, 0.8, 0.1, 0.2], [0.5, 0.9, 0.3, 0.4]], 0.7)
_P = np.where(_TARGET == 1, _RIGHT, 1 - _RIGHT)
CASES["focal_loss"] = [
    Case((_P, _TARGET, 0), float(-np.log(_RIGHT).mean()), "with gamma 0 it is cross-entropy"),
    Case((_P, _TARGET, 2), float((-((1 - _RIGHT) ** 2) * np.log(_RIGHT)).mean())),
    Case((np.full((1, 2), 0.5), np.array([[1, 0]]), 1), float(np.log(2) / 2)),
]

# tversky_loss(p, t, a): Dice with a weight of its own for missed pixels.
CASES["tversky_loss"] = [
    Case((np.ones((2, 4)), _TARGET, 0.5), 1 - 5 / 7, "all added: TP 4, FP 4"),
    Case((np.ones((2, 4)), _TARGET, 1.0), 0.0, "with a = 1, what is added costs nothing"),
    Case((np.zeros((2, 4)), _TARGET, 1.0), 1 - 1 / 5, "what is missed has the weight a"),
    Case((_TARGET.astype(float), _TARGET, 0.3), 0.0),
]

# adam_step(w, g, m, v, n, rate): the new (w, m, v) after step n of Adam.
CASES["adam_step"] = [
    Case((1.0, 0.5, 0.0, 0.0, 1, 0.01), (0.99, 0.05, 0.00025), "a first step moves by the rate"),
    Case((1.0, -80.0, 0.0, 0.0, 1, 0.01), (1.01, -8.0, 6.4), "whatever the gradient's size"),
    Case(
        (0.0, 1.0, -0.2, 0.5, 3, 0.1),
        (-0.1 * (-0.08 / 0.271) / (math.sqrt(0.5005 / (1 - 0.999**3)) + 1e-8), -0.08, 0.5005),
        "divide each mean by what it lacks at step n",
    ),
]

# stops_at(losses, patience): (epoch kept, last epoch trained).
CASES["stops_at"] = [
    Case(([0.5, 0.3, 0.4, 0.35, 0.1], 2), [1, 3], "the 0.1 is never reached"),
    Case(([0.5, 0.3, 0.4, 0.2, 0.3, 0.4, 0.1], 2), [3, 5], "a new best restarts the count"),
    Case(([0.5, 0.4, 0.3, 0.2], 2), [3, 3], "while the loss keeps falling, training goes on"),
    Case(([0.5, 0.5, 0.5], 2), [0, 2], "an equal loss is not a lower one"),
]

# stands_out(values, reach): the best value minus the mean of its neighbours.
CASES["stands_out"] = [
    Case(([0.8, 0.82, 0.86, 0.83, 0.84], 2), 0.86 - 0.8225, "the best one is no neighbour"),
    Case(([0.9, 0.8, 0.7], 1), 0.1, "at an end there are neighbours on one side only"),
    Case(([0.5, 0.7, 0.6, 0.7], 1), 0.15, "of equally good ones, the first"),
]


# --- 08_metrics_by_hand, 09_results_table ---------------------------------------------------------

# average_distance(a, b): mean of all distances to the nearest point, in both directions.
a, b = np.array([[0, 0], [3, 4]]), np.array([[0, 0]])
CASES["average_distance"] = [
    Case((a, b), 5 / 3, "three distances: 0, 5 and 0"),
    Case((b, a), 5 / 3, "look both ways"),
    Case((a, a), 0.0),
    Case(
        (np.array([[0, 0], [0, 9], [0, 9]]), np.array([[0, 1]])), 18 / 4, "each point counts once"
    ),
]

# dice_of(iou): the Dice coefficient that belongs to an IoU.
CASES["dice_of"] = [
    Case((1 / 3,), 0.5, "half of each mask overlaps: IoU 1/3, Dice 1/2"),
    Case((1.0,), 1.0),
    Case((0.0,), 0.0),
    Case((0.6,), 0.75),
]

# paired(before, after, margin): (mean difference, share worse by more than margin).
before, after = [0.8, 0.9, 0.7, 0.6], [0.9, 0.85, 0.698, 0.8]
CASES["paired"] = [
    Case((before, after, 0.005), [0.062, 0.25], "a loss of 0.002 is within the margin"),
    Case((before, after, 0.0), [0.062, 0.5]),
    Case(([0.5], [0.9], 0.0), [0.4, 0.0]),
]


# --- 08_qualitative_and_errors -------------------------------------------------------------------

# precision_recall(predicted, target): shares of prediction and of target that agree.
CASES["precision_recall"] = [
    Case((square(2, 6), square(0, 4)), [0.25, 0.25]),
    Case((square(2, 4), square(0, 4)), [1.0, 0.25], "precision comes first"),
    Case((square(0, 8), square(0, 4)), [0.25, 1.0]),
    Case((square(0, 0), square(0, 4)), [1.0, 0.0], "nothing predicted, nothing wrong"),
]

# typical_place(values): index of the value nearest to the median; ties go to the first.
CASES["typical_place"] = [
    Case(([0.9, 0.1, 0.5],), 2),
    Case(([0.9, 0.1, 0.4, 0.5],), 2, "for an even count the median lies between two"),
    Case(([0.7, 0.7, 0.7],), 0),
]

# bin_means(by, values, bins): means of values in bins of equal count along by.
by, values = [3, 1, 2, 6, 5, 4], [30.0, 10.0, 20.0, 60.0, 50.0, 40.0]
CASES["bin_means"] = [
    Case((by, values, 3), [15, 35, 55]),
    Case((by, values, 2), [20, 50]),
    Case(([1, 2, 3, 1000], [1.0, 2.0, 3.0, 4.0], 2), [1.5, 3.5], "equal counts, not equal widths"),
]


# --- 09_draw_your_own ----------------------------------------------------------------------------

_STROKES: list[dict[str, Any]] = [
    {"kind": "object", "points": [[10.0, 20.0, 8.0], [30.0, 25.0, 6.0]]},
    {"kind": "erase", "points": [[15.0, 5.0, 4.0]]},
]


def _has_scaled_radii(_: Callable[..., Any], answer: Any, strokes: Any, factor: float) -> str:
    if [s["kind"] for s in answer] != [s["kind"] for s in strokes]:
        return "the kinds of the strokes are not kept"
    for given, stroke in zip(answer, strokes, strict=True):
        right = [[x, y, r * factor] for x, y, r in stroke["points"]]
        if not np.allclose(given["points"], right):
            return f"a stroke has the points {given['points']}, not {right}"
    return ""


# scaled(strokes, factor): the same strokes, drawn with a broader or narrower brush.
CASES["scaled"] = [
    Case((_STROKES, factor), _has_scaled_radii, "the path stays, the radius changes")
    for factor in (2.0, 0.5)
]

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

# corrected(mask, add, remove): the mask after both corrections; remove was last.
CASES["corrected"] = [
    Case((mask, add, remove), (mask | add) & ~remove, "what was drawn last wins where both were")
    for mask, add, remove in np.random.default_rng(9).random((3, 3, 6, 8)) < 0.5
]


# --- 10_beyond_the_paper -------------------------------------------------------------------------

# share_of_gap(identity, method): how much of identity's gap to 1 a method closes.
CASES["share_of_gap"] = [
    Case((0.8, 0.9), 0.5),
    Case((0.8, 0.8), 0.0),
    Case((0.8, 0.7), -0.5, "below identity the share is negative"),
    Case((0.5, 1.0), 1.0),
]

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

# strokes_until(ious, target, most): strokes until the IoU reaches the target (NoC).
CASES["strokes_until"] = [
    Case(([0.5, 0.8, 0.9], 0.85, 20), 3, "strokes are counted from 1"),
    Case(([0.9, 0.7, 0.95], 0.85, 20), 1, "the first time counts, whatever comes later"),
    Case(([0.5, 0.85], 0.85, 20), 2, "reaching it is enough"),
    Case(([0.5, 0.6], 0.85, 20), 20, "if it never does, the answer is the most allowed"),
    Case(([0.1, 0.2, 0.3, 0.9], 0.85, 3), 3, "strokes after the most allowed do not count"),
]

# likeness(features, cover): each place's cosine to the mean feature under the brush.
rng = np.random.default_rng(10)
features, cover = rng.normal(size=(5, 4, 6)), np.zeros((4, 6))
cover[1, 2:5] = 1.0, 0.4, 0.7
features[:, 1, 2] *= 50  # a long feature must not outweigh the others
unit = features / np.linalg.norm(features, axis=0)
prototype = np.tensordot(unit, cover, 2)
cosine = np.tensordot(prototype / np.linalg.norm(prototype), unit, 1)
hint = "normalise each feature before the mean, then normalise the mean"
nothing = np.zeros((4, 6))
CASES["likeness"] = [
    Case((features, cover), cosine, hint),
    Case((features, nothing), nothing, "without a brushed pixel, every likeness is 0"),
]
