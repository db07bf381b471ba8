"""Masks that were drawn on a smaller or larger copy of a photograph, brought to its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nseg_lib.arrays import Mask
from nseg_lib.data.coco import Split
from nseg_lib.data.images import Stored
from nseg_lib.data.records import DataError, Record, same_shape
from nseg_lib.prompt import scale_mask

Warn = Callable[[str], None]
"""Is told, in a line, what was put right."""


def scaled(mask: Mask, size: tuple[int, int], name: str, photo: Path, warn: Warn) -> Mask:
    """A mask that was drawn on a smaller or larger copy of a photograph, at its (height, width).

    ``warn`` is told if that is another size than the mask's; ``name`` is what it calls the mask.
    """
    if mask.shape == size:
        return mask
    (height, width), (rows, columns) = mask.shape, size
    warn(f"{name}: {width}x{height} pixels, scaled to {photo}'s {columns}x{rows}")
    return scale_mask(mask, (columns, rows))


def annotated(
    split: Split, image_id: int, annotation: Record, photo: Path, stored: Stored, warn: Warn
) -> Mask:
    """The mask of a COCO annotation on a photograph that may be larger or smaller than its record
    says: bool H×W, as :func:`own_size` has it.

    Args:
        stored: what :func:`nseg_lib.data.images.open_picture` has of ``photo``.
        warn: is told if the mask was scaled.

    Raises:
        DataError: the photograph's shape is not its record's.
    """
    record = split.images[image_id]
    size = own_size(photo, stored, (record["height"], record["width"]))
    name = f"annotation {annotation['id']}"
    return scaled(split.mask(image_id, annotation), size, name, photo, warn)


def own_size(path: Path, stored: Stored, size: tuple[int, int]) -> tuple[int, int]:
    """The picture's own (height, width), turned as :func:`nseg_lib.data.images.turn` would,
    where its record may be of a smaller or larger copy.

    Raises:
        DataError: it has the shape of its record's (height, width) neither way.
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
