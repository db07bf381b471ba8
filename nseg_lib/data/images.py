"""Picture files: read as they are shown or as a data set counts their pixels, and written."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms, ImageFile, PngImagePlugin, UnidentifiedImageError

from nseg_lib import limits
from nseg_lib.arrays import Image, Mask
from nseg_lib.data.records import DataError
from nseg_lib.files import write_atomic
from nseg_lib.palette import PALETTE, rgb

STROKE_COLOUR, MASK_COLOUR = rgb(PALETTE["stroke"]), rgb(PALETTE["refined mask"])
"""Of :func:`overlay`."""


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is read. A closed list, so that no picture starts a decoder that runs a program (EPS)."""

ORIENTATION = 0x0112
"""EXIF tag of the orientation, 1 to 8; 1 is upright."""

REDUCED = 0x00FE
"""TIFF tag that marks a page, by its lowest bit, as a smaller copy of another."""

UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""EXIF orientation → what brings the stored pixels upright (EXIF 2.32, 4.6.4)."""

Note = tuple[str, str, str]
"""What is unusual about a picture, the particulars, and what reading makes of it."""

# Pillow's own limit, 1 MB, refuses the pictures that carry their generator's workflow as text.
PngImagePlugin.MAX_TEXT_CHUNK = limits.MAX_PNG_TEXT


def read_image(path: Path, size: tuple[int, int] | None = None) -> Image:
    """Any picture as uint8 H×W×3 RGB.

    Grey, palettes and CMYK become RGB, 16 bits become 8 (see :func:`to_rgb`), and what is clear is
    laid on white.

    Args:
        path: a file of one of :data:`FORMATS`; of several frames or pages, the first is read.
        size: (height, width) of a COCO record; see :func:`turn`. Without it, the picture is read as
            viewers show it: turned as its EXIF orientation says, and its colours converted from its
            profile to sRGB. With it, they are as they are stored, as all readers of COCO have them.

    Raises:
        DataError: the file is missing, a folder, damaged or truncated, of another kind, larger than
            `limits.MAX_PICTURE_PIXELS`, or not of this size.
    """
    return as_rgb(path, open_picture(path), size)


def as_rgb(path: Path, picture: Pillow.Image, size: tuple[int, int] | None = None) -> Image:
    """What `read_image` makes of the picture that `open_picture` decoded; errors name its path."""
    try:
        picture = turn(picture, size)
        return to_rgb(picture if size is not None else _to_srgb(picture))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def open_picture(path: Path) -> Pillow.Image:
    """Decode a picture, as it is stored; raises DataError as `read_image` does."""
    try:
        with _open(path) as file:
            _check_claim(path, file)
            if _first_page(file) > 0:
                file.seek(_first_page(file))
                _check_claim(path, file)
            depth = str(file.tile[0][3]) if file.tile else ""  # gone once decoded
            orientation = _orientation(file)
            file.load()
            picture: Pillow.Image = file
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such picture") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder, not a picture") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: not a readable picture: cannot identify image file; "
            f"read are {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # on damaged files, Pillow's decoders raise nearly anything
        reason = " ".join(str(error).replace(repr(str(path)), "").split())
        raise DataError(f"{path}: not a readable picture: {reason}") from error

    kind = picture.format
    if kind == "TIFF" and orientation != _orientation(picture):
        # Pillow turns TIFFs, and no other format, as it decodes them; here that is for `turn`.
        back = {6: UPRIGHT[8], 8: UPRIGHT[6]}.get(orientation, UPRIGHT[orientation])
        picture = picture.transpose(back)
        picture.getexif()[ORIENTATION] = orientation
    if depth in ("L;2", "L;4") and isinstance(picture.info.get("transparency"), int):
        # Pillow scales the greys of 2 and 4 bits to 8, but not the one that is clear (#9281).
        picture.info["transparency"] *= 255 // (2 ** int(depth[2]) - 1)
    if kind == "BMP" and picture.mode == "RGBA" and not picture.getchannel("A").getbbox():
        return picture.convert("RGB")  # programs that know no alpha leave its bytes at 0
    return picture


_OPENING = Lock()


def _open(path: Path) -> ImageFile.ImageFile:
    """Read a picture's header, without the limit that Pillow has for all of a process: it warns
    before it refuses, and does not tell the size."""
    with _OPENING:
        before, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            return Pillow.open(path, formats=FORMATS)
        finally:
            Pillow.MAX_IMAGE_PIXELS = before


def _check_claim(path: Path, picture: ImageFile.ImageFile) -> None:
    """Refuse, before memory is taken, a header that claims more pixels than can be meant."""
    pixels, size = picture.width * picture.height, f"{picture.width}x{picture.height} pixels"
    if pixels > limits.MAX_PICTURE_PIXELS:
        raise DataError(f"{path}: too large: {size}, at most {limits.MAX_PICTURE_PIXELS:,}")
    if picture.format == "PNG" and picture.fp is not None:
        here = picture.fp.tell()
        length = picture.fp.seek(0, 2)
        picture.fp.seek(here)
        if pixels / 8 > limits.MAX_PNG_RATIO * length:  # 1 bit per pixel at least
            raise DataError(
                f"{path}: not a readable picture: {length:,} bytes cannot hold the {size} it claims"
            )


def _first_page(picture: Pillow.Image) -> int:
    """The first page that is no smaller copy of another: cameras' TIFFs begin with a thumbnail."""
    pages = getattr(picture, "n_frames", 1)
    if picture.format != "TIFF" or pages == 1:
        return 0
    try:
        for number in range(pages):
            picture.seek(number)
            if not int(picture.tag_v2.get(REDUCED, 0)) & 1:  # type: ignore[attr-defined]
                return number
        return 0
    finally:
        picture.seek(0)


def _orientation(picture: Pillow.Image) -> int:
    """The EXIF orientation; 1, as for viewers, where there is none or it cannot be read."""
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # as in open_picture
        return 1
    return value if value in UPRIGHT else 1


def turn(picture: Pillow.Image, size: tuple[int, int] | None) -> Pillow.Image:
    """Turn a picture as its EXIF orientation says, if its record's (height, width) asks for it.

    COCO's annotations count stored pixels. So a picture whose stored size is its record's is left
    as it is, whatever EXIF says; one that has the record's size after turning is turned.

    Raises:
        DataError: it has the record's size neither way.
    """
    if size == (picture.height, picture.width):
        return picture
    orientation = _orientation(picture)
    upright = picture.transpose(UPRIGHT[orientation]) if orientation > 1 else picture
    if size is not None and (upright.height, upright.width) != size:
        found = f"{picture.width}x{picture.height}"
        raise DataError(f"the picture is {found}, its record says {size[1]}x{size[0]}")
    return upright


def _to_srgb(picture: Pillow.Image) -> Pillow.Image:
    """The colours of a picture with a profile, as sRGB has them; as viewers do, a profile that is
    broken or made for other channels is left aside."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return picture
        mode, srgb = "RGBA" if picture.mode == "RGBA" else "RGB", ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, own, srgb, outputMode=mode) or picture
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return picture


def to_rgb(picture: Pillow.Image) -> Image:
    """A decoded picture as uint8 H×W×3 RGB.

    Grey of 16 bits is scaled to 8 by the smallest range of 8, 9 … 16 bits that holds its values:
    cameras and microscopes store 10, 12 or 14 bits in 16.

    Raises:
        DataError: pixels of another kind, whose range is unknown.
    """
    if picture.mode == "F":
        raise DataError("floating-point pixels; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow may hold in 32 bits
        values = np.asarray(picture).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise DataError(
                f"32-bit or signed pixels, from {low} to {high}; save it with 8 bits, or 16 from 0"
            )
        white = white_of(high)
        return np.repeat(
            ((values * 255 + white // 2) // white).astype(np.uint8)[..., None], 3, axis=2
        )
    try:
        if picture.has_transparency_data:
            # From alpha that is multiplied in there is no direct way.
            mode = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)
            picture = picture.convert(mode).convert("RGBA")
            picture = Pillow.alpha_composite(Pillow.new("RGBA", picture.size, "white"), picture)
        return np.array(picture.convert("RGB"))
    except ValueError as error:
        raise DataError(f"pixels of mode {picture.mode} are not read: {error}") from error


def white_of(highest: int) -> int:
    """The largest value that as many bits hold as this one needs, at least 8: 4095 for 3200."""
    return 2 ** max(8, highest.bit_length()) - 1


def deep_values(picture: Pillow.Image, rgb: Image) -> NDArray[np.integer[Any]]:
    """A picture's own values: H×W grey levels, of 16 bits too, or H×W×3 where it has colours."""
    if picture.mode.startswith("I"):
        return np.asarray(picture)
    grey = (rgb == rgb[..., :1]).all()
    return rgb[..., 0] if grey else rgb


def notes(path: Path, size: tuple[int, int] | None = None) -> list[Note]:
    """What in a picture is converted or left out when it is read, for people to know.

    Args:
        path: a picture file; one that cannot be read has no notes.
        size: as for :func:`read_image`.
    """
    try:
        with _open(path) as picture:
            sixteen = any("16" in str(tile[3]) for tile in picture.tile)  # gone once decoded
            frames, page = getattr(picture, "n_frames", 1), _first_page(picture)
            mode, alpha = picture.mode, picture.has_transparency_data and picture.format != "BMP"
            orientation, (width, height) = _orientation(picture), picture.size
            if picture.format == "TIFF" and orientation >= 5:  # Pillow tells the turned size
                width, height = height, width
        # Only grey of 16 bits has to be decoded for its notes.
        deep = sixteen and mode.startswith("I")
        white = white_of(int(np.asarray(open_picture(path)).max())) if deep else 65535
    except Exception:  # reading it will say so
        return []
    found = []
    if mode == "CMYK" and size is not None:
        found.append(("CMYK picture", "", "converted to RGB, without its colour profile"))
    if sixteen:
        outcome = f"its range of 0 to {white} is scaled to 8 bits"
        found.append(("16-bit picture", f"mode {mode}", outcome))
    if alpha:
        found.append(("transparent picture", f"mode {mode}", "laid on white"))
    if frames > 1:
        outcome = f"page {page + 1} is read" if page else "the first is read"
        found.append(("several frames", f"{frames}", outcome))
    if orientation != 1:
        stored = size == (height, width)
        outcome = "not turned: its stored size is its record's" if stored else "turned"
        found.append(("EXIF orientation", f"{orientation}", outcome))
    return found


def rescale(image: Image, mask: Mask, stroke: Mask, scale: float) -> tuple[Image, Mask, Mask]:
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


# --- written --------------------------------------------------------------------------------------


def overlay(image: Image, stroke: Mask, mask: Mask) -> Image:
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
    Pillow.fromarray(values).save(encoded, "PNG")
    write_atomic(path, encoded.getvalue())
