"""What lies beside the object that is meant: a neighbour just like it, and finished objects.

A refiner that saw one object a picture never learns to leave the next one out. So training pastes
the object once more beside itself, and tells which neighbours are finished already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from nseg_lib.arrays import Image, Mask
from nseg_lib.networks.crops import bounding_box

LARGEST = 0.6
"""An object longer than this share of the picture's shorter side has no room beside it."""

SEEN, LEFT = 0.3, 0.6
"""Shares of the pasted object that must be seen, and of the first that must be left, for a paste to
count."""

REACH = 0.5
"""Finished neighbours are those whose boxes come as near as this, in times the object's longer
side."""


class Pasted(NamedTuple):
    """A picture with the object and its twin."""

    image: Image
    """uint8 H×W×3."""
    mask: Mask
    """bool H×W: what is seen of the object."""
    twin: Mask
    """bool H×W: what is seen of its twin."""


def paste_twin(image: Image, mask: Mask, rng: Generator) -> Pasted | None:
    """Paste an object beside itself: mirrored, turned, scaled and recoloured a little.

    It comes in front or behind, with a soft edge, and may be cut by the picture's border.

    Args:
        image: uint8 H×W×3; stays as it is.
        mask: bool H×W, the object, with a pixel.
        rng: the only source of chance.

    Returns:
        ``None`` where there is no room, or where one would hide the other.

    Source: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
    Segmentation", CVPR 2021; of the same object beside itself, our own.
    """
    height, width = mask.shape
    box = bounding_box(mask)
    if box.longer > LARGEST * min(height, width):
        return None
    # Where each pixel of the object goes: turned and scaled about its middle, then moved aside,
    # far enough to be beside it or near enough to overlap.
    scale, turn = rng.uniform(0.75, 1.3), np.deg2rad(rng.uniform(-12, 12))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    middle = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    half = np.array([box.right - box.left, box.bottom - box.top]) * (1 + scale) / 2
    along = int(rng.random() < 0.3)  # beside it more often than above or below
    move = half * rng.uniform(-0.25, 0.25, 2)
    move[along] = half[along] * rng.uniform(0.5, 1.1) * rng.choice([-1, 1])
    matrix = np.column_stack([linear, middle + move - linear @ middle])
    size = width, height
    there = cv2.warpAffine(mask.view(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    whole = np.count_nonzero(mask) * scale**2
    in_front = rng.random() < 0.5
    left, twin = (mask & ~there, there) if in_front else (mask, there & ~mask)
    if np.count_nonzero(twin) < SEEN * whole:
        return None
    if np.count_nonzero(left) < LEFT * np.count_nonzero(mask):
        return None
    # Only the part of the picture that changes is painted, in colours a little other.
    window = bounding_box(twin).window
    shown = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    colours = shown[window].astype(np.float32) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    colours = (colours - 128) * rng.uniform(0.8, 1.2) + 128 + rng.uniform(-20, 20)
    soft = cv2.GaussianBlur(twin[window].astype(np.float32), (0, 0), rng.uniform(0.5, 1.2))
    picture = image.copy()
    blended = picture[window] + soft[..., None] * (colours - picture[window])
    picture[window] = np.clip(blended, 0, 255).round().astype(np.uint8)
    return Pasted(picture, left, twin)


def finished(mask: Mask, others: Sequence[Mask], rng: Generator) -> Mask:
    """Some of the other objects near by, as if they had been cut out already; bool H×W.

    Args:
        mask: bool H×W, the object that is meant, with a pixel; nothing of it is taken.
        others: bool H×W each.
    """
    walls, box = np.zeros_like(mask), bounding_box(mask)
    margin = REACH * box.longer
    for other in others:
        if not other.any() or rng.random() < 0.3:
            continue
        if bounding_box(other).gap(box) <= margin:
            walls |= other
    return walls & ~mask
