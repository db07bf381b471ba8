"""Pictures and masks at another size: shrunk together, or brought from one copy to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.data.records import DataError, Record, same_ratio
from nseg_lib.prompt import scale_mask

if TYPE_CHECKING:
    from nseg_lib.data.coco import Split
    from nseg_lib.data.images import Stored

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
    for own in ((height, width), stored.upright):
        if own == size or same_ratio(size, own):
            return own
    raise DataError(
        f"{path}: the picture is {width}x{height}, its record says {size[1]}x{size[0]}; both must "
        "have the same size, or the same ratio of sides"
    )


def rescale(image: Image, mask: Mask, stroke: Mask, scale: float) -> tuple[Image, Mask, Mask]:
    """Shrink a picture, its mask and its stroke together, by area averaging.

    The stroke is drawn at native size first, so that it keeps its proportion to the object.
    """
    if scale == 1:
        return image, mask, stroke
    height, width = scaled_size(mask.shape[0], mask.shape[1], scale)

    def shrink(array: NDArray[Any]) -> NDArray[Any]:
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)

    mask, stroke = (shrink(m.astype(np.float32)) >= 0.5 for m in (mask, stroke))
    return shrink(image), mask, stroke


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width in pixels after :func:`rescale`, at least 1; ValueError for a scale that is
    not above 0 and at most 1."""
    if not 0 < scale <= 1:
        raise ValueError(f"scale must be above 0 and at most 1, got {scale}")
    return max(1, round(height * scale)), max(1, round(width * scale))
