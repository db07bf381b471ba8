"""Strokes and masks from picture files: which pixels of a file count as painted.

What is read, and nothing else:

- a clear layer with something painted on it, in any colour (a cut-out is one too);
- black and one other colour or grey: white on black, 1 on 0, a palette of two entries. Greys
  between black and white are taken for soft edges where they are thin;
- of a picture with more values than that (instances, classes, a trimap), the one that the caller
  names as ``label``.

Everything else is refused in a line that names the values found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.images import deep_values, open_picture, to_rgb, turn
from nseg_lib.data.records import DataError

Like = tuple[Path, Image]
"""Path and pixels of the picture that a stroke or mask belongs to."""

TOLERANCE = 16
"""Grey levels of 255 by which JPEG's black and white may be off."""


def read_stroke(path: Path, like: Like | None = None, label: int | None = None) -> Mask:
    """As :func:`read_mask`, with something brushed.

    Raises:
        DataError: as :func:`read_mask`, or nothing is brushed.
    """
    stroke = read_mask(path, like, "stroke", label)
    if not stroke.any():
        raise DataError(
            f"{path}: nothing is brushed, and an object stroke is always needed; "
            "paint white on black, or on a clear layer"
        )
    return stroke


def read_mask(
    path: Path, like: Like | None = None, name: str = "mask", label: int | None = None
) -> Mask:
    """Read what was painted; the module's docstring says what counts.

    Args:
        path: a picture file. It is turned as its EXIF says, as the photograph is.
        like: the sizes must agree.
        name: what messages call it.
        label: the value of the object, where the file holds more than two: a grey level (of 16 bits
            too) or the number of a palette's entry.

    Returns:
        bool H×W, perhaps all False.

    Raises:
        DataError: not a picture, of another size, the photograph itself with something painted on
            it, or values that do not say what is painted.
    """
    stored = open_picture(path)
    try:
        picture = turn(stored, None)
        rgb = to_rgb(picture)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if like is not None and rgb.shape[:2] != like[1].shape[:2]:
        own, photo = _size(stored, rgb), _size(open_picture(like[0]), like[1])
        raise DataError(f"{path}: the {name} is {own}, but {like[0]} is {photo}; they must agree")
    if label is not None:
        values = np.asarray(picture) if picture.mode == "P" else deep_values(picture, rgb)
        if not (values == label).any():
            raise DataError(f"{path}: no pixel has the value {label}; it holds {_listed(values)}")
        return np.asarray(values == label)

    if picture.has_transparency_data:
        painted = _on_clear_layer(path, picture, rgb, name)
        if painted is not None:
            return painted
    if like is not None and _shows(rgb, like[1]):
        raise DataError(
            f"{path}: shows {like[0]} itself; a {name} is white on black, or in any colour on a "
            "clear layer of its own"
        )
    values = deep_values(picture, rgb)
    painted = _two_values(values)
    if painted is None:
        painted = _soft_edges(values, picture)
    if painted is None:
        values = np.asarray(picture) if picture.mode == "P" else values
        one = " (--label takes one of them)" if values.ndim == 2 and name == "mask" else ""
        raise DataError(
            f"{path}: holds {_listed(values)}{one}; a {name} is white on black, or in one colour "
            "on black or on a clear layer, with a hard brush"
        )
    return painted


def seems_inverted(mask: Mask) -> bool:
    """Whether a mask covers more than half of the picture and most of its border: objects seldom
    do, what was left black on white does."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(mask.mean() > 0.5 and border.mean() > 0.5)


def _on_clear_layer(path: Path, picture: Pillow.Image, rgb: Image, name: str) -> Mask | None:
    """What is opaque; None where hardly anything is clear, so that the colours have to tell."""
    mode = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)
    alpha = np.asarray(picture.convert(mode).convert("RGBA").getchannel("A"))
    peak = int(alpha.max())
    if 0 < peak < 26:
        raise DataError(f"{path}: the {name} is too transparent, {peak / 255:.0%} at most")
    # A translucent brush counts from half of its own opacity on.
    opaque = alpha > peak / 2
    levels = rgb[opaque]
    black, white = (levels <= TOLERANCE).all(axis=1), (levels >= 255 - TOLERANCE).all(axis=1)
    if black.any() and white.any() and (black | white).all():
        painted = np.zeros_like(opaque)  # white on black, with clear pixels somewhere
        painted[opaque] = white
        return painted
    return opaque if opaque.mean() < 0.99 else None


def _two_values(values: NDArray[np.integer[Any]]) -> Mask | None:
    """Where the other value is than black; None if there are more, or none of them is black."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    # The first pixel that is not like the first one has the second value, if there are two.
    one = flat[0]
    other = flat[(flat != one).any(axis=1).argmax()]
    is_one, is_other = (flat == one).all(axis=1), (flat == other).all(axis=1)
    if not (is_one | is_other).all():
        return None
    if (one == other).all():  # one value: all black, or all white
        painted = np.full(len(flat), bool(one.any()))
        known = not one.any() or one.min() in (255, 65535)
    else:
        painted = is_other if one.max() == 0 else is_one
        known = 0 in (one.max(), other.max())
    return painted.reshape(values.shape[:2]) if known else None


def _soft_edges(values: NDArray[np.integer[Any]], picture: Pillow.Image) -> Mask | None:
    """What is bright, where all is black or white but for thin greys between; else None."""
    if values.ndim == 3:
        if (values.max(axis=2) - values.min(axis=2)).max() > TOLERANCE // 2:
            return None  # in colour
        values = values[..., 1]
    white_at = 65535 if picture.mode.startswith("I") else 255
    levels = (values.astype(np.int64) * 255 // white_at).astype(np.uint8)
    black, white = levels <= TOLERANCE, levels >= 255 - TOLERANCE
    grey = ~(black | white)
    # A block of 3 × 3 pixels of one grey is an area, of a label or a trimap, and not an edge.
    block = np.ones((3, 3), np.uint8)
    flat = grey & (cv2.erode(levels, block) == cv2.dilate(levels, block))
    if not black.any() or not white.any() or flat.any() or grey.mean() > 0.25:
        return None
    return levels > 127


def _listed(values: NDArray[np.integer[Any]]) -> str:
    """The values of an array, the commonest first, for a message."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    found, counts = np.unique(flat[:: max(1, len(flat) // 10**6)], axis=0, return_counts=True)
    first = found[np.argsort(-counts, kind="stable")][:5].tolist()
    shown = ", ".join("/".join(map(str, value)) for value in first)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"the {'colours' if values.ndim == 3 else 'values'} {shown}{more}"


def _shows(rgb: Image, photo: Image) -> bool:
    """Whether most of what is neither dark nor bright in a photograph is the same in ``rgb``."""
    luma, of_photo = (np.asarray(Pillow.fromarray(shown).convert("L")) for shown in (rgb, photo))
    grey = (of_photo > 48) & (of_photo < 208)
    same = np.abs(luma[grey].astype(np.int16) - of_photo[grey]) <= 8
    return bool(grey.any() and same.mean() > 0.5)


def _size(stored: Pillow.Image, shown: Image) -> str:
    height, width = shown.shape[:2]
    turned = "" if stored.size == (width, height) else " (turned as its EXIF says)"
    return f"{width}x{height} pixels{turned}"
