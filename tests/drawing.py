"""Strokes, a model, a front end's messages, and pictures, for the widget's tests."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image
from skimage import data as photographs

from nseg_lib.data.coco import annotation_mask, load_split
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.widget import FolderSession, StrokeCanvas


def stroke(*points, kind="object", **keys):
    return {"kind": kind, "points": [list(map(float, p)) for p in points], **keys}


class Grower:
    """A model that answers with the stroke moved down by 3 pixels, and counts its calls."""

    def __init__(self):
        self.calls = []

    def refine(self, image, stroke):
        self.calls.append((image.shape, int(stroke.sum())))
        return np.roll(stroke, 3, axis=0)


class Teller:
    """A model that is sure of the stroke, and half sure of one more row below."""

    corrects = gives_probability = True

    def refine(self, image, stroke, background, mask, return_probability=False):
        probability = np.where(np.roll(stroke, 1, axis=0), 0.5, 0.0).astype(np.float32)
        probability[stroke] = 1
        return (stroke, probability) if return_probability else stroke


def grown(strokes, height, width):
    """What :class:`Grower` makes of a drawing."""
    return np.roll(rasterize(strokes, height, width).object, 3, axis=0)


def browser_draws(canvas, *strokes, revision=None):
    """What the front end's message does: its state arrives as one change of the trait."""
    revision = canvas._drawing["revision"] + 1 if revision is None else revision
    drawing = {"picture": canvas._picture["key"], "revision": revision, "strokes": [*strokes]}
    canvas.set_state({"_drawing": drawing})


# --- a canvas that works through a folder ---------------------------------------------------------


def write_pictures(folder):
    """Pictures of 60×80: a, b and d; c is broken, and another file is none."""
    for name in ("a", "b", "d"):
        Image.fromarray(photographs.chelsea()[:60, :80]).save(folder / f"{name}.png")
    (folder / "c.jpg").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no picture")
    return folder


def opened(folder, model=None, **settings):
    return StrokeCanvas(refiner=model, session=FolderSession(folder, **settings))


def press(canvas, strokes=None, **message):
    """A button of the folder's row, which takes with it what was drawn last."""
    drawing = dict(canvas._drawing)
    if strokes is not None:
        drawing |= {"revision": drawing["revision"] + 1, "strokes": strokes}
    canvas._message(canvas, {**message, "drawing": drawing}, [])


def go(canvas, step=1, strokes=None):
    press(canvas, strokes, type="go", step=step)


def at(canvas, *keys):
    return tuple(canvas._session[key] for key in keys)


def saved(folder, key="annotations"):
    return json.loads((folder / "annotations.json").read_text())[key]


# --- pictures -------------------------------------------------------------------------------------


def encoded(picture, kind="PNG", **options):
    """The bytes of a picture's file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def covered(png):
    """Where a cover that was sent to the browser is opaque, bool H×W."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3] > 0


def save_turned(folder, width, orientation):
    """Write a dark picture with a bright patch, nearer to one corner, whose EXIF turns it."""
    folder.mkdir()
    picture = np.zeros((60, width, 3), np.uint8)
    picture[4:24, 8:38] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(folder / "turned.png", exif=exif)
    return folder / "turned.png"


def draw_on_the_patch(canvas):
    y, x = np.argwhere(canvas.image[..., 0] > 127).mean(axis=0) + 0.5
    browser_draws(canvas, stroke((x, y, 5)), stroke((x + 4, y, 2)))


def check_for_readers(root, mask):
    """A split's only object is this mask, and lies on the patch, as readers of COCO have both."""
    split = load_split(root)
    assert split.left_out == ()
    ((annotation,),) = split.annotations.values()
    seen = split.read_image(annotation["image_id"])
    theirs = annotation_mask(annotation, *seen.shape[:2])
    assert theirs.sum() == mask.sum() == annotation["area"] > 50
    assert (seen[theirs] > 127).all()
    x, y, width, height = map(int, annotation["bbox"])
    assert theirs[y : y + height, x : x + width].sum() == theirs.sum()
