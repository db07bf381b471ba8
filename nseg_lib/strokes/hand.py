"""One hand's habits: how a person follows a path, and how the brush presses on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from nseg_lib.strokes.paths import Floats, Target, Track, log_uniform, lookup, smooth

Stroke = dict[str, Any]
"""As :func:`nseg_lib.strokes.drawing.rasterize` takes it."""


class Hand:
    """How one person draws: smoothly or with a ruler, trembling, pressing, with care or without.

    One in six draws like a program: straight from point to point, with a constant radius.
    """

    def __init__(self, rng: Generator) -> None:
        steady = rng.random() < 1 / 6
        self.rng = rng
        self.lag = 0.0 if steady else rng.uniform(0.0, 0.12)
        """Share of a path over which it is smoothed: how far corners are cut."""
        self.tremor = 0.0 if steady else log_uniform(rng, 0.001, 0.012)
        """Standard deviation of the trembling, per s, the square root of the object's area."""
        self.pressure = 0.0 if steady else rng.uniform(0.0, 0.3)
        """Standard deviation of the radius' logarithm along a stroke."""
        self.careless = rng.random() < 0.15
        """Whether strokes may cross the object's edge."""
        self.brush = log_uniform(rng, 0.008, 0.035)
        """Radius of a thin brush: a part of the object's size, of the picture's, or between."""
        self.zoomed = rng.uniform(0, 1)
        """1 where the brush grows with the object, 0 where it is the same for all of a picture."""

    def radius(self, target: Target) -> float:
        """Radius of a thin brush in pixels."""
        size = target.size**self.zoomed * (0.3 * target.picture_side) ** (1 - self.zoomed)
        return max(0.8, size * self.brush)

    def follow(self, path: Track, target: Target, most: int = 64, share: float = 1.0) -> Track:
        """A path as this hand follows it: even steps, at most ``most`` points; ``share`` scales
        the smoothing."""
        if len(path) < 2:
            return path
        # Even steps along the path.
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        count = int(np.clip(along[-1] / 3, 4, most))
        at = np.linspace(0, along[-1], count)
        even = np.column_stack([np.interp(at, along, path[:, k]) for k in (0, 1)])
        # Corners are cut, and the hand trembles.
        if self.lag > 0:
            even = smooth(even, share * self.lag * count, axis=0, mode="nearest")
        trembling = smooth(self.rng.normal(0, 1, (count, 2)), 2.0, axis=0) * 2.7
        return even + self.tremor * target.size * trembling

    def trace(self, kind: str, path: Track, radius: float, room: Floats | None = None) -> Stroke:
        """One stroke along a path, at most ``room`` (H×W, pixels) wide to each side."""
        count = len(path)
        noise = smooth(self.rng.normal(0, 1, count), max(1.0, count / 8))
        radii = radius * np.exp(self.pressure * np.clip(np.sqrt(count / 2.3) * noise, -2, 2))
        if room is not None:
            radii = np.minimum(radii, lookup(room, path) - 0.3)
        return {"kind": kind, "points": np.column_stack([path, np.maximum(radii, 0.6)])}
