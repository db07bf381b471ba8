"""Pictures that people bring and take away: strokes in, masks and overlays out."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nseg_lib.data.records import (
    DataError,
)
from nseg_lib.files import write_atomic
from nseg_lib.palette import PALETTE, rgb

STROKE_COLOUR, MASK_COLOUR = rgb(PALETTE["stroke"]), rgb(PALETTE["refined mask"])
"""Of :func:`overlay`."""


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
    stored = open_picture(path)
    try:
        picture = turn(stored, None)
        luma = np.asarray(Image.fromarray(to_rgb(picture)).convert("L"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if like is not None and luma.shape != like[1].shape[:2]:
        own, photo = _size(stored, luma), _size(open_picture(like[0]), like[1])
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


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is read. A closed list, so that no picture starts a decoder that runs a program (EPS)."""


MAX_DECODED_PIXELS = 250_000_000
"""Pixels of the largest picture read; a data set's records have a lower limit of their own."""


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Any picture as uint8 H×W×3 RGB: grey, palette, CMYK, 16 bits (scaled to 8), alpha (on white).

    Args:
        path: a file of one of `FORMATS`; of several frames, the first is read.
        size: (height, width) of a COCO record; see `turn`. Without it, the picture is turned as its
            EXIF orientation says, as viewers show it.

    Raises:
        DataError: the file is missing, a folder, damaged or truncated, of another kind, larger than
            `MAX_DECODED_PIXELS`, or not of this size.
    """
    return as_rgb(path, open_picture(path), size)


def as_rgb(
    path: Path, picture: Image.Image, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """What `read_image` makes of the picture that `open_picture` decoded; errors name its path."""
    try:
        return to_rgb(turn(picture, size))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def open_picture(path: Path) -> Image.Image:
    """Decode a picture, as it is stored; raises DataError as `read_image` does."""
    try:
        with _open(path) as picture:
            if picture.width * picture.height > MAX_DECODED_PIXELS:
                size = f"{picture.width}x{picture.height}"
                raise DataError(f"{path}: too large: {size} pixels, at most {MAX_DECODED_PIXELS:,}")
            picture.load()
            return picture
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such picture") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder, not a picture") from error
    except Exception as error:  # on damaged files, Pillow's decoders raise nearly anything
        reason = " ".join(str(error).replace(repr(str(path)), "").split())
        raise DataError(f"{path}: not a readable picture: {reason}") from error


_OPENING = Lock()


def _open(path: Path) -> Image.Image:
    """Read a picture's header, without the limit that Pillow has for all of a process: it warns
    before it refuses, and does not tell the size."""
    with _OPENING:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def turn(picture: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Turn a picture as its EXIF orientation says, if its record's (height, width) asks for it.

    COCO's annotations count stored pixels. So a picture whose stored size is its record's is left
    as it is, whatever EXIF says; one that has the record's size after turning is turned.

    Raises:
        DataError: it has the record's size neither way, or its EXIF data is damaged.
    """
    if size == (picture.height, picture.width):
        return picture
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception as error:  # as in open_picture
        raise DataError(f"its EXIF data is damaged: {error}") from error
    if size is not None and (upright.height, upright.width) != size:
        found = f"{picture.width}x{picture.height}"
        raise DataError(f"the picture is {found}, its record says {size[1]}x{size[0]}")
    return upright


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A decoded picture as uint8 H×W×3 RGB; DataError for 32-bit pixels, whose range is unknown."""
    if picture.mode == "F":
        raise DataError("floating-point pixels; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow may hold in 32 bits
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError("32-bit pixels; save it with 8 or 16 bits")
        return np.repeat(((values + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def rescale(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    stroke: NDArray[np.bool_],
    scale: float,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Shrink a picture, its mask and its stroke together, by area averaging.

    The stroke is drawn at native size first, so that it keeps its proportion to the object.
    """
    if scale == 1:
        return image, mask, stroke
    height, width = scaled_size(mask.shape[0], mask.shape[1], scale)

    def shrink(array: NDArray[Any]) -> NDArray[Any]:
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)

    masks = [shrink(m.astype(np.float32)) >= 0.5 for m in (mask, stroke)]
    return shrink(image), masks[0], masks[1]


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width in pixels after :func:`rescale`, at least 1.

    Raises:
        ValueError: a scale that is not above 0 and at most 1.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale must be above 0 and at most 1, got {scale}")
    return max(1, round(height * scale)), max(1, round(width * scale))
