"""The files that `nseg refine` writes: a mask, and a picture with the mask drawn on it."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.records import DataError
from nseg_lib.files import sha256, write_atomic
from nseg_lib.palette import PALETTE, rgb

STROKE_COLOUR, MASK_COLOUR = rgb(PALETTE["stroke"]), rgb(PALETTE["refined mask"])
"""Of :func:`overlay`."""

MADE_FROM = "nseg made from"
"""Key of the text in a mask's file by which `check_default` knows it again."""


def overlay(image: Image, stroke: Mask, mask: Mask) -> Image:
    """A picture with its stroke outlined in orange and its mask tinted and outlined in blue.

    All are of one height and width; the result is uint8 H×W×3 RGB as the picture is.
    """
    shown = image.copy()
    for channel, value in enumerate(MASK_COLOUR):  # by a table: pixels as floats take memory
        tinted = (np.arange(256) * 0.6 + value * 0.4).astype(np.uint8)
        shown[mask, channel] = tinted[image[mask, channel]]
    width = max(1, round(max(mask.shape) / 400))
    for area, colour in ((stroke, STROKE_COLOUR), (mask, MASK_COLOUR)):
        edges, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, edges, -1, colour, width)
    return shown


def check_target(path: Path, option: str, kept: Iterable[Path] = ()) -> None:
    """Refuse, before anything is computed, a path that a PNG should not or cannot be written to.

    Args:
        path: where it is to go.
        option: what the user calls it, for messages.
        kept: files that must not be written over.

    Raises:
        DataError: it is a folder, one of ``kept``, not named ``.png``, or its folder is none.
    """
    for other in kept:
        # By name, as neither may exist; then as the disk has it, for which A.png may be a.png.
        there = path.exists() and other.exists()
        if path.resolve() == other.resolve() or (there and path.samefile(other)):
            raise DataError(f"{option} {path}: would overwrite {other}; choose another name")
    if path.is_dir():
        problem = "is a folder; a .png file is needed"
    elif path.suffix.lower() != ".png":
        problem = "only PNG is written; choose a name that ends in .png"
    elif not path.parent.is_dir():
        said = "is no folder" if path.parent.exists() else "does not exist"
        problem = f"the folder {path.parent} {said}"
    else:
        return
    raise DataError(f"{option} {path}: {problem}")


def check_default(path: Path, photo: Path) -> None:
    """Refuse to write over a mask that was not made from this photograph.

    For the name that is used where none is asked for: `photo.png`, `photo.jpg` and
    `other/photo.png` share it. Made from this photograph is a mask that :func:`write_png` made from
    the file of this path, or of this content.

    Raises:
        DataError: the file is there, and was made from something else.
    """
    if not path.exists():
        return
    held: dict[Any, Any] = {}
    with suppress(OSError, ValueError, SyntaxError), Pillow.open(path, formats=["PNG"]) as picture:
        held = dict(picture.info)
    if not set(_identity(photo)) & set(str(held.get(MADE_FROM, "")).split()):
        other = f"was made from {held['Source']}" if MADE_FROM in held else "is there already"
        raise DataError(f"{path}: {other}, not from {photo}; name the mask with -o")


def _identity(photo: Path) -> tuple[str, str]:
    """Hashes of a photograph's path and content; a mask that travels names no folder."""
    return hashlib.sha256(os.fsencode(photo.resolve())).hexdigest(), sha256(photo)


def write_png(path: Path, pixels: NDArray[Any], photo: Path | None = None) -> None:
    """Write bool H×W (as 0 and 255) or uint8 H×W×3 as PNG, whatever the name's ending, atomically.

    `photo` is what it was made from, which the file then tells.

    Raises:
        OSError: it cannot be written.
    """
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
    texts = PngInfo()
    if photo is not None:
        # A name may hold bytes that are no UTF-8, which the text cannot.
        texts.add_itxt("Source", photo.name.encode(errors="replace").decode())
        texts.add_text(MADE_FROM, " ".join(_identity(photo)))
    encoded = io.BytesIO()
    Pillow.fromarray(values).save(encoded, "PNG", pnginfo=texts)
    write_atomic(path, encoded.getvalue())
