"""Strokes that people drew: the Oxford interactive-segmentation set, to look at and measure with.

Layout of the folder: ``images/NAME.*``, ``masks/NAME.png`` (0 background, 128 undecided, 255
object) and ``scribbles1/NAME.png``, ``scribbles2/NAME.png``: green strokes on the object, red ones
on the background, transparent elsewhere. In the copy at hand the second folder holds black boxes
drawn round the objects, or nothing; those are no strokes, and come apart from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import DataError
from nseg_lib.data.images import open_picture, read_image
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.strokes.paths import Target

SETS = ("scribbles1", "scribbles2")
"""Folders of strokes, each by other people."""

UNDECIDED = 128
"""Grey level of a mask's pixels that no metric should count."""


class Scribbled(NamedTuple):
    """A picture, its object and what people drew on it."""

    name: str
    """The picture's file name without its ending."""
    image: Image
    mask: Mask
    """The object without undecided pixels."""
    ignore: Mask
    """Undecided pixels."""
    strokes: dict[str, Drawn]
    """Set → its strokes, only where it has any on the object."""
    boxes: dict[str, Mask]
    """Set → the box drawn in their place, filled, only where there is one."""


def load_scribbles(folder: Path) -> Iterator[Scribbled]:
    """Every picture of the set, by name.

    Raises:
        DataError: no picture in ``folder``, a file that is missing or cannot be read, or one of
            another size than its picture.
    """
    pictures = sorted(p for p in (folder / "images").glob("*") if not p.name.startswith("."))
    if not pictures:
        raise DataError(f"{folder}: no pictures in images/")
    for path in pictures:
        image, name = read_image(path), f"{path.stem}.png"
        levels = _pixels(folder / "masks" / name, image.shape[:2], "L")
        drawn, boxes = {}, {}
        for one in SETS:
            file = folder / one / name
            if file.is_file():
                rgba = _pixels(file, image.shape[:2], "RGBA")
                strokes, box = drawn_strokes(rgba), drawn_box(rgba)
                if strokes.object.any():
                    drawn[one] = strokes
                elif box.any():
                    boxes[one] = box
        yield Scribbled(path.stem, image, levels > UNDECIDED, levels == UNDECIDED, drawn, boxes)


def drawn_strokes(rgba: NDArray[np.uint8]) -> Drawn:
    """Opaque pixels of uint8 H×W×4 RGBA: green ones on the object, red ones on the background."""
    red, green, _, alpha = np.moveaxis(rgba.astype(int), -1, 0)
    opaque = alpha > 127
    return Drawn(opaque & (green - red > 127), opaque & (red - green > 127))


def drawn_box(rgba: NDArray[np.uint8]) -> Mask:
    """Bool H×W, the box round all opaque black pixels, filled; empty where there are none."""
    black = (rgba[..., :3].max(axis=2) < 128) & (rgba[..., 3] > 127)
    x, y, width, height = cv2.boundingRect(black.astype(np.uint8))
    box = np.zeros_like(black)
    box[y : y + height, x : x + width] = True
    return box


def _pixels(path: Path, shape: tuple[int, ...], mode: str) -> NDArray[np.uint8]:
    pixels = np.array(open_picture(path).picture.convert(mode))
    if pixels.shape[:2] != tuple(shape):
        raise DataError(f"{path}: {pixels.shape[:2]} pixels, its picture has {tuple(shape)}")
    return pixels


def stroke_statistics(drawn: Drawn, mask: Mask) -> dict[str, float]:
    """How somebody marked an object, in units of s, the square root of its area.

    ``object_`` or ``background_``, then: ``width``, the mean width of the strokes; ``length``,
    their area divided by it; ``depth``, the median distance of their pixels to the object's edge.
    Also ``cover``, the share of the object under object strokes, and ``over``, the share of the
    object strokes beyond the object. NaN where there is nothing to measure.
    """
    target = Target(np.ascontiguousarray(mask))
    found: dict[str, float] = {}
    distances = target.inside, target.outside
    for name, strokes, distance in zip(Drawn._fields, drawn, distances, strict=True):
        width = _mean_width(strokes)
        found[f"{name}_width"] = width / target.size
        found[f"{name}_length"] = float(strokes.sum()) / width / target.size
        there = distance[strokes]
        found[f"{name}_depth"] = float(np.median(there)) / target.size if len(there) else np.nan
    both = float((drawn.object & mask).sum())
    found["cover"] = both / float(mask.sum())
    found["over"] = 1 - both / float(drawn.object.sum()) if drawn.object.any() else np.nan
    return found


def _mean_width(strokes: Mask) -> float:
    """Pixels. Distances to the edge of a line of width w are uniform in 0..w/2, so four times their
    mean is w; pixels' centres lie half a pixel further in."""
    if not strokes.any():
        return float("nan")
    inside = Target(np.ascontiguousarray(strokes)).inside[strokes]
    return max(1.0, 4 * float(np.mean(inside)) - 2)
