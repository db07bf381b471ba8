"""Which pixels of a picture count as painted, told from its values alone.

:mod:`nseg_lib.data.masks` opens the files, and its docstring says what is read.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from nseg_lib.arrays import Image, Mask

TOLERANCE = 16
"""Grey levels of 255 by which JPEG's black and white may be off."""

COLOUR_TOLERANCE = 24
"""The same for the colour of a stroke, along Cb and Cr. JPEG stores these at half the size, so
along edges a colour is paler or darker than in the middle, but of one hue."""

CHROMA = np.array([[-0.169, 0.5], [-0.331, -0.419], [0.5, -0.081]], np.float32)
"""Of red, green and blue, the shares in Cb and Cr (JFIF 1.02)."""

BLOCK = np.ones((3, 3), np.uint8)
"""So many pixels of one value are an area; edges and JPEG's spoiled pixels are thinner."""


def seems_inverted(mask: Mask) -> bool:
    """Whether a mask covers more than half of the picture and most of its border: objects seldom
    do, what was left black on white does."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(mask.mean() > 0.5 and border.mean() > 0.5)


def on_clear_layer(alpha: NDArray[np.uint8], rgb: Image) -> Mask | None:
    """What is opaque; None where hardly anything is clear, so that the colours have to tell.

    Args:
        alpha: uint8 H×W, 255 where a pixel is opaque.
        rgb: uint8 H×W×3, what is seen on white.

    Raises:
        ValueError: all of it is nearly clear.
    """
    peak = int(alpha.max())
    if 0 < peak < 26:
        raise ValueError(f"too transparent, {peak / 255:.0%} at most")
    # A translucent brush counts from half of its own opacity on.
    opaque = alpha > peak / 2
    colours = rgb[opaque]
    black, white = (colours <= TOLERANCE).all(axis=1), (colours >= 255 - TOLERANCE).all(axis=1)
    if black.any() and white.any() and (black | white).all():
        painted = np.zeros_like(opaque)  # white on black, with clear pixels somewhere
        painted[opaque] = white
        return painted
    return opaque if opaque.mean() < 0.99 else None


def two_values(values: NDArray[np.integer[Any]]) -> Mask | None:
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


def soft_edges(values: NDArray[np.integer[Any]], white_at: int, lossy: bool) -> Mask | None:
    """What is bright, where all is black or white but for thin greys between; else None."""
    if values.ndim == 3:
        if (values.max(axis=2) - values.min(axis=2)).max() > TOLERANCE // 2:
            return _one_colour(values, lossy)
        values = values[..., 1]
    levels = (values.astype(np.int64) * 255 // white_at).astype(np.uint8)
    black, white = levels <= TOLERANCE, levels >= 255 - TOLERANCE
    grey = ~(black | white)
    # A block of one grey is an area, of a label or a trimap, and not an edge.
    flat = grey & (cv2.erode(levels, BLOCK) == cv2.dilate(levels, BLOCK))
    if not black.any() or not white.any() or flat.any() or grey.mean() > 0.25:
        return None
    return levels > 127


def _one_colour(values: NDArray[np.integer[Any]], lossy: bool) -> Mask | None:
    """Where one colour is, on black or on white, with soft edges or as JPEG leaves it; else None.

    ``values`` are H×W×3 of 8 bits; a ``lossy`` file's format spoils single pixels.
    """
    # White is the ground where it is most of the picture and of its border, else black.
    ground = 255 if seems_inverted(values.min(axis=2) >= 255 - TOLERANCE) else 0
    pixels = values.astype(np.float32) - ground
    reach = np.linalg.norm(pixels, axis=2)
    colour = pixels[reach > 0.8 * reach.max()].mean(axis=0)
    if np.abs(colour).max() < 128:
        return None
    # A pixel is a mix of ground and colour: how much of the colour, and how far from its hue.
    share = pixels @ colour / (colour @ colour)
    hues, hue = pixels @ CHROMA, colour @ CHROMA
    beside = np.abs(hues[..., 0] * hue[1] - hues[..., 1] * hue[0]) / np.linalg.norm(hue)
    beside = np.maximum(beside, -(hues @ hue) / np.linalg.norm(hue))  # the opposite hue
    # A block of one mix is an area of another colour, and not an edge.
    ends = np.minimum(np.abs(pixels).max(axis=2), np.abs(pixels - colour).max(axis=2))
    between, levels = ends > 1.5 * TOLERANCE, values.astype(np.uint8)
    even = (cv2.erode(levels, BLOCK) == cv2.dilate(levels, BLOCK)).all(axis=2)
    painted = np.asarray(share > 0.5)
    # What is of another hue in a block, or in many pixels, was drawn so.
    other = (beside > COLOUR_TOLERANCE).astype(np.uint8)
    spoiled = 0.05 * painted.sum() if lossy else 0
    mixed = cv2.erode(other, BLOCK, borderValue=0).any() or other.sum() > spoiled
    if mixed or (between & even).any() or between.mean() > 0.25:
        return None
    return painted


def listed(values: NDArray[np.integer[Any]]) -> str:
    """The values of an array, the commonest first, for a message."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    found, counts = np.unique(flat[:: max(1, len(flat) // 10**6)], axis=0, return_counts=True)
    first = found[np.argsort(-counts, kind="stable")][:5].tolist()
    shown = ", ".join("/".join(map(str, value)) for value in first)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"the {'colours' if values.ndim == 3 else 'values'} {shown}{more}"


def shows(rgb: Image, photo: Image) -> bool:
    """Whether most of what is neither dark nor bright in a photograph is the same in ``rgb``."""
    luma, of_photo = (np.asarray(Pillow.fromarray(shown).convert("L")) for shown in (rgb, photo))
    grey = (of_photo > 48) & (of_photo < 208)
    same = np.abs(luma[grey].astype(np.int16) - of_photo[grey]) <= 8
    return bool(grey.any() and same.mean() > 0.5)
