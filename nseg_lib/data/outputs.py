"""The files of results: a mask, a COCO annotation, a picture with the mask drawn on it."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.coco import mask_to_rle, outlines
from nseg_lib.data.images import UPRIGHT
from nseg_lib.data.records import DataError, Record
from nseg_lib.files import check_writable, sha256, write_atomic
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
        OSError: no file can be made there.
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
        check_writable(path)
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
    if not (path.exists() and photo.is_file()):  # that there is no photograph, its reader says
        return
    held: dict[Any, Any] = {}
    with suppress(OSError, ValueError, SyntaxError), Pillow.open(path, formats=["PNG"]) as picture:
        held = dict(picture.info)
    if not set(_identity(photo)) & set(str(held.get(MADE_FROM, "")).split()):
        other = f"was made from {held['Source']}" if MADE_FROM in held else "is there already"
        raise DataError(f"{path}: {other}, not from {photo}; name the mask with -o")


def as_readers_turn(mask: Mask, orientation: int) -> Mask:
    """Turn the mask of an upright picture so that it fits the picture as COCO readers see it.

    A COCO record holds a picture's size, but not its orientation. So readers turn a photograph
    only if its stored size differs from the record's (:func:`nseg_lib.data.images.turn`). A
    photograph that is stored upside down or mirrored, or a square one, keeps its size when turned:
    readers leave it as it is stored, and its mask must be turned back.

    Args:
        mask: bool H×W.
        orientation: the picture's EXIF orientation.

    Returns:
        bool H×W.
    """
    height, width = mask.shape
    if orientation not in UPRIGHT or (orientation >= 5 and height != width):
        return mask
    # Each turn undoes itself, but for those by a quarter, which undo each other.
    back = UPRIGHT[{6: 8, 8: 6}.get(orientation, orientation)]
    return np.array(Pillow.fromarray(mask).transpose(back))


def annotation(
    mask: Mask,
    *,
    polygons: bool = False,
    strokes: Sequence[Mapping[str, Any]] = (),
    sure: float | None = None,
    steps: Sequence[int] = (),
) -> Record:
    """A COCO annotation of a mask. Its id, image id and category id are 1.

    Args:
        mask: bool H×W.
        polygons: write polygons, in which holes are filled, instead of RLE.
        strokes: kept under the key ``strokes``, so that drawing can continue later.
        sure: kept under the key ``sure``: :func:`nseg_lib.arrays.sureness` of a network's mask;
            None for a mask that was made by hand, or comes from elsewhere.
        steps: kept under the key ``steps`` if there is more than one: those of the strokes, as
            :func:`nseg_lib.data.masks.parse_strokes` gives them.

    Raises:
        DataError: the mask is empty; COCO has no annotation for that.
    """
    if not mask.any():
        raise DataError("the mask is empty: COCO has no annotation for it")
    record: Record = {"id": 1, "image_id": 1, "category_id": 1}
    record["segmentation"] = outlines(mask) if polygons else mask_to_rle(mask)
    record["area"] = int(mask.sum())
    record["bbox"] = [float(value) for value in cv2.boundingRect(mask.astype(np.uint8))]
    record["iscrowd"] = 0
    if sure is not None:
        record["sure"] = round(sure, 4)
    if len(steps) > 1:
        record["steps"] = list(steps)
    return record | ({"strokes": list(strokes)} if strokes else {})


def cutout(image: Image, mask: Mask) -> Image:
    """The object alone: uint8 h×w×4, cropped to the mask, its edge softened by a pixel.

    Where it is clear, nothing of the picture is left.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    alpha = cv2.GaussianBlur(mask.astype(np.uint8) * 255, (0, 0), 0.7)
    window = slice(y, y + height), slice(x, x + width)
    return np.dstack([image[window] * (alpha[window] > 0)[..., None], alpha[window]])


def sure_of(record: Record) -> float | None:
    """How sure a network is of an annotation's mask, in [0, 1]; None if the record has no such
    number."""
    found = record.get("sure")
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None


def category(name: str, number: int = 1) -> Record:
    """A COCO category."""
    return {"id": number, "name": name, "supercategory": "object"}


def document(
    images: Sequence[Record],
    annotations: Sequence[Record],
    categories: Sequence[Record] = (category("object"),),
) -> dict[str, Any]:
    """The content of a COCO annotation file."""
    lists = {"images": images, "annotations": annotations, "categories": categories}
    about = {"info": {"description": "made with nseg"}}
    return about | {key: list(records) for key, records in lists.items()}


def _identity(photo: Path) -> tuple[str, str]:
    """Hashes of a photograph's path and content; a mask that travels names no folder."""
    return hashlib.sha256(os.fsencode(photo.resolve())).hexdigest(), sha256(photo)


def write_png(path: Path, pixels: NDArray[Any], photo: Path | None = None) -> None:
    """Write bool H×W (as 0 and 255) or uint8 H×W×3 as PNG, whatever the name's ending, atomically.

    `photo` is what it was made from, which the file then tells.

    Raises:
        OSError: it cannot be written.
    """
    texts = PngInfo()
    if photo is not None:
        # A name may hold bytes that are no UTF-8, which the text cannot.
        texts.add_itxt("Source", photo.name.encode(errors="replace").decode())
        texts.add_text(MADE_FROM, " ".join(_identity(photo)))
    write_atomic(path, png(pixels, texts))


def png(pixels: NDArray[Any], texts: PngInfo | None = None) -> bytes:
    """bool H×W (as 0 and 255), or uint8 H×W, H×W×3 or H×W×4, as a PNG file's bytes."""
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == np.bool_ else pixels
    encoded = io.BytesIO()
    Pillow.fromarray(values).save(encoded, "PNG", pnginfo=texts)
    return encoded.getvalue()
