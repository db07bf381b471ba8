"""Strokes, a model and a front end's messages, for the widget's tests."""

from __future__ import annotations

import numpy as np


def stroke(*points, kind="object", **keys):
    return {"kind": kind, "points": [list(map(float, p)) for p in points], **keys}


class Grower:
    """A model that answers with the stroke moved down by 3 pixels, and counts its calls."""

    def __init__(self):
        self.calls = []

    def refine(self, image, stroke):
        self.calls.append((image.shape, int(stroke.sum())))
        return np.roll(stroke, 3, axis=0)


def browser_draws(canvas, strokes, revision):
    """What the front end's message does: its state arrives as one change of the trait."""
    key = canvas._picture["key"]
    canvas.set_state({"_drawing": {"picture": key, "revision": revision, "strokes": strokes}})
