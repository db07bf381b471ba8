"""Strokes that people drew: the Oxford interactive-segmentation set, to look at and measure with.

Layout of the folder: ``images/NAME.*``, ``masks/NAME.png`` (0 background, 128 undecided, 255
object) and ``scribbles1/NAME.png``, ``scribbles2/NAME.png``: green strokes on the object, red ones
on the background, transparent elsewhere. In the copy at hand the second folder holds black boxes
drawn round the objects, or nothing; those are no strokes, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nseg_lib.coco import DataError, open_picture, read_image
from nseg_lib.strokes import Drawn

Mask = NDArray[np.bool_]

SETS = ("scribbles1", "scribbles2")
"""Folders of strokes, each by other people."""

UNDECIDED = 128
"""Grey level of a mask's pixels that no metric should count."""


class Scribbled(NamedTuple):
    """A picture, its object and what people drew on it."""

    name: str
    """The picture's file name without its ending."""
    image: NDArray[np.uint8]
    """uint8 H×W×3 RGB."""
    mask: Mask
    """bool H×W, the object without undecided pixels."""
    ignore: Mask
    """bool H×W, undecided pixels."""
    strokes: dict[str, Drawn]
    """Set → its strokes, only where it has any on the object."""


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
        drawn = {}
        for one in SETS:
            file = folder / one / name
            if file.is_file():
                strokes = drawn_strokes(_pixels(file, image.shape[:2], "RGBA"))
                if strokes.object.any():
                    drawn[one] = strokes
        yield Scribbled(path.stem, image, levels > UNDECIDED, levels == UNDECIDED, drawn)


def drawn_strokes(rgba: NDArray[np.uint8]) -> Drawn:
    """Opaque pixels of uint8 H×W×4 RGBA: green ones on the object, red ones on the background."""
    red, green, _, alpha = np.moveaxis(rgba.astype(int), -1, 0)
    opaque = alpha > 127
    return Drawn(opaque & (green - red > 127), opaque & (red - green > 127))


def _pixels(path: Path, shape: tuple[int, ...], mode: str) -> NDArray[np.uint8]:
    pixels = np.array(open_picture(path).convert(mode))
    if pixels.shape[:2] != tuple(shape):
        raise DataError(f"{path}: {pixels.shape[:2]} pixels, its picture has {tuple(shape)}")
    return pixels
