"""Exercises of chapters 04, 05 and 08 to 10: training, losses, metrics, tables and errors."""

from __future__ import annotations

import math

import numpy as np

from nseg_lib.course.exercises.checking import Case

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

# worst_category(ious, categories, least): the one of lowest mean, of those with enough pictures.
_IOUS, _NAMES = [0.9, 0.5, 0.6, 0.7, 0.1, 0.6], ["cat", "dog", "dog", "cat", "cup", "cat"]
CASES["worst_category"] = [
    Case((_IOUS, _NAMES, 1), "cup"),
    Case((_IOUS, _NAMES, 2), "dog", "a category of one picture does not count"),
    Case((_IOUS, _NAMES, 3), "cat", "so many pictures or more"),
]

# bin_means(by, values, bins): means of values in bins of equal count along by.
by, values = [3, 1, 2, 6, 5, 4], [30.0, 10.0, 20.0, 60.0, 50.0, 40.0]
CASES["bin_means"] = [
    Case((by, values, 3), [15, 35, 55]),
    Case((by, values, 2), [20, 50]),
    Case(([1, 2, 3, 1000], [1.0, 2.0, 3.0, 4.0], 2), [1.5, 3.5], "equal counts, not equal widths"),
]
