"""What a user asks on the command line, of every kind, as one prompt; and its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

import numpy as np

from nseg_lib import limits
from nseg_lib.arrays import Image, Mask
from nseg_lib.data import masks
from nseg_lib.data.images import tell_unusual
from nseg_lib.data.painted import seems_inverted
from nseg_lib.data.records import DataError
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.prompt import Box, Extent, Prompt
from nseg_lib.refine import Refiner
from nseg_lib.strokes.drawing import rasterize


def click_radius(height: int, width: int) -> float:
    """Radius of the disc that a click stands for, in pixels: 3 on a picture of 640."""
    return max(1.0, max(height, width) * 3 / 640)


def numbers(text: str, count: int, option: str) -> list[float]:
    """``"320,200"`` → its numbers; DataError that names the option unless there are ``count``."""
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        form = {2: "x,y", 4: "left,top,right,bottom"}[count]
        raise DataError(f"{option} {text}: {form} is needed, in pixels of the picture")
    return values


def _box(text: str, height: int, width: int, warn: Callable[[str], None]) -> Box:
    """``left,top,right,bottom`` as a box of whole pixels, cut at the picture's border; DataError
    unless a part of it is in the picture."""
    left, top, right, bottom = numbers(text, 4, "--box")
    whole = int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom))
    box = max(0, whole[0]), max(0, whole[1]), min(width, whole[2]), min(height, whole[3])
    if not (box[0] < box[2] and box[1] < box[3]):
        raise DataError(
            f"--box {text}: left,top,right,bottom must hold a part of the picture, "
            f"{width}x{height} pixels, left before right and top above bottom"
        )
    if box != whole:
        warn(f"--box {text}: reaches beyond the picture, {width}x{height} pixels; it is cut there")
    return box


def read_prompt(
    photo: Path,
    stroke: Path | None = None,
    *,
    clicks: Sequence[str] = (),
    box: str | None = None,
    strokes: Path | None = None,
    coco: Path | None = None,
    background: Path | None = None,
    mask: Path | None = None,
    label: int | None = None,
    extent: str | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[Image, Prompt]:
    """A photograph and all that was drawn on it, in whatever form it comes.

    Args:
        stroke: a picture of what was brushed, or a JSON file of the canvas.
        clicks: points on the object, ``x,y`` each; each counts as a small disc.
        box: ``left,top,right,bottom``: the object is only in here.
        strokes: a JSON file of the canvas, which may hold a box too.
        coco: a COCO file whose mask of this photograph counts as a stroke that nearly covers its
            object.
        background: a picture of what is not the object; it takes the place of what a file of
            strokes says of it.
        mask: the mask to correct.
        label: see :func:`nseg_lib.data.masks.read_mask`; for ``mask`` and ``coco``.
        extent: ``part`` or ``whole``: less or more than would usually be taken
            (:data:`nseg_lib.prompt.Extent`); without it, what a file of strokes says of it.
        warn: is told what looks odd.

    Raises:
        DataError: a file that cannot be read or does not fit, or nothing that says what is meant.
    """
    if extent not in (None, *get_args(Extent)):
        raise DataError(f"--extent {extent}: must be {', '.join(get_args(Extent))}")
    if label is not None and mask is None and coco is None:
        raise DataError(f"--label {label}: says which object of --mask or --coco; give one of them")
    taken = masks.open_photo(photo)
    image, (height, width) = taken.image, taken.image.shape[:2]
    tell_unusual(photo, taken.stored, warn)

    # What is on the object adds up: strokes, another tool's mask, clicks. The canvas's file may
    # hold strokes on the background and a box too.
    on_object, on_background = np.zeros((2, height, width), bool)
    limit = None if box is None else _box(box, height, width, warn)
    asked = cast(Extent | None, extent)
    meant: Extent = asked or "object"
    for path in (stroke, strokes):
        if path is not None:
            drawn, drawn_box, drawn_extent = masks.read_drawing(path, taken, warn)
            on_object |= drawn.object
            on_background |= drawn.background
            limit = limit or drawn_box
            if asked is None and drawn_extent != "object":
                meant = drawn_extent
            if not drawn.object.any() and limit is None:
                raise DataError(
                    f"{path}: nothing is brushed in the picture, and an object stroke is always "
                    "needed; paint white on black, or on a clear layer"
                )
    if coco is not None:
        on_object |= masks.read_annotation(coco, taken, label, warn)
    for text in clicks:
        x, y = numbers(text, 2, "--click")
        if not (0 <= x < width and 0 <= y < height):
            raise DataError(f"--click {text}: is not in the picture, {width}x{height} pixels")
        disc = {"kind": "object", "points": [[x, y, click_radius(height, width)]]}
        on_object |= rasterize([disc], height, width).object
    source = stroke or strokes or coco
    if source is not None and (on_object.mean() > 0.9 or seems_inverted(on_object)):
        _tell_inverted(source, on_object, warn)

    # A file of the background takes the place of what the canvas's file says of it.
    earlier = None
    if background is not None:
        on_background = _read_plane(background, taken, "background", None, warn)
    if mask is not None:
        earlier = _read_plane(mask, taken, "mask", label, warn)

    # A plane without a pixel says nothing, so it is not given on.
    if not on_object.any() and limit is None:
        raise DataError(
            f"{photo}: say what is meant: a stroke, --click, --box, --strokes or --coco"
        )
    prompt = Prompt(
        on_object,
        on_background if on_background.any() else None,
        earlier if earlier is not None and earlier.any() else None,
        limit,
        meant,
    )
    try:
        prompt.check(image)
    except ValueError as error:
        raise DataError(f"{photo}: {error}") from None
    tell_one_colour(photo, image, warn)
    return image, prompt


def _read_plane(
    path: Path, photo: masks.Photo, name: str, label: int | None, warn: Callable[[str], None]
) -> Mask:
    """The background, or the mask to correct; what looks odd about it is told."""
    plane = masks.read_mask(path, photo, name, label, warn)
    if not plane.any():
        warn(f"{path}: nothing is painted, so it is left aside")
    if seems_inverted(plane):
        _tell_inverted(path, plane, warn)
    return plane


def _tell_inverted(path: Path, plane: Mask, warn: Callable[[str], None]) -> None:
    warn(f"{path}: covers {plane.mean():.0%} of the picture; is it inverted?")


def tell_one_colour(photo: Path, image: Image, warn: Callable[[str], None]) -> None:
    """Tell ``warn`` if a photograph shows nothing."""
    if (image == image[:1, :1]).all():
        warn(f"{photo}: is of one colour all over; nothing tells an object from the rest")


def answer(refiner: Refiner, image: Image, prompt: Prompt, photo: Path) -> Mask:
    """The mask that a refiner makes of a prompt; DataError for a picture too large for it."""
    # The paper's networks see the whole picture at once, and memory grows with it.
    if not refiner.corrects and prompt.object.size > limits.MAX_RECORD_PIXELS:
        raise DataError(
            f"{photo}: {prompt.object.size:,} pixels, at most {limits.MAX_RECORD_PIXELS:,} for "
            f"{refiner.config.name}, which sees all of them; {PRETRAINED[0]} takes it"
        )
    # An outline that was put right by hand says of every pixel what it is.
    if prompt.background is not None and (prompt.object | prompt.background).all():
        return prompt.object
    return refiner.refine(
        image, prompt.object, prompt.background, prompt.mask, box=prompt.box, extent=prompt.extent
    )
