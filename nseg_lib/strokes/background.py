"""Strokes on the background: beside an object, round it, or elsewhere in the picture.

s is the square root of the object's area.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from nseg_lib.arrays import Mask
from nseg_lib.strokes import hand as paths
from nseg_lib.strokes.hand import Hand, Scene, Stroke, Track, log_uniform, lookup, shortened


def lines_beside(scene: Scene, hand: Hand, count: int, radius: float) -> list[Stroke]:
    """Up to ``count`` thin strokes beside the object, along its outline, or elsewhere."""
    if count == 0 or scene.outside.max() < 2 * radius + 4:
        return []
    # now and then right up to the edge, though people in `iseg_scribbles` never cross it
    nearest = 0 if hand.rng.random() < 0.05 else 1.2 * radius + 1.5
    strokes = []
    for _ in range(count):
        path = hand.follow(_beside_path(scene, hand.rng, radius), scene)
        clear = (lookup(scene.outside, path) > nearest) & _within(path, scene)
        path = paths.longest(path, clear)
        if len(path) > 1:
            strokes.append(hand.trace("background", path, radius, 0.9 * scene.outside))
    return strokes


def _beside_path(scene: Scene, rng: Generator, radius: float) -> Track:
    distance = radius + 2 + scene.size * log_uniform(rng, 0.04, 0.4)
    way = rng.choice(["ring", "along", "any", "side", "elsewhere"], p=[0.3, 0.2, 0.15, 0.12, 0.23])
    if way == "ring":
        ring = paths.level(-scene.outside, -distance, rng, rng.uniform(0.1, 1.0))
        if len(ring):
            return ring
    if way == "side":
        return _side(scene, rng, distance)
    start, outward = _beside(scene, rng, None if way == "elsewhere" else distance)
    angle = outward + np.pi / 2 if way == "along" else rng.uniform(0, 2 * np.pi)
    length = min(scene.size * log_uniform(rng, 0.15, 1.5), 0.6 * scene.longer)
    path = paths.line(start, angle + rng.normal(0, 0.3), length, rng.normal(0, 0.6))
    return path - (path.mean(axis=0) - start)


def _side(scene: Scene, rng: Generator, distance: float) -> Track:
    """A straight line, or two round a corner, along the sides of a box round the object."""
    x, y, width, height = scene.box
    left, top, right, bottom = (
        x - distance,
        y - distance,
        x + width + distance,
        y + height + distance,
    )
    ring = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    ring = np.roll(ring, int(rng.integers(4)), axis=0)[: rng.choice([2, 3])]
    path = np.vstack([np.linspace(a, b, 24) for a, b in pairwise(ring)])
    return shortened(path, rng.uniform(0.4, 1), rng)


def _beside(scene: Scene, rng: Generator, distance: float | None) -> tuple[Track, float]:
    """A point about ``distance`` from the object, or anywhere off it, and the way outward."""
    height, width = scene.mask.shape
    low, high = np.zeros(2), np.array([width, height], np.float64)
    if distance is not None:
        x, y, wide, tall = scene.box
        low = np.maximum(np.array([x, y]) - distance, low)
        high = np.minimum(np.array([x + wide, y + tall]) + distance, high)
    points = rng.uniform(low, high, (400, 2))
    away = lookup(scene.outside, points)
    fits = away > 0 if distance is None else np.abs(away - distance) < 0.3 * distance
    fits = fits if fits.any() else away == away.max()
    start = points[rng.choice(np.flatnonzero(fits))]
    step = np.array([[2.0, 0], [-2.0, 0], [0, 2.0], [0, -2.0]])
    right, left, down, up = lookup(scene.outside, start + step)
    return start, float(np.arctan2(down - up, right - left))


def _within(path: Track, scene: Scene) -> Mask:
    height, width = scene.mask.shape
    return (path >= 0).all(axis=1) & (path[:, 0] < width) & (path[:, 1] < height)


def hatched_background(scene: Scene, hand: Hand, radius: float) -> list[Stroke]:
    """Hatching over the picture and a line round the object: how ``iseg_scribbles`` was marked."""
    rng, strokes = hand.rng, list[Stroke]()
    gap = radius + 1.5 + scene.size * log_uniform(rng, 0.01, 0.15)
    height, width = scene.mask.shape
    if rng.random() < 0.7:
        lines = paths.hatching(
            lambda path: (lookup(scene.outside, path) > gap) & _within(path, scene),
            (0, 0, width, height), rng,
            max(scene.longer * log_uniform(rng, 0.03, 0.15), 6 * radius), rng.uniform(0, 1),
        )  # fmt: skip
        strokes += [hand.trace("background", path, radius) for path in lines]
    if rng.random() < 0.7:
        ring = paths.level(-scene.outside, -gap, rng, rng.uniform(0.5, 1))
        path = hand.follow(ring, scene, 120, share=0.1)
        if len(path) > 1:
            strokes.append(hand.trace("background", path, radius, 0.9 * scene.outside))
    return strokes
