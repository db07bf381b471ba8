"""Where to look: a crop of the picture round the strokes, at the network's working size."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.config import BESIDE

Floats = NDArray[np.float32]

LOOK = 1.4
"""The first look reaches this many times the strokes' longer side from the middle of their box…"""

MIN_LOOK = 0.3
"""… and at least this share of the picture's longer side."""

CORRECTION_MARGIN = 0.3
"""Where there is a mask to correct, the first look is the strokes and the mask with this margin, as
a share of their longer side."""

ZOOM_MARGIN = 0.2
"""Margin of the second look round the object found, as a share of its longer side."""

MIN_MARGIN = 12
"""Pixels of margin at least."""

STRIDE = 32
"""Sides of what the refiner's network sees are multiples of this."""

GREY = 127.0 / 255.0
"""What fills the frame beyond the picture: the encoder's zero."""


class Crop(NamedTuple):
    """A rectangle of a picture: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        """To index a picture with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def width_height(self) -> tuple[int, int]:
        """Its size in pixels, as OpenCV takes it."""
        return self.right - self.left, self.bottom - self.top

    @property
    def longer(self) -> int:
        """Its longer side, in pixels."""
        return max(self.bottom - self.top, self.right - self.left)

    def gap(self, other: Crop) -> int:
        """Pixels between two crops along the axis that parts them more; below 0 where they meet."""
        rows = max(other.top - self.bottom, self.top - other.bottom)
        return max(rows, other.left - self.right, self.left - other.right)

    def overlap(self, other: Crop) -> float:
        """Intersection over union of two crops."""
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        both = max(0, height) * max(0, width)
        areas = sum((c.bottom - c.top) * (c.right - c.left) for c in (self, other))
        return both / (areas - both)


def bounding_box(mask: Mask) -> Crop:
    """The smallest crop that holds every true pixel of a mask that has one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Crop(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def around(box: Crop, half: tuple[float, float], shape: tuple[int, ...]) -> Crop:
    """The crop that reaches ``half`` (rows, columns) from a box's middle, cut at the picture."""
    y, x = (box.top + box.bottom) / 2, (box.left + box.right) / 2
    top, left = round(y - half[0]), round(x - half[1])
    bottom, right = max(round(y + half[0]), top + 1), max(round(x + half[1]), left + 1)
    return Crop(max(0, top), min(shape[0], bottom), max(0, left), min(shape[1], right))


def look(strokes: Mask, background: Mask, scale: float = 1.0, beside: float = BESIDE) -> Crop:
    """The first look: wide, as strokes may cover little of their object.

    Args:
        strokes, background: bool H×W; ``strokes`` has a pixel.
        scale: of the reach that the object strokes ask for.
        beside: see :data:`BESIDE`; 0 leaves background strokes out of account.
    """
    # As far from the strokes' middle as their object may reach.
    box = bounding_box(strokes)
    reach = scale * max(LOOK * box.longer, MIN_LOOK * max(strokes.shape), MIN_MARGIN)
    crop = around(box, (reach, reach), strokes.shape)
    # And as far as the background strokes near by, for they are drawn round the object.
    far = around(box, (beside * box.longer, beside * box.longer), strokes.shape)
    if not beside or not background[far.window].any():
        return crop
    marked = bounding_box(background[far.window])
    return Crop(
        min(crop.top, far.top + marked.top), max(crop.bottom, far.top + marked.bottom),
        min(crop.left, far.left + marked.left), max(crop.right, far.left + marked.right),
    )  # fmt: skip


def zoom(found: Mask, margin: float = ZOOM_MARGIN, min_margin: float = MIN_MARGIN) -> Crop:
    """The second look: close round the object that the first one found.

    Args:
        found: bool H×W, with a pixel.
        margin: on each side, as a share of the object's longer side.
        min_margin: of it, in pixels.
    """
    box = bounding_box(found)
    more = max(margin * box.longer, min_margin)
    half = (box.bottom - box.top) / 2 + more, (box.right - box.left) / 2 + more
    return around(box, half, found.shape)


def fitted(crop: Crop, size: int) -> tuple[int, int]:
    """Height and width of a crop once its longer side is ``size`` pixels."""
    height, width = crop.bottom - crop.top, crop.right - crop.left
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(plane: NDArray[np.uint8] | Floats, height: int, width: int) -> Floats:
    """Area averages where a picture shrinks, bilinear where it grows; float32."""
    shrinks = height * width < plane.shape[0] * plane.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(plane, (width, height), interpolation=how).astype(np.float32, copy=False)


def crop_input(
    image: Image, prompts: tuple[Mask, ...], crop: Crop, size: int, multiple: int = STRIDE
) -> tuple[Floats, tuple[int, int]]:
    """What the network sees of a crop.

    Args:
        image: uint8 H×W×3, RGB.
        prompts: bool H×W each: object strokes, background strokes, last mask.
        size: pixels of the crop's longer side.
        multiple: both sides are filled up, below and at the right, to multiples of this.

    Returns:
        float32 (3 + prompts)×h×w in [0, 1], and the height and width that the crop takes of it.
        A thin stroke keeps a share of the pixels that it covers in part.
    """
    height, width = fitted(crop, size)
    full = -(-height // multiple) * multiple, -(-width // multiple) * multiple
    channels = np.zeros((3 + len(prompts), *full), np.float32)
    channels[:3] = GREY
    colours = resize(image[crop.window], height, width)
    channels[:3, :height, :width] = np.moveaxis(colours, -1, 0) / 255
    for plane, prompt in zip(channels[3:], prompts, strict=True):
        part = prompt[crop.window]
        if part.any():
            plane[:height, :width] = resize(part.astype(np.uint8) * 255, height, width) / 255
    return channels, (height, width)
