"""Masks that were drawn on a smaller or larger copy of a photograph, scaled to its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nseg_lib.arrays import Mask
from nseg_lib.data.coco import Split
from nseg_lib.data.images import Stored
from nseg_lib.data.records import DataError, Record, same_shape
from nseg_lib.prompt import scale_mask

Warn = Callable[[str], None]
"""A function that is told, in one line, what was put right."""


def scaled(mask: Mask, size: tuple[int, int], name: str, photo: Path, warn: Warn) -> Mask:
    """A mask scaled to a photograph's (height, width), on a copy of which it was drawn: bool H×W.

    Args:
        mask: bool, of the same ratio of width to height; of the photograph's size, it stays as is.
        size: the photograph's (height, width).
        name: what the line for ``warn`` calls the mask.
        warn: is told if the mask was scaled.
    """
    if mask.shape == size:
        return mask
    (height, width), (rows, columns) = mask.shape, size
    warn(f"{name}: {width}x{height} pixels, scaled to {photo}'s {columns}x{rows}")
    return scale_mask(mask, (columns, rows))


def mask_on_photo(
    file: Path,
    split: Split,
    image_id: int,
    annotation: Record,
    photo: Path,
    stored: Stored,
    warn: Warn,
) -> Mask:
    """The mask of a COCO annotation, scaled to its photograph, which may be larger or smaller than
    its record says: bool H×W, of the size that :func:`own_size` gives.

    Args:
        file: the COCO file, for messages.
        stored: what :func:`nseg_lib.data.images.open_picture` returns for ``photo``.
        warn: is told if the mask was scaled.

    Raises:
        DataError: the photograph has another ratio of width to height than its record.
    """
    record = split.images[image_id]
    size = own_size(photo, stored, (record["height"], record["width"]))
    name = f"{file}: annotation {annotation['id']}"
    return scaled(split.mask(image_id, annotation), size, name, photo, warn)


def own_size(path: Path, stored: Stored, size: tuple[int, int]) -> tuple[int, int]:
    """The picture's own (height, width), turned as :func:`nseg_lib.data.images.turn` would turn it.

    Args:
        size: the (height, width) in its record, which may be that of a smaller or larger copy.

    Raises:
        DataError: the picture has not the record's ratio of width to height, turned or not.
    """
    height, width = stored.height, stored.width
    upright = (width, height) if stored.orientation >= 5 else (height, width)
    for own in ((height, width), upright):
        if own == size or same_shape(size, own):
            return own
    raise DataError(
        f"{path}: the picture is {width}x{height}, its record says {size[1]}x{size[0]}; both must "
        "have the same size, or the same shape"
    )
