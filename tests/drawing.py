"""Strokes, a model and a front end's messages, for the widget's tests."""

from __future__ import annotations

import numpy as np
from PIL import Image


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


def patch(height, width):
    """A dark picture with a bright patch, nearer to one corner: turned, it lies elsewhere."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[4:24, 8:38] = 255
    return picture


def save_turned(folder, picture, orientation):
    """Write a picture whose EXIF says that it lies so; its path."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(folder / "turned.png", exif=exif)
    return folder / "turned.png"
