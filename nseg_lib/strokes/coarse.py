"""Coarse masks: what a hurried hand, another program or the paper's recipes leave of a mask.

Each is a short function of an object (:class:`nseg_lib.strokes.paths.Target`) and a random
generator, and returns bool H×W, which may be empty. s is the square root of the object's area.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from nseg_lib.arrays import Mask
from nseg_lib.strokes.paths import Target, log_uniform
from nseg_lib.strokes.recipes import RECIPES, window_of


def _shift(target: Target, rng: Generator) -> Mask:
    """The mask moved and scaled by up to 10 %."""
    x, y, width, height = target.box
    centre = np.array([x + width / 2, y + height / 2])
    scale = 1 + rng.uniform(-0.1, 0.1, 2)
    move = rng.uniform(-0.1, 0.1, 2) * target.size
    matrix = np.column_stack([np.diag(scale), centre - scale * centre + move])
    size = target.mask.shape[::-1]
    return cv2.warpAffine(target.mask.view(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0


def _polygon(target: Target, rng: Generator) -> Mask:
    """Each part's outline by few vertices, each a little off."""
    contours, _ = cv2.findContours(
        target.mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    drawn = np.zeros(target.mask.shape, np.uint8)
    tolerance = target.size * log_uniform(rng, 0.015, 0.08)
    for contour in contours:
        vertices = cv2.approxPolyDP(contour, tolerance, True).astype(np.float64)
        vertices += rng.normal(0, 0.015 * target.size, vertices.shape)
        cv2.fillPoly(drawn, [vertices.round().astype(np.int32)], 1)
    return drawn > 0


def _blocks(target: Target, rng: Generator) -> Mask:
    """The mask on a coarse grid, 4 to 20 cells to s."""
    height, width = target.mask.shape
    cell = max(2.0, target.size / log_uniform(rng, 4, 20))
    coarse = (max(1, round(width / cell)), max(1, round(height / cell)))
    # A cell is kept if enough of it is object.
    share = cv2.resize(target.mask.astype(np.float32), coarse, interpolation=cv2.INTER_AREA)
    kept = (share >= rng.uniform(0.2, 0.7)).astype(np.uint8)
    return cv2.resize(kept, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _overpaint(target: Target, rng: Generator) -> Mask:
    """The mask grown by up to 12 % of s, here more, there less."""
    # How far the edge moves out, drawn on a coarse grid and interpolated between its points.
    height, width = target.mask.shape
    cell = max(1.0, target.size * log_uniform(rng, 0.08, 0.4))
    coarse = (max(2, round(height / cell) + 2), max(2, round(width / cell) + 2))
    amount = rng.uniform(-0.02, 0.12, coarse).astype(np.float32) * target.size
    return target.signed > -cv2.resize(amount, (width, height), interpolation=cv2.INTER_CUBIC)


def _box(target: Target, rng: Generator) -> Mask:
    """The mask's bounding box, each side up to 15 % of its longer side too far out."""
    x, y, width, height = target.box
    spare = rng.uniform(-0.02, 0.15, 4) * max(width, height)
    left, top = (max(0, round(start - more)) for start, more in ((x, spare[0]), (y, spare[1])))
    box = np.zeros_like(target.mask)
    box[top : round(y + height + spare[2]), left : round(x + width + spare[3])] = True
    return box


def _released(recipe: str) -> Callable[[Target, Generator], Mask]:
    """One of the paper's recipes as a function of an object and a generator."""

    def make(target: Target, rng: Generator) -> Mask:
        mask, window = np.zeros_like(target.mask), window_of(target.mask)
        mask[window] = RECIPES[recipe](target.mask[window].astype(np.uint8) * 255, rng)
        return mask

    return make


COARSE: dict[str, Callable[[Target, Generator], Mask]] = {
    "shift": _shift,
    "polygon": _polygon,
    "blocks": _blocks,
    "overpaint": _overpaint,
    "box": _box,
    **{recipe: _released(recipe) for recipe in RECIPES},
}
"""Coarse masks by name; the last four are those of the paper's released code."""
