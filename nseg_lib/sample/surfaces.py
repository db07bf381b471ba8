"""What the sample's objects are made of, and what lies behind them: swatches of photographs.

Colours are CIELAB (L 0..100) as float32 H×W×3, until `to_rgb` makes RGB 0..1 of them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib.sample.sources import GROUNDS, LAWN, MATERIALS, VIEWS, WALLS, Region

Floats = NDArray[np.float32]

GREY = 3
"""A region whose a and b stay below this is taken for a grey photograph."""


def to_rgb(lab: Floats) -> Floats:
    """CIELAB → RGB 0..1; colours that no screen shows are clipped."""
    return np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)


class Surfaces:
    """Random surfaces of one picture's size, all drawn from one generator."""

    def __init__(self, rng: Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.sources: set[str] = set()
        """File names of the photographs used so far."""
        self.horizon: int | None = None
        """Row where the wall stands on the ground; None in front of other backgrounds."""

    def noise(self, cell: float) -> Floats:
        """Smooth noise, H×W, mean 0, about -2 to 2, with features of `cell` pixels."""
        rows, columns = int(self.height / cell) + 3, int(self.width / cell) + 3
        coarse = self.rng.standard_normal((rows, columns), dtype=np.float32)
        return cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_CUBIC)

    def material(self) -> Floats:
        """The surface of an object; three in ten have a pattern of two materials."""
        rng = self.rng
        lab = self.swatch(MATERIALS, rng.uniform(0.5, 1.8), turn=True, bend=4.0)
        if rng.random() < 0.3:
            other = self.swatch(MATERIALS, rng.uniform(0.5, 1.8), turn=True)
            pattern = self.noise(rng.uniform(15, 60)) + rng.uniform(-0.5, 0.5)
            lab = lab + np.clip(3 * pattern + 0.5, 0, 1)[..., None] * (other - lab)
        if rng.random() < 0.5:  # another colour, paler
            angle, fade = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.6)
            cosine, sine = fade * np.cos(angle), fade * np.sin(angle)
            lab[..., 1:] = lab[..., 1:] @ np.array([[cosine, sine], [-sine, cosine]], np.float32)
        mean = lab[..., 0].mean()
        lab[..., 0] = mean + rng.uniform(0.6, 1.2) * (lab[..., 0] - mean)
        return lab

    def background(self) -> Floats:
        """A wall on a ground, a ground seen from above, or a view; often out of focus."""
        rng = self.rng
        blur = rng.choice([0.3, rng.uniform(0.5, 1.2), rng.uniform(1.2, 2.5)])
        kind = rng.choice(["stage", "ground", "view"], p=[0.55, 0.25, 0.2])
        if kind == "stage":
            lab = self.wall_and_ground()
        elif kind == "ground":
            flat = [region for region in GROUNDS if region != LAWN]  # the lawn is seen at a slant
            lab = self.swatch(flat, rng.uniform(0.5, 1.5), turn=True)
        else:
            lab = self.view()
            blur += 1  # sharp, it would look like the picture, and the objects like stickers
        return cv2.GaussianBlur(lab, (0, 0), float(blur))

    def choose(self, regions: list[Region]) -> Region:
        """One of the regions; its photograph counts as used."""
        region = regions[self.rng.integers(len(regions))]
        self.sources.add(region.file)
        return region

    def swatch(
        self, regions: list[Region], zoom: float, *, turn: bool, bend: float = 0.0
    ) -> Floats:
        """One of the regions spread over the picture, mirrored where it ends.

        Args:
            zoom: pixels of the picture per pixel of the photograph; more, if the region would
                otherwise be mirrored more than twice.
            turn: in any direction; otherwise upright.
            bend: how far smooth noise moves it, in pixels.
        """
        region = self.choose(regions)
        source = region.lab()
        zoom = max(zoom, self.width / (2.5 * min(source.shape[:2])))
        kernel = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        source = cv2.resize(source, None, fx=zoom, fy=zoom, interpolation=kernel)
        angle = self.rng.uniform(0, 2 * np.pi) if turn else 0.0
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        if bend:
            x, y = x + bend * self.noise(40), y + bend * self.noise(40)
        u = np.cos(angle) * x - np.sin(angle) * y + self.rng.uniform(0, source.shape[1])
        v = np.sin(angle) * x + np.cos(angle) * y + self.rng.uniform(0, source.shape[0])
        return self.tinted(_remap(source, u, v), region)

    def tinted(self, lab: Floats, region: Region) -> Floats:
        """Colour for what was photographed in grey: its usual one, or any; it varies a little."""
        if np.abs(region.lab()[..., 1:]).max() > GREY:
            return lab
        hue, chroma = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(3, 35)
        a, b = region.tint or (chroma * np.cos(hue), chroma * np.sin(hue))
        # Darks have less colour than lights.
        strength = self.rng.uniform(0.5, 1.2) * np.clip(lab[..., 0] / 55, 0.3, 1.2)
        lab[..., 1] = strength * a + 2 * self.noise(60)
        lab[..., 2] = strength * b + 3 * self.noise(60)
        return lab

    def view(self) -> Floats:
        """A crop of a photograph."""
        region = self.choose(VIEWS)
        source = region.lab()
        high, wide = source.shape[:2]
        scale = self.rng.uniform(0.6, 1.0) * min(wide / self.width, high / self.height)
        w, h = int(scale * self.width), int(scale * self.height)
        x, y = self.rng.integers(wide - w + 1), self.rng.integers(high - h + 1)
        kernel = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        size = (self.width, self.height)
        lab = cv2.resize(source[y : y + h, x : x + w], size, interpolation=kernel)
        if self.rng.random() < 0.5:
            lab = lab[:, ::-1].copy()
        return self.tinted(lab, region)

    def wall_and_ground(self) -> Floats:
        """A wall, and a ground that recedes to its foot."""
        wall = self.swatch(WALLS, self.rng.uniform(0.8, 2.5), turn=False)
        wall[..., 0] += 8 * self.noise(200)
        self.horizon = int(self.height * self.rng.uniform(0.25, 0.6))
        ground = self.swatch(GROUNDS, self.rng.uniform(0.6, 1.2), turn=True)
        ground = self.in_perspective(ground, self.horizon)
        wall = cv2.GaussianBlur(wall, (0, 0), self.rng.uniform(0.6, 2.5))
        edge = (np.arange(self.height, dtype=np.float32) - self.horizon) / self.rng.uniform(1, 4)
        lab = wall + np.clip(edge + 0.5, 0, 1)[:, None, None] * (ground - wall)
        # Where ground and wall meet there is less light.
        lab[..., 0] *= 1 - 0.25 * np.exp(-np.abs(edge) / 12)[:, None]
        return lab

    def in_perspective(self, ground: Floats, horizon: int) -> Floats:
        """A flat swatch seen at a slant: smaller towards the horizon, and flatter."""
        t = np.clip((np.arange(self.height) - horizon) / (self.height - horizon), 0, 1)
        depth = 1 / (0.3 + 0.7 * t)
        x = (np.arange(self.width) - self.width / 2) * depth[:, None] + self.width / 2
        y = np.broadcast_to((self.height * (depth - 1) * 0.8)[:, None], x.shape)
        # Smoothed where a step in the picture skips pixels of the swatch.
        near, far = (_remap(g, x, y) for g in (ground, cv2.GaussianBlur(ground, (0, 0), 1.5)))
        return far + t[:, None, None].astype(np.float32) * (near - far)


def _remap(source: Floats, x: NDArray[np.floating], y: NDArray[np.floating]) -> Floats:
    x, y = x.astype(np.float32), y.astype(np.float32)
    return cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
