"""The paper's stroke recipes: what its released code makes of an object's mask.

Each of the four is a short function of a mask and a random generator. :func:`make_stroke` seeds the
generator from what the stroke is of, so a stroke never depends on the order of access, on workers
or on what was drawn before. Chapter ``02_strokes`` takes them apart step by step.

All radii, kernels and sigmas are in pixels of the picture at its native size. In the recipes a mask
is uint8 H×W of 0 and 255, as OpenCV takes it, and a stroke is bool H×W.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib.arrays import Mask

_Bytes = NDArray[np.uint8]

MIN_STROKE_AREA = 50
"""A simulated stroke of fewer pixels is dropped and counted, never replaced. The released code
silently took the next sample instead, often a training picture."""

MARGIN = 128
"""Pixels around the object beyond which no recipe draws or looks (paintbrush needs most: a disc
of 40 px centred 20 px outside, a closing of 20 px more and a blur of 36 px)."""


def _erode(mask: _Bytes, rng: Generator) -> Mask:
    """Bites taken out of the mask's edge: the paper's recipe (section 2.2)."""
    # The band along the inside of the edge, about b / 2 px wide. Without one (the mask covers the
    # whole picture) there is no edge to bite.
    b = int(rng.integers(30, 40, endpoint=True))
    band = mask - cv2.erode(mask, _ellipse(b))
    if not band.any():
        return mask > 0
    # Bites: discs centred in the band are cut away.
    count = int(rng.integers(2, 6, endpoint=True))
    bitten = mask & ~_discs(band, count, (b // 4, b // 2), rng)
    # Opening removes what a brush of that size could not have painted: the spikes between bites.
    opening = _ellipse(int(rng.integers(b // 2, b, endpoint=True)))
    return _smooth(cv2.morphologyEx(bitten, cv2.MORPH_OPEN, opening), rng)


def _v1(mask: _Bytes, rng: Generator) -> Mask:
    """Small discs round the edge, then dilation, erosion and a slight blur."""
    # Discs centred just outside the edge make it bumpy.
    band = cv2.dilate(mask, np.ones((7, 7), np.uint8)) - mask
    if not band.any():
        return mask > 0
    grown = mask | _discs(band, int(rng.integers(15, 40, endpoint=True)), (3, 10), rng)
    # Dilation overshoots, and the erosion after it, by a smaller kernel, takes only a part back.
    size = int(rng.integers(7, 15, endpoint=True))
    times = int(rng.integers(1, 2, endpoint=True))
    grown = cv2.dilate(grown, _ellipse(size), iterations=times)
    size = int(rng.integers(5, size - 1, endpoint=True))
    shape = int(rng.choice([cv2.MORPH_ELLIPSE, cv2.MORPH_RECT, cv2.MORPH_CROSS]))
    shrunk = cv2.erode(grown, cv2.getStructuringElement(shape, (size, size)))
    # A threshold below one half lets the blurred edge move out a little more.
    soft = cv2.GaussianBlur(shrunk, (5, 5), sigmaX=rng.uniform(2.0, 4.5))
    return soft > int(rng.integers(60, 120, endpoint=True))


def _paintbrush(mask: _Bytes, rng: Generator) -> Mask:
    """Large discs added outside the edge, closed and blurred: a brush that overshoots."""
    # The band along the outside of the edge, about b / 2 px wide, and discs centred in it.
    b = int(rng.integers(15, 40, endpoint=True))
    band = cv2.dilate(mask, _ellipse(b)) - mask
    if not band.any():
        return mask > 0
    grown = mask | _discs(band, int(rng.integers(8, 18, endpoint=True)), (b // 2, b), rng)
    # Closing fills the gaps between discs that a wide brush would have covered.
    closing = _ellipse(int(rng.integers(b // 2, b, endpoint=True)))
    return _smooth(cv2.morphologyEx(grown, cv2.MORPH_CLOSE, closing), rng)


def _dist(mask: _Bytes, rng: Generator) -> Mask:
    """The mask shrunk by 12 px, its edge moved to and fro by smoothed noise."""
    # Signed distance to the edge, positive inside.
    inside = (mask > 0).astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 3
    )
    # Noise of standard deviation 1, once smoothed with sigma 6 px, moves the edge by about half a
    # pixel, 12 times as it is weighted.
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    return signed + 12 * cv2.GaussianBlur(noise, (0, 0), 6.0) - 12 > 0


def _ellipse(size: int) -> _Bytes:
    """OpenCV's elliptic kernel, ``size`` px wide."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def _discs(band: _Bytes, count: int, radii: tuple[int, int], rng: Generator) -> _Bytes:
    """``count`` filled discs centred on pixels of ``band``, radii uniform in ``radii``."""
    discs = np.zeros_like(band)
    centres = np.column_stack(np.nonzero(band))
    for _ in range(count):
        y, x = centres[rng.integers(len(centres))]
        cv2.circle(discs, (int(x), int(y)), int(rng.integers(*radii, endpoint=True)), 255, -1)
    return discs


def _smooth(mask: _Bytes, rng: Generator) -> Mask:
    """Gaussian blur with sigma uniform in 6..12 px, then threshold above 127/255."""
    return cv2.GaussianBlur(mask, (0, 0), sigmaX=rng.uniform(6.0, 12.0)) > 127


RECIPES: dict[str, Callable[[_Bytes, Generator], Mask]] = {
    "erode": _erode,
    "v1": _v1,
    "paintbrush": _paintbrush,
    "dist": _dist,
}
"""The released recipes by name, each (uint8 H×W of 0 and 255, generator) → bool H×W. A new recipe
is one function and one entry here."""


def make_stroke(
    mask: Mask,
    recipe: str = "erode",
    *,
    seed: int = 0,
    image_id: int = 0,
    annotation_id: int = 0,
    draw: int = 0,
) -> Mask:
    """Simulate the stroke that a user might draw over an object.

    The same arguments give the same stroke, always: randomness comes from ``seed``, ``image_id``,
    ``annotation_id``, ``recipe`` and ``draw`` alone. Training raises ``draw`` with the epoch.

    Args:
        mask: bool H×W, the object.
        recipe: a name in :data:`RECIPES`; ``erode`` is the paper's.
        seed, image_id, annotation_id, draw: whole numbers from 0.

    Returns:
        bool H×W. Empty where the mask is empty or the recipe leaves nothing of it; below
        :data:`MIN_STROKE_AREA` pixels callers drop the sample.

    Raises:
        ValueError: an unknown recipe, a mask that is not bool H×W, or a number below 0.

    Source: the paper's section 2.2 and its released code.
    """
    if recipe not in RECIPES:
        raise ValueError(f"unknown stroke recipe '{recipe}'; one of: {', '.join(RECIPES)}")
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
        got = f"{getattr(mask, 'dtype', type(mask).__name__)} of shape {np.shape(mask)}"
        raise ValueError(f"mask must be bool H×W, got {got}")
    numbers = {"seed": seed, "image_id": image_id, "annotation_id": annotation_id, "draw": draw}
    for name, number in numbers.items():
        if not isinstance(number, int | np.integer) or number < 0:
            raise ValueError(f"{name} must be a whole number from 0, got {number!r}")
    stroke = np.zeros_like(mask)
    if not mask.any():
        return stroke
    # Everything that tells this stroke from any other goes into the seed, and nothing else.
    key = (seed, image_id, annotation_id, zlib.crc32(recipe.encode()), draw)
    rng = np.random.default_rng(key)
    # Drawing in a window round the object gives the same stroke in a fraction of the time.
    window = window_of(mask)
    stroke[window] = RECIPES[recipe](mask[window].astype(np.uint8) * 255, rng)
    return stroke


def window_of(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the object's bounding box and :data:`MARGIN` round it: all that a recipe
    can reach. ``mask`` is bool H×W, not empty."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    rows = slice(max(0, y - MARGIN), y + height + MARGIN)
    return rows, slice(max(0, x - MARGIN), x + width + MARGIN)
