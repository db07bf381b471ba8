"""Every way to make a stroke: simulated from a mask, or rasterised from what a person drew.

The four recipes are those of the paper's released code. Each is a short function of a mask and a
random generator; :func:`make_stroke` seeds the generator from what the stroke is of, so a stroke
never depends on the order of access, on workers or on what was drawn before. Chapter
``02_stroke_synthesis`` takes them apart step by step.

All radii, kernels and sigmas are in pixels of the picture at its native size.
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
_Floats = NDArray[np.float64]
_Integers = NDArray[np.int_]

MIN_STROKE_AREA = 50
"""A simulated stroke of fewer pixels is dropped and counted, never replaced. The released code
silently took the next sample instead, often a training picture."""

_MARGIN = 128
"""Pixels around the object beyond which no recipe draws or looks (paintbrush needs most: a disc
of 40 px centred 20 px outside, a closing of 20 px more and a blur of 36 px)."""


def _ellipse(size: int) -> _Bytes:
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


def _erode(mask: _Bytes, rng: Generator) -> Mask:
    """Bites taken out of the mask's edge: the paper's recipe (section 2.2)."""
    b = int(rng.integers(30, 40, endpoint=True))
    band = mask - cv2.erode(mask, _ellipse(b))
    if not band.any():
        return mask > 0
    count = int(rng.integers(2, 6, endpoint=True))
    bitten = mask & ~_discs(band, count, (b // 4, b // 2), rng)
    opening = _ellipse(int(rng.integers(b // 2, b, endpoint=True)))
    return _smooth(cv2.morphologyEx(bitten, cv2.MORPH_OPEN, opening), rng)


def _v1(mask: _Bytes, rng: Generator) -> Mask:
    """Small discs round the edge, then dilation, erosion and a slight blur."""
    band = cv2.dilate(mask, np.ones((7, 7), np.uint8)) - mask
    if not band.any():
        return mask > 0
    grown = mask | _discs(band, int(rng.integers(15, 40, endpoint=True)), (3, 10), rng)
    size = int(rng.integers(7, 15, endpoint=True))
    times = int(rng.integers(1, 2, endpoint=True))
    grown = cv2.dilate(grown, _ellipse(size), iterations=times)
    size = int(rng.integers(5, size - 1, endpoint=True))
    shape = int(rng.choice([cv2.MORPH_ELLIPSE, cv2.MORPH_RECT, cv2.MORPH_CROSS]))
    shrunk = cv2.erode(grown, cv2.getStructuringElement(shape, (size, size)))
    soft = cv2.GaussianBlur(shrunk, (5, 5), sigmaX=rng.uniform(2.0, 4.5))
    return soft > int(rng.integers(60, 120, endpoint=True))


def _paintbrush(mask: _Bytes, rng: Generator) -> Mask:
    """Large discs added outside the edge, closed and blurred: a brush that overshoots."""
    b = int(rng.integers(15, 40, endpoint=True))
    band = cv2.dilate(mask, _ellipse(b)) - mask
    if not band.any():
        return mask > 0
    grown = mask | _discs(band, int(rng.integers(8, 18, endpoint=True)), (b // 2, b), rng)
    closing = _ellipse(int(rng.integers(b // 2, b, endpoint=True)))
    return _smooth(cv2.morphologyEx(grown, cv2.MORPH_CLOSE, closing), rng)


def _dist(mask: _Bytes, rng: Generator) -> Mask:
    """Signed distance to the edge, less 12 px, plus 12 times smoothed noise (sigma 6 px)."""
    inside = (mask > 0).astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 3
    )
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    return signed + 12 * cv2.GaussianBlur(noise, (0, 0), 6.0) - 12 > 0


RECIPES: dict[str, Callable[[_Bytes, Generator], Mask]] = {
    "erode": _erode,
    "v1": _v1,
    "paintbrush": _paintbrush,
    "dist": _dist,
}
"""The released recipes by name, each (uint8 H×W of 0 and 255, generator) → bool H×W."""


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
        recipe: ``erode`` (the paper's), ``v1``, ``paintbrush`` or ``dist``.
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
    key = (seed, image_id, annotation_id, zlib.crc32(recipe.encode()), draw)
    rng = np.random.default_rng(key)
    window = _window(mask)
    stroke[window] = RECIPES[recipe](mask[window].astype(np.uint8) * 255, rng)
    return stroke


def _window(mask: Mask) -> tuple[slice, slice]:
    """The object's bounding box and :data:`_MARGIN`: all that a recipe can reach."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    rows = slice(max(0, y - _MARGIN), y + height + _MARGIN)
    return rows, slice(max(0, x - _MARGIN), x + width + _MARGIN)


# --- what a person drew ---------------------------------------------------------------------------
