"""Pictures that people bring and take away: strokes in, masks and overlays out."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nseg_lib import coco
from nseg_lib.coco import DataError
from nseg_lib.provenance import write_atomic

STROKE_COLOUR = (230, 159, 0)
MASK_COLOUR = (0, 114, 178)
"""Orange and blue of Okabe and Ito's palette, told apart by colour-blind readers too."""


def read_stroke(
    path: Path, like: tuple[Path, NDArray[np.uint8]] | None = None
) -> NDArray[np.bool_]:
    """Read a drawn stroke: opaque pixels where the file has transparency, else bright ones.

    Args:
        path: a picture file; alpha above 127 counts as brushed or, in a file without any
            transparent pixel, a luma above 127.
        like: path and pixels of the picture that the stroke belongs to; sizes must agree.

    Returns:
        bool H×W.

    Raises:
        DataError: not a picture, of another size, or with nothing brushed.
    """
    stored = coco.open_picture(path)
    try:
        picture = coco.turn(stored, None)  # as the photograph is
        alpha = np.full((picture.height, picture.width), 255, np.uint8)
        if picture.has_transparency_data:
            alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
        bright = np.asarray(Image.fromarray(coco.to_rgb(picture)).convert("L"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    stroke = (bright if alpha.min() > 127 else alpha) > 127
    if like is not None and stroke.shape != like[1].shape[:2]:
        (height, width), (tall, wide) = stroke.shape, like[1].shape[:2]
        raise DataError(
            f"{path}: the stroke is {width}x{height} pixels, but {like[0]} is {wide}x{tall}; "
            "they must agree"
        )
    if not stroke.any():
        raise DataError(f"{path}: nothing is brushed; paint white on black, or on a clear layer")
    return stroke


def overlay(
    image: NDArray[np.uint8], stroke: NDArray[np.bool_], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """A picture with its stroke outlined in orange and its mask tinted and outlined in blue.

    Args:
        image: uint8 H×W×3 RGB. stroke, mask: bool H×W.

    Returns:
        uint8 H×W×3 RGB.
    """
    shown = image.copy()
    tinted = image[mask] * 0.6 + np.array(MASK_COLOUR) * 0.4
    shown[mask] = tinted.astype(np.uint8)
    width = max(1, round(max(mask.shape) / 400))
    for area, colour in ((stroke, STROKE_COLOUR), (mask, MASK_COLOUR)):
        edges, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, edges, -1, colour, width)
    return shown


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write bool H×W (as 0 and 255) or uint8 H×W×3 as PNG, whatever the name's ending, atomically.

    Raises:
        DataError: the folder does not exist.
    """
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist")
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
    encoded = io.BytesIO()
    Image.fromarray(values).save(encoded, "PNG")
    write_atomic(path, encoded.getvalue())
