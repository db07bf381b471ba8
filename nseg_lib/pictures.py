"""Pictures that people bring and take away: strokes in, masks and overlays out."""

from __future__ import annotations

import io
from collections.abc import Iterable
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


Like = tuple[Path, NDArray[np.uint8]]
"""Path and pixels of the picture that a stroke or mask belongs to."""


def read_stroke(path: Path, like: Like | None = None) -> NDArray[np.bool_]:
    """As :func:`read_mask`, with something brushed.

    Raises:
        DataError: as :func:`read_mask`, or nothing is brushed.
    """
    stroke = read_mask(path, like, "stroke")
    if not stroke.any():
        raise DataError(
            f"{path}: nothing is brushed, and an object stroke is always needed; "
            "paint white on black, or on a clear layer"
        )
    return stroke


def read_mask(path: Path, like: Like | None = None, name: str = "mask") -> NDArray[np.bool_]:
    """Read what was painted white on black, or in any colour on a clear layer.

    Where most of the picture is clear, what is opaque counts, whatever its colour. Else what is
    both opaque and bright does, so that a few clear pixels change nothing. Only where nothing is,
    and a tenth of the picture is clear, was a large part of a clear layer painted in a dark colour:
    what is opaque counts again.

    Args:
        path: a picture file; alpha above 127 is opaque, luma above 127 is bright. It is turned as
            its EXIF says, as the photograph is.
        like: the sizes must agree.
        name: what messages call it.

    Returns:
        bool H×W, perhaps all False.

    Raises:
        DataError: not a picture, of another size, the photograph itself with something painted on
            it, or neither black nor with anything bright, such as a mask of 0 and 1.
    """
    stored = coco.open_picture(path)
    try:
        picture = coco.turn(stored, None)
        luma = np.asarray(Image.fromarray(coco.to_rgb(picture)).convert("L"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if like is not None and luma.shape != like[1].shape[:2]:
        own, photo = _size(stored, luma), _size(coco.open_picture(like[0]), like[1])
        raise DataError(f"{path}: the {name} is {own}, but {like[0]} is {photo}; they must agree")
    painted = luma > 127
    if picture.has_transparency_data:
        opaque = np.asarray(picture.convert("RGBA").getchannel("A")) > 127
        painted &= opaque
        clear = 1 - opaque.mean()
        if clear > 0.5 or (clear > 0.1 and not painted.any()):
            return opaque
    if like is not None and _shows(luma, like[1]):
        raise DataError(
            f"{path}: shows {like[0]} itself; a {name} is white on black, or in any colour on a "
            "clear layer of its own"
        )
    if not painted.any():
        deep = picture.mode.startswith("I")  # 16 bits
        brightest = int(np.max(np.asarray(picture) if deep else luma))
        if brightest:
            white = 65535 if deep else 255
            raise DataError(
                f"{path}: its brightest value is {brightest}; a {name} is {white} on 0, or on clear"
            )
    return painted


def _shows(luma: NDArray[np.uint8], photo: NDArray[np.uint8]) -> bool:
    """Whether most of what is neither dark nor bright in a photograph is the same in ``luma``."""
    of_photo = np.asarray(Image.fromarray(photo).convert("L"))
    grey = (of_photo > 48) & (of_photo < 208)
    same = np.abs(luma[grey].astype(np.int16) - of_photo[grey]) <= 8
    return bool(grey.any() and same.mean() > 0.5)


def _size(stored: Image.Image, shown: NDArray[Any]) -> str:
    height, width = shown.shape[:2]
    turned = "" if stored.size == (width, height) else " (turned as its EXIF says)"
    return f"{width}x{height} pixels{turned}"


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
    over = next((other for other in kept if _same(path, other)), None)
    if path.is_dir():
        problem = "is a folder; a .png file is needed"
    elif over is not None:
        problem = f"would overwrite {over}; choose another name"
    elif path.suffix.lower() != ".png":
        problem = "only PNG is written; choose a name that ends in .png"
    elif not path.parent.is_dir():
        said = "is no folder" if path.parent.exists() else "does not exist"
        problem = f"the folder {path.parent} {said}"
    else:
        return
    raise DataError(f"{option} {path}: {problem}")


def _same(one: Path, other: Path) -> bool:
    # By name, as neither may exist; then as the disk has it, for which A.png may be a.png.
    there = one.exists() and other.exists()
    return one.resolve() == other.resolve() or (there and one.samefile(other))


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write bool H×W (as 0 and 255) or uint8 H×W×3 as PNG, whatever the name's ending, atomically.

    Raises:
        OSError: it cannot be written.
    """
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
    encoded = io.BytesIO()
    Image.fromarray(values).save(encoded, "PNG")
    write_atomic(path, encoded.getvalue())
