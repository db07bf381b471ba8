"""Pictures for the widget: reading them, and encoding them and masks for the browser."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import DataError
from nseg_lib.data.images import as_rgb, open_picture, tell_unusual, to_rgb, turn
from nseg_lib.palette import CANVAS, LABELS, rgb

MAX_SHOWN = 4_000_000
"""The most pixels that are sent to the browser; a larger picture is scaled down."""


class _Upload(io.BytesIO):
    """The bytes of a file; messages show its name."""

    name = ""

    def __repr__(self) -> str:
        return self.name


def read(
    source: str | Path | bytes | NDArray[Any],
    name: str = "picture",
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[Image, int]:
    """Read a picture: its upright pixels, uint8 H×W×3 RGB, and its EXIF orientation.

    Args:
        source: a path, a file's bytes, or an array: uint8 or bool H×W, H×W×3 or H×W×4. Transparent
            pixels become white, and the orientation of an array is 1.
        name: the picture's name in messages, if ``source`` is no path.
        warn: is told what is unusual about a file, as :func:`tell_unusual` has it.

    Raises:
        DataError: ``source`` is no picture, or a broken one.
    """
    if isinstance(source, np.ndarray):
        values = source.astype(np.uint8) * 255 if source.dtype == np.bool_ else source
        shape, channels = values.shape, values.shape[2:]
        if values.dtype != np.uint8 or len(shape) < 2 or channels not in ((), (3,), (4,)):
            raise DataError(
                f"{name}: uint8 H×W, H×W×3 or H×W×4 is needed, got {source.dtype} {shape}"
            )
        if not values.size:
            raise DataError(f"{name}: the array is empty, {shape}")
        return to_rgb(Pillow.fromarray(values)), 1
    if isinstance(source, str | Path):
        path = Path(source)
    elif source == b"":
        raise DataError(f"{name}: not a readable picture: the file is empty")
    elif isinstance(source, bytes):
        upload = _Upload(source)
        upload.name = Path(name).name
        path = cast(Path, upload)  # read in the same way
    else:
        raise DataError(f"{name}: a path, bytes or an array is needed, not {type(source).__name__}")
    stored = open_picture(path)
    tell_unusual(path, stored, warn)
    return as_rgb(path, stored), stored.orientation


def shown_size(height: int, width: int, most: float = MAX_SHOWN) -> tuple[int, int]:
    """Height and width of a picture, scaled down in proportion to at most ``most`` pixels."""
    scale = min(1.0, (most / (height * width)) ** 0.5)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image: Image, height: int, width: int) -> Image:
    """The picture at another size; pixels of a smaller one are averages over areas."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(image: Image, quality: int = 92) -> bytes:
    """A picture as a JPEG file's bytes."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def thumbnail(path: Path) -> bytes:
    """A picture of as many pixels as 150×150, as JPEG; no bytes for a broken one."""
    try:
        image = to_rgb(turn(open_picture(path, reduced=True), None))
    except DataError:
        return b""
    height, width = image.shape[:2]
    return jpeg(resize(image, *shown_size(height, width, 150 * 150)), 80)


def cover_png(mask: Mask | NDArray[np.uint8]) -> bytes:
    """The mask as a PNG for the browser: opaque in the mask, transparent outside.

    It has at most :data:`MAX_SHOWN` pixels. Of several objects (uint8 H×W, numbers from 1, 0
    elsewhere), each has its label's colour.
    """
    height, width = shown_size(mask.shape[0], mask.shape[1])
    one = mask.dtype == np.bool_
    if (height, width) != mask.shape and one:
        mask = resize(mask.astype(np.uint8) * 255, height, width) > 127
    elif (height, width) != mask.shape:
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    file = io.BytesIO()
    picture = Pillow.fromarray(mask.astype(np.uint8), "P")
    colours = ["#FFFFFF"] if one else [LABELS[i % len(LABELS)] for i in range(int(mask.max()))]
    picture.putpalette([0, 0, 0, *(value for colour in colours for value in rgb(colour))])
    picture.save(file, "PNG", transparency=0, bits=1 if one else 8, compress_level=1)
    return file.getvalue()


def still(image: Image, drawn: tuple[Mask, Mask], mask: Mask) -> Image:
    """The canvas as one still picture of at most half a megapixel: strokes and mask tinted, and the
    mask outlined.

    Args:
        image: uint8 H×W×3 RGB.
        drawn: bool H×W each, the pixels brushed as object and as background.
        mask: bool H×W.

    Returns:
        uint8 h×w×3 RGB.
    """
    height, width = shown_size(mask.shape[0], mask.shape[1], 500_000)
    canvas = resize(image, height, width).astype(np.float32)
    areas = [cv2.resize(area.astype(np.uint8), (width, height)) for area in (*drawn, mask)]
    names, opacities = ("object", "background", "mask"), (0.4, 0.4, 0.3)
    for name, area, opacity in zip(names, areas, opacities, strict=True):
        colour = np.array(rgb(CANVAS[name]), np.float32)
        canvas[area > 0] += opacity * (colour - canvas[area > 0])
    outline, _ = cv2.findContours(areas[2], cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outline, -1, rgb(CANVAS["mask"]), 1)
    return canvas.round().astype(np.uint8)
