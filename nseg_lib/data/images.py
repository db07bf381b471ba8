"""Read picture files, turned as they are shown or as they are stored."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms, ImageFile, PngImagePlugin, UnidentifiedImageError, features
from PIL.ExifTags import Base as Tag

from nseg_lib import extras, limits
from nseg_lib.arrays import Image
from nseg_lib.data.records import DataError

HEIF = find_spec("pillow_heif") is not None  # the extra "heif"
if HEIF:
    import_module("pillow_heif").register_heif_opener()

FORMATS = (
    *("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"),
    *(("AVIF",) if features.check("avif") else ()),
    *(("HEIF",) if HEIF else ()),
)
"""What is read. A closed list, so that no picture starts a decoder that runs a program (EPS)."""

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


class Stored(NamedTuple):
    """A decoded picture file, its pixels as they are stored, and what decoding forgets."""

    picture: Pillow.Image
    """Of 8 bits per channel, but for grey of 16 bits."""
    height: int
    width: int
    orientation: int
    """As EXIF has it; 1, as for viewers, where there is none or it cannot be read."""
    white: int | None
    """The value of 16 bits that is read as white; None for a picture of 8 bits."""
    page: int
    """Number of the page or frame that was read, from 0."""
    pages: int
    """Pages or frames of the file."""

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width once the picture is turned as EXIF says."""
        turned = self.orientation >= 5
        return (self.width, self.height) if turned else (self.height, self.width)


def read_image(path: Path, size: tuple[int, int] | None = None) -> Image:
    """Any picture as uint8 H×W×3 RGB.

    Grey, palettes and CMYK become RGB, 16 bits become 8 (see :func:`white_of`), and what is clear
    is laid on white.

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


def as_rgb(path: Path, stored: Stored, size: tuple[int, int] | None = None) -> Image:
    """What `read_image` makes of the picture that `open_picture` decoded; errors name its path."""
    try:
        picture = turn(stored, size)
        return to_rgb(picture if size is not None else _to_srgb(picture))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def open_picture(path: Path, *, reduced: bool = False) -> Stored:
    """Decode a picture, as it is stored; raises DataError as `read_image` does.

    `reduced`: to see whether it can be read; a JPEG is decoded at an eighth of its size, which
    finds the same faults in half the time. Height and width are those of the file all the same.
    """
    if isinstance(path, Path) and path.exists() and not path.is_file():
        # Reading a pipe might never end.
        raise DataError(f"{path}: is {'a folder' if path.is_dir() else 'no file'}, not a picture")
    try:
        with _open(path) as file:
            _check_size(file)
            page = _first_page(file)
            if page > 0:
                file.seek(page)
                _check_size(file)
            kind, width, height = file.format, file.width, file.height
            if kind == "PNG":
                with _open(path) as twin:
                    twin.verify()  # its checksums, which decoding leaves aside
            if reduced:
                file.draft(None, (width // 8, height // 8))
            # The second picture in an MPO is a preview, or a map of brightness.
            pages = 1 if kind == "MPO" else getattr(file, "n_frames", 1)
            picture, orientation, white = _decode(file)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such picture") from error
    except PermissionError as error:
        raise DataError(f"{path}: not a readable picture: no permission to read it") from error
    except UnidentifiedImageError as error:
        if isinstance(path, Path) and not path.stat().st_size:
            raise DataError(f"{path}: not a readable picture: the file is empty") from error
        raise DataError(
            f"{path}: not a readable picture: cannot identify image file; read are "
            f"{', '.join(FORMATS)}, with unsigned integers of 8 or 16 bits{heif_hint([str(path)])}"
        ) from error
    except Exception as error:  # on damaged files, Pillow's decoders raise nearly anything
        reason = " ".join(str(error).replace(repr(str(path)), "").split())
        raise DataError(f"{path}: not a readable picture: {reason}") from error
    if kind == "TIFF" and orientation >= 5:  # Pillow tells the size of the turned picture
        width, height = height, width
    return Stored(picture, height, width, orientation, white, page, pages)


def _decode(file: ImageFile.ImageFile) -> tuple[Pillow.Image, int, int | None]:
    """The pixels of an opened file as they are stored, its orientation, the white of 16 bits."""
    kind, mode, tags = file.format, file.mode, getattr(file, "tag_v2", {})
    depth = str(file.tile[0][3]) if file.tile else ""  # Pillow's name for the bits' arrangement
    sixteen, colours = "16" in depth or "65535" in depth, not mode.startswith(("I", "F"))
    if mode == "L" and 2 in np.atleast_1d(tags.get(Tag.SampleFormat, 1)):
        raise DataError("signed pixels; save it with unsigned ones")
    if colours and not sixteen and max(np.atleast_1d(tags.get(Tag.BitsPerSample, 8))) > 8:
        raise DataError("16 bits in planes, a plane per channel; save it with 8 bits")
    picture, white = None, None
    if sixteen and colours and file.tell() == 0:
        picture, white = _deep_colours(file)
    orientation = 1
    with suppress(Exception):  # as in `open_picture`; this decodes a PNG, whose EXIF may come last
        value = file.getexif().get(Tag.Orientation, 1)
        orientation = value if value in UPRIGHT else 1
    if picture is None:
        file.load()
        picture, white = file, 65535 if sixteen else None  # the upper 8 bits of 16
    if sixteen and mode.startswith("I"):
        values = np.asarray(picture)
        white = white_of(int(values.max()))
        # At 0 the lowest value is white, which Pillow knows of 8 bits only.
        if tags.get(Tag.PhotometricInterpretation) == 0:
            picture = Pillow.fromarray(white - values)
    if kind == "TIFF" and orientation > 1:
        # TIFFs alone are turned as they are decoded; here that is for `turn`.
        back = {6: UPRIGHT[8], 8: UPRIGHT[6]}.get(orientation, UPRIGHT[orientation])
        picture = picture.transpose(back)
    if depth in ("L;2", "L;4") and isinstance(picture.info.get("transparency"), int):
        # Pillow scales the greys of 2 and 4 bits to 8, but not the one that is clear (#9281).
        picture.info["transparency"] *= 255 // (2 ** int(depth[2]) - 1)
    if kind == "BMP" and picture.mode == "RGBA" and not picture.getchannel("A").getbbox():
        picture = picture.convert("RGB")  # programs that know no alpha leave its bytes at 0
    return picture, orientation, white


def _deep_colours(file: ImageFile.ImageFile) -> tuple[Pillow.Image | None, int | None]:
    """Colours of 16 bits as 8, and their white; nothing where OpenCV does not read them.

    Pillow keeps the upper 8 bits, which are dark where a camera uses 12 of 16.
    """
    assert file.fp is not None
    here = file.fp.tell()
    file.fp.seek(0)
    content = np.frombuffer(file.fp.read(), np.uint8)
    file.fp.seek(here)
    deep = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return None, None
    white = white_of(int(deep[..., :3].max()))
    colours = _in_8_bits(deep[..., 2::-1], white)
    if deep.shape[2] == 4:
        colours = np.dstack([colours, _in_8_bits(deep[..., 3], 65535)])
    picture = Pillow.fromarray(colours)
    if profile := file.info.get("icc_profile"):
        picture.info["icc_profile"] = profile
    return picture, white


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


def _check_size(picture: ImageFile.ImageFile) -> None:
    """Refuse, before memory is taken, a header that claims more pixels than can be meant."""
    pixels, size = picture.width * picture.height, f"{picture.width}x{picture.height} pixels"
    if pixels > limits.MAX_PICTURE_PIXELS:
        raise DataError(f"too large: {size}, at most {limits.MAX_PICTURE_PIXELS:,}")
    if picture.format == "PNG" and picture.fp is not None:
        here = picture.fp.tell()
        length = picture.fp.seek(0, 2)
        picture.fp.seek(here)
        if pixels / 8 > limits.MAX_PNG_RATIO * length:  # 1 bit per pixel at least
            raise DataError(
                f"not a readable picture: {length:,} bytes cannot hold the {size} it claims"
            )


def _first_page(picture: Pillow.Image) -> int:
    """The first page that is no smaller copy of another: cameras' TIFFs begin with a thumbnail."""
    pages = getattr(picture, "n_frames", 1)
    if picture.format != "TIFF" or pages == 1:
        return 0
    try:
        for number in range(pages):
            picture.seek(number)
            # The lowest bit marks a smaller copy.
            if not int(picture.tag_v2.get(Tag.NewSubfileType, 0)) & 1:  # type: ignore[attr-defined]
                return number
        return 0
    finally:
        picture.seek(0)


def turn(stored: Stored, size: tuple[int, int] | None) -> Pillow.Image:
    """Turn a picture as its EXIF orientation says, if its record's (height, width) asks for it.

    COCO's annotations count stored pixels. So a picture whose stored size is its record's is left
    as it is, whatever EXIF says; one that has the record's size after turning is turned.

    Raises:
        DataError: it has the record's size neither way.
    """
    height, width = stored.height, stored.width
    if size == (height, width) or (size is None and stored.orientation == 1):
        return stored.picture
    if size not in (None, stored.upright):
        raise DataError(f"the picture is {width}x{height}, its record says {size[1]}x{size[0]}")
    return stored.picture.transpose(UPRIGHT[stored.orientation])


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

    Raises:
        DataError: pixels of another kind, whose range is unknown.
    """
    if picture.mode == "F":
        raise DataError("floating-point pixels; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow may hold in 32 bits
        values = np.asarray(picture)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise DataError(
                f"32-bit or signed pixels, from {low} to {high}; save it with 8 bits, or 16 from 0"
            )
        return np.repeat(_in_8_bits(values, white_of(high))[..., None], 3, axis=2)
    try:
        if picture.has_transparency_data:
            picture = to_rgba(picture)
            picture = Pillow.alpha_composite(Pillow.new("RGBA", picture.size, "white"), picture)
        return np.array(picture.convert("RGB"))
    except ValueError as error:
        raise DataError(f"pixels of mode {picture.mode} are not read: {error}") from error


def to_rgba(picture: Pillow.Image) -> Pillow.Image:
    """A picture in colours and alpha; from alpha that is multiplied in there is no direct way."""
    mode = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)
    return picture.convert(mode).convert("RGBA")


def white_of(highest: int) -> int:
    """What is read as white in a picture of 16 bits, given its highest value.

    Cameras and microscopes store 10, 12 or 14 bits in 16. So white is the largest number of the
    fewest bits, from 8 on, that can hold the highest value.
    """
    return 2 ** max(8, highest.bit_length()) - 1


def _in_8_bits(values: NDArray[np.integer[Any]], white: int) -> NDArray[np.uint8]:
    """Values from 0 to `white` as the nearest of 0 to 255."""
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def notes(stored: Stored, size: tuple[int, int] | None = None) -> list[Note]:
    """What in a picture is converted or left out when :func:`read_image` reads it."""
    picture, found = stored.picture, []
    if picture.mode == "CMYK" and size is not None:
        found.append(("CMYK picture", "", "converted to RGB, without its colour profile"))
    if stored.white is not None:
        outcome = f"its range of 0 to {stored.white} is scaled to 8 bits"
        found.append(("16-bit picture", f"mode {picture.mode}", outcome))
    if picture.has_transparency_data:
        found.append(("transparent picture", f"mode {picture.mode}", "laid on white"))
    if stored.pages > 1:
        outcome = f"page {stored.page + 1} is read" if stored.page else "the first is read"
        found.append(("several frames", f"{stored.pages}", outcome))
    if stored.orientation != 1:
        as_stored = size == (stored.height, stored.width)
        outcome = "not turned: its stored size is its record's" if as_stored else "turned"
        found.append(("EXIF orientation", f"{stored.orientation}", outcome))
    return found


def tell_unusual(path: Path, stored: Stored, warn: Callable[[str], None]) -> None:
    """Tell ``warn`` if a file has several frames, of which one is read, or 16 bits of which only
    a part is used, as of greys from a camera."""
    for unusual, detail, outcome in notes(stored):
        if unusual == "several frames" or (unusual == "16-bit picture" and "65535" not in outcome):
            warn(f"{path}: {unusual} ({detail}): {outcome}")


def heif_hint(names: Iterable[str]) -> str:
    """How to have HEIC read, with a semicolon before it, if one of the files is one; else ""."""
    missing = not HEIF and any(n.lower().endswith((".heic", ".heif")) for n in names)
    return f"; for HEIC: {extras.install_command('heif')}" if missing else ""


def list_pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder in the order of their names, and the names of its other files.

    Numbers are ordered by value: 2 before 10. Hidden files, such as the ``._1.jpg`` that macOS
    leaves beside ``1.jpg``, folders and JSON files are neither.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    Pillow.init()
    suffixes = {suffix for suffix, kind in Pillow.EXTENSION.items() if kind in FORMATS}
    files = [p for p in folder.iterdir() if not p.is_dir() and not p.name.startswith(".")]
    # A link that leads nowhere and a pipe are no files, and are named among the others.
    pictures = [p for p in files if p.is_file() and p.suffix.lower() in suffixes]
    if not pictures:
        raise DataError(f"{folder}: no pictures in it; read are {', '.join(FORMATS)}")
    rest = {p.name for p in files} - {p.name for p in pictures}
    others = [name for name in rest if not name.lower().endswith((".json", ".part"))]
    return sorted(pictures, key=lambda p: _natural(p.name)), sorted(others, key=_natural)


def _natural(name: str) -> tuple[Any, ...]:
    """A key that orders names by their words and, where these agree, numbers by their value."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name
