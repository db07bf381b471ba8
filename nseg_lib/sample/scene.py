"""Compose one picture of the sample: objects of photographed materials before a background.

An object's mask comes first and its soft edge follows it: opacity is at least ½ on the pixels of
the mask and below ½ elsewhere. So the annotation is exact by construction, whatever blurs the edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib.arrays import Mask
from nseg_lib.data.coco import annotation_mask
from nseg_lib.sample.shapes import FAMILIES, Outline, Shape, turned
from nseg_lib.sample.surfaces import Floats, Surfaces, to_rgb

MIN_AREA, MAX_AREA = 0.01, 0.6
"""Visible area of an object, as a share of the picture."""

SUPERSAMPLING = 4
"""Samples per pixel and direction when an object's coverage is worked out."""


@dataclass(frozen=True)
class WholeObject:
    """An object in the picture, before anything hides it."""

    family: str
    shape: Shape
    """In pixels."""
    mask: Mask
    """bool H×W."""
    coverage: Floats
    """The share of each pixel that it covers, float32 H×W, 0 to 1."""
    polygons: list[list[float]] | None
    """COCO polygons that rasterise to exactly the mask, where there are any."""


@dataclass(frozen=True)
class Scene:
    """A composed picture."""

    image: NDArray[np.uint8]
    """uint8 H×W×3 RGB."""
    objects: list[tuple[WholeObject, Mask]]
    """Each object and its visible pixels, bool H×W, the farthest first."""
    sources: list[str]
    """File names of the photographs that it is made of."""


def compose(rng: Generator, height: int, width: int) -> Scene:
    """A random picture of this size in pixels; the generator decides all of it."""
    surfaces = Surfaces(rng, height, width)
    light = _light(rng)
    canvas = to_rgb(surfaces.background())
    wholes = _layout(rng, height, width, surfaces.horizon)
    for whole in wholes:
        canvas = _paint_shadow(canvas, whole, light, surfaces)
        canvas = _paint_object(canvas, whole, light, surfaces)
    image = _exposed(canvas, surfaces)
    return Scene(image, list(zip(wholes, _visible(wholes), strict=True)), sorted(surfaces.sources))


def _light(rng: Generator) -> NDArray[np.float64]:
    """Direction to the light, (x, y, towards the viewer): from above, as lamps and the sun are."""
    slope = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(slope), -0.3 - abs(np.sin(slope)), rng.uniform(0.8, 1.6)])
    return light / np.linalg.norm(light)


# --- which objects, and where ---------------------------------------------------------------------


def _layout(rng: Generator, height: int, width: int, horizon: int | None) -> list[WholeObject]:
    """One to five objects, the farthest first; each shows enough of itself and not too much."""
    others = rng.choice(5, p=[0.2, 0.3, 0.25, 0.15, 0.1])
    shares = [rng.uniform(0.12, 0.58), *rng.uniform(0.015, 0.15, others)]
    wholes = [_random_object(rng, height, width, share, horizon) for share in shares]
    # Lower in the picture is nearer.
    wholes.sort(key=lambda whole: _lowest_row(whole.mask))
    while wholes:
        areas = [visible.mean() for visible in _visible(wholes)]
        bad = [i for i, area in enumerate(areas) if not MIN_AREA <= area <= MAX_AREA]
        if not bad:
            return wholes
        del wholes[min(bad, key=lambda i: areas[i])]
    return _layout(rng, height, width, horizon)


def _random_object(
    rng: Generator, height: int, width: int, share: float, horizon: int | None
) -> WholeObject:
    """A random object that covers about this share of the picture."""
    family = list(FAMILIES)[rng.integers(len(FAMILIES))]
    shape = FAMILIES[family](rng)
    lying = family in ("smooth", "pierced") and rng.random() < 0.4
    angle = rng.uniform(0, 2 * np.pi) if lying else rng.uniform(-0.25, 0.25)
    shape = _transformed(shape, lambda points: turned(points, angle))
    low, high = _bounds(shape)
    frame = np.array([width, height])
    # Most lie in the picture altogether; some may be cut by its border.
    limit = rng.choice([0.97, 1.15], p=[0.8, 0.2])
    scale = min(np.sqrt(share * frame.prod() / _area(shape)), (limit * frame / (high - low)).min())
    room = frame - scale * (high - low)
    corner = rng.uniform(np.minimum(0, room), np.maximum(0, room))
    if horizon is not None:  # its foot on the ground
        lowest = horizon + 0.08 * height - scale * (high - low)[1]
        corner[1] = max(corner[1], min(lowest, room[1]))
    # Rounded, as the annotation will be, so that the picture shows what the annotation says.
    placed = _transformed(shape, lambda points: np.round((points - low) * scale + corner, 2))
    return _rasterised(family, placed, height, width)


def _rasterised(family: str, shape: Shape, height: int, width: int) -> WholeObject:
    """Mask, coverage and, where they can say the same, polygons of a shape in pixels."""
    coverage = _coverage(shape, height, width)
    low, high = _bounds(shape)
    if shape.holes or (low < 0).any() or (high > [width, height]).any():
        return WholeObject(family, shape, coverage >= 0.5, coverage, None)
    # What pycocotools makes of the polygons is the truth; it differs in a few pixels of the edge.
    polygons = [outline.ravel().tolist() for outline in shape.outlines]
    mask = annotation_mask({"segmentation": polygons}, height, width)
    return WholeObject(family, shape, mask, coverage, polygons)


def _visible(wholes: list[WholeObject]) -> list[Mask]:
    """What each object shows of itself behind those that come after it."""
    visible: list[Mask] = []
    hidden = np.zeros_like(wholes[0].mask)
    for whole in reversed(wholes):
        visible.append(whole.mask & ~hidden)
        hidden = hidden | whole.mask
    return visible[::-1]


# --- how they look --------------------------------------------------------------------------------


def _paint_object(
    canvas: Floats, whole: WholeObject, light: NDArray[np.float64], surfaces: Surfaces
) -> Floats:
    """The picture with one more object before it."""
    rng = surfaces.rng
    surface = surfaces.material()
    for face in whole.shape.faces:
        other = surfaces.material() if rng.random() < 0.15 else surface.copy()
        other[..., 0] *= rng.uniform(0.55, 1.3)
        share = _coverage(Shape([face]), *whole.mask.shape)[..., None]
        surface = surface + share * (other - surface)
    surface = _set_contrast(surface, canvas, whole.mask, rng)
    colour = np.clip(to_rgb(surface) * _shading(whole, light, surfaces)[..., None], 0, 1)
    opacity = cv2.GaussianBlur(whole.coverage, (0, 0), rng.uniform(0.3, 1.1))
    opacity = np.where(whole.mask, np.maximum(opacity, 0.5), np.minimum(opacity, 0.49))
    return canvas + opacity[..., None] * (colour - canvas)


def _set_contrast(surface: Floats, canvas: Floats, mask: Mask, rng: Generator) -> Floats:
    """Shift a surface's colour so that it differs from its surroundings by a chosen amount.

    The mean colours inside the mask and in a ring around it come to lie 5 to 50 apart in CIELAB; a
    quarter of the objects are hard to tell from what is behind them.
    """
    around = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool) & ~mask
    if not around.any():
        return surface
    behind = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB)[around].mean(axis=0)
    inside = surface[mask].mean(axis=0)
    difference = inside - behind
    if np.linalg.norm(difference) < 1:
        difference = rng.normal(size=3)
    distance = np.linalg.norm(difference)
    low, high = (5, 12) if rng.random() < 0.25 else (14, 50)
    wanted = difference * np.clip(distance, low, high) / distance
    if not 12 < behind[0] + wanted[0] < 92:
        wanted[0] *= -1
    return surface + (behind + wanted - inside).astype(np.float32)


def _shading(whole: WholeObject, light: NDArray[np.float64], surfaces: Surfaces) -> Floats:
    """How light falls on an object, about 1: it is round at its edge and flat where it is broad."""
    rng = surfaces.rng
    distance = cv2.distanceTransform(whole.mask.astype(np.uint8), cv2.DIST_L2, 5)
    radius = distance.max() * rng.uniform(0.3, 1.0) + 1
    relief = radius * np.sqrt(1 - (1 - np.clip(distance / radius, 0, 1)) ** 2)
    relief = cv2.GaussianBlur(relief.astype(np.float32), (0, 0), float(1 + radius / 8))
    relief *= rng.uniform(0.1, 0.3) if whole.family == "angular" else rng.uniform(0.3, 0.9)
    dy, dx = np.gradient(relief)
    facing = (light[2] - dx * light[0] - dy * light[1]) / np.sqrt(1 + dx * dx + dy * dy)
    lambert = np.clip(facing, 0, 1)
    ambient = rng.uniform(0.45, 0.7)
    shade = ambient + (1 - ambient) * lambert / light[2]
    if rng.random() < 0.35:  # polished: a highlight
        shade += rng.uniform(0.3, 1.0) * lambert ** rng.uniform(15, 40)
    return (shade * (1 + 0.06 * surfaces.noise(80))).astype(np.float32)


def _paint_shadow(
    canvas: Floats, whole: WholeObject, light: NDArray[np.float64], surfaces: Surfaces
) -> Floats:
    """Darken what is behind an object: its shadow on the ground or wall, and where it stands."""
    rng, (height, width) = surfaces.rng, whole.mask.shape
    foot = _lowest_row(whole.mask)
    lean, drop = -light[0] / light[2], -light[1] / light[2]
    if surfaces.horizon is not None and foot > surfaces.horizon:
        flat = rng.uniform(0.15, 0.4)
        move = np.array([[1, -0.6 * lean, 0.6 * lean * foot], [0, flat, (1 - flat) * foot]])
    else:
        reach = rng.uniform(0.01, 0.05) * height
        move = np.array([[1, 0, lean * reach], [0, 1, drop * reach]])
    cast = cv2.warpAffine(whole.coverage, move, (width, height))
    cast = cv2.GaussianBlur(cast, (0, 0), rng.uniform(0.005, 0.02) * height)
    close = cv2.GaussianBlur(whole.coverage, (0, 0), 0.015 * height)
    dark = rng.uniform(0.2, 0.6) * cast + rng.uniform(0.0, 0.35) * close
    return canvas * (1 - np.clip(dark, 0, 0.85))[..., None]


def _exposed(canvas: Floats, surfaces: Surfaces) -> NDArray[np.uint8]:
    """From light to a photograph: colour cast, uneven light, lens blur, sensor noise."""
    rng, (height, width) = surfaces.rng, canvas.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - rng.uniform(0, 0.25) * (x * x + y * y) / 2
    light = rng.uniform(0.85, 1.1) * vignette * (1 + 0.05 * surfaces.noise(150))
    canvas = canvas * light[..., None] * (1 + rng.normal(0, 0.04, 3))
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 0.7))
    if rng.random() < 0.03:  # COCO has some grey pictures too
        canvas = np.repeat(canvas @ np.array([[0.299], [0.587], [0.114]]), 3, axis=2)
    grain = rng.standard_normal((height, width, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.6) * rng.uniform(0.01, 0.035)
    canvas = canvas + grain * np.sqrt(np.clip(canvas, 0.02, 1))
    return np.clip(np.round(255 * canvas), 0, 255).astype(np.uint8)


# --- geometry -------------------------------------------------------------------------------------


def _lowest_row(mask: Mask) -> int:
    """The lowest row of a mask; 0 for an empty one."""
    return int(np.nonzero(mask.any(axis=1))[0].max(initial=0))


def _bounds(shape: Shape) -> tuple[Outline, Outline]:
    """Least and greatest (x, y) of a shape."""
    points = np.vstack(shape.outlines)
    return points.min(axis=0), points.max(axis=0)


def _transformed(shape: Shape, move: Callable[[Outline], Outline]) -> Shape:
    groups = (shape.outlines, shape.holes, shape.faces)
    return Shape(*([move(points) for points in group] for group in groups))


def _coverage(shape: Shape, height: int, width: int) -> Floats:
    """The share of each pixel that a shape covers, float32 height×width, 0 to 1."""
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    for group, value in ((shape.outlines, 255), (shape.holes, 0)):
        for outline in group:
            # In COCO a pixel's centre is at ½, in OpenCV at 0; OpenCV takes 1/16 of a pixel.
            points = np.round((outline * SUPERSAMPLING - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(fine, [points], value, shift=4)
    coarse = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return coarse.astype(np.float32) / 255


def _area(shape: Shape) -> float:
    """Area of a shape in its own frame."""
    low, high = _bounds(shape)
    scale = 128 / (high - low).max()
    pixels = _coverage(_transformed(shape, lambda points: (points - low) * scale), 128, 128)
    return float(pixels.sum()) / scale**2
