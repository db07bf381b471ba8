"""Outlines of the sample's objects: five families, drawn at random.

A shape lives in a frame of its own, about -1 to 1 in x and y, with y downwards. A family shares
what makes it hard to refine: smooth shapes have no corners, angular ones little else, articulated
ones have narrow joints, pierced ones holes, thin ones parts that are narrower than a brush.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Outline = NDArray[np.float64]
"""float64 N×2, the corners (x, y) of a closed polygon."""


@dataclass(frozen=True)
class Shape:
    """The union of outlines, less the union of holes."""

    outlines: list[Outline]
    holes: list[Outline] = field(default_factory=list)
    faces: list[Outline] = field(default_factory=list)
    """Regions that catch the light differently, or are of another material."""


def _xy(x: ArrayLike, y: ArrayLike) -> Outline:
    """One point of two numbers; of two lists, N×2 points."""
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=-1)


def _polar(radii: NDArray[np.float64], angles: NDArray[np.float64]) -> Outline:
    return np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])


def _ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, n: int = 28) -> Outline:
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return turned(_polar(np.ones(n), angles) * _xy(rx, ry), turn) + _xy(x, y)


def turned(points: Outline, angle: float) -> Outline:
    """Points turned about the origin, clockwise on the screen; the angle is in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def _limb(start: Outline, end: Outline, r0: float, r1: float) -> Outline:
    """A capsule from disc (start, r0) to disc (end, r1), as the hull of two half circles."""
    along = np.arctan2(end[1] - start[1], end[0] - start[0])
    half = np.linspace(-np.pi / 2, np.pi / 2, 8)
    far = end + _polar(np.full(8, r1), along + half)
    return np.vstack([far, start + _polar(np.full(8, r0), along - half[::-1] + np.pi)])


def _rounded(corners: Outline, roundness: float, steps: int = 4) -> Outline:
    """Corners cut by quadratic curves that begin `roundness` (0 to ½) of a side away from them."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    t = np.linspace(0, 1, steps)[None, :, None]
    a = (corners + roundness * (before - corners))[:, None]
    b = (corners + roundness * (after - corners))[:, None]
    curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * corners[:, None] + t**2 * b
    return curve.reshape(-1, 2)


def _blob(rng: Generator, wobble: float, n: int = 56) -> Outline:
    """A closed curve whose radius is a sum of the first harmonics, amplitudes falling as 1/k."""
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    radii = np.ones(n)
    for k in range(2, 6):
        radii += wobble / k * rng.normal() * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
    return _polar(np.maximum(radii, 0.35), angles) * _xy(1, rng.uniform(0.5, 1.0))


# --- the families ---------------------------------------------------------------------------------


def smooth(rng: Generator) -> Shape:
    """Stones, fruit, bottles: one curve without corners."""
    if rng.random() < 0.3:  # turned on a lathe: a profile and its mirror image
        y = np.linspace(-1, 1, 16)
        heights = np.linspace(-1, 1, 5)
        profile = np.interp(y, heights, rng.uniform(0.15, 0.6, 5))
        profile = np.convolve(np.pad(profile, 2, mode="edge"), np.full(5, 0.2), mode="valid")
        right = np.column_stack([profile, y])
        return Shape([_rounded(np.vstack([right, right[::-1] * _xy(-1, 1)]), 0.25, 3)])
    return Shape([_blob(rng, rng.uniform(0.1, 0.45))])


def angular(rng: Generator) -> Shape:
    """Boxes, crystals, signs: straight sides, corners sharp or a little worn."""
    kind = rng.integers(3)
    worn = rng.uniform(0.0, 0.08)
    if kind == 0:
        return _box(rng)
    if kind == 1:  # a crystal, its facets meeting at a point inside
        n = int(rng.integers(5, 9))
        angles = np.sort((np.arange(n) + rng.uniform(-0.3, 0.3, n)) * 2 * np.pi / n)
        corners = _polar(rng.uniform(0.7, 1.0, n), angles) * _xy(1, rng.uniform(0.6, 1.0))
        tip = rng.uniform(-0.25, 0.25, 2)
        facets = [np.vstack([corners[i], corners[(i + 1) % n], tip]) for i in range(n)]
        return Shape([_rounded(corners, worn)], faces=facets)
    n = int(rng.integers(4, 8))  # a star, or a splinter
    angles = np.arange(2 * n) * np.pi / n + rng.uniform(-0.15, 0.15, 2 * n)
    radii = np.where(np.arange(2 * n) % 2, rng.uniform(0.45, 0.8), 1.0) * rng.uniform(0.8, 1, 2 * n)
    return Shape([_rounded(_polar(radii, angles), worn)])


def _box(rng: Generator) -> Shape:
    """A cuboid seen from above one of its corners: three faces."""
    yaw, squash = rng.uniform(0.3, 1.2), rng.uniform(0.2, 0.55)
    width, depth, height = rng.uniform(0.5, 1.0, 3) * [1.0, 1.0, 1.2]
    right = width * _xy(np.cos(yaw), squash * np.sin(yaw))
    left = depth * _xy(-np.sin(yaw), squash * np.cos(yaw))
    near, far, up = left + right, _xy(0, 0), _xy(0, -height)
    faces = [
        np.vstack([far, left, near, right]) + up,
        np.vstack([left, near, near + up, left + up]),
        np.vstack([near, right, right + up, near + up]),
    ]
    return Shape([np.vstack([far + up, right + up, right, near, left, left + up])], faces=faces)


def articulated(rng: Generator) -> Shape:
    """Figures on two legs or four: a trunk, a head and jointed limbs."""
    return _biped(rng) if rng.random() < 0.5 else _quadruped(rng)


def _leg(rng: Generator, hip: Outline, angle: float, length: float, r: float) -> list[Outline]:
    """Thigh, shin and foot; the knee bends either way."""
    bend = angle + rng.uniform(-0.5, 0.5)
    knee = hip + length / 2 * _xy(np.cos(angle), np.sin(angle))
    heel = knee + length / 2 * _xy(np.cos(bend), np.sin(bend))
    toe = heel + 1.2 * r * _xy(rng.choice([-1.0, 1.0]), 0.1)
    thigh, shin = _limb(hip, knee, r, 0.8 * r), _limb(knee, heel, 0.8 * r, 0.6 * r)
    return [thigh, shin, _limb(heel, toe, 0.6 * r, 0.5 * r)]


def _biped(rng: Generator) -> Shape:
    shoulder, hip, r = rng.uniform(0.2, 0.34), rng.uniform(0.18, 0.3), rng.uniform(0.09, 0.14)
    lean = rng.uniform(-0.12, 0.12)
    trunk = _xy([lean - shoulder, lean + shoulder, hip, -hip], [-0.45, -0.45, 0.25, 0.25])
    trunk = _rounded(trunk, 0.3)
    neck = _limb(_xy(lean, -0.5), _xy(lean, -0.6), 0.09, 0.09)
    head = _ellipse(1.2 * lean, -0.8, rng.uniform(0.16, 0.24), rng.uniform(0.19, 0.26))
    outlines = [trunk, neck, head]
    for side in (-1.0, 1.0):
        down = np.pi / 2 - side * rng.uniform(-0.1, 1.4)
        joint = _xy(lean + side * (shoulder - 0.06), -0.4)
        outlines += _leg(rng, joint, down, rng.uniform(0.6, 0.8), 0.75 * r)[:2]
        down = np.pi / 2 - side * rng.uniform(0, 0.4)
        outlines += _leg(rng, _xy(side * (hip - 0.08), 0.2), down, 0.9, r)
    return Shape(outlines, faces=[trunk, head])


def _quadruped(rng: Generator) -> Shape:
    height = rng.uniform(0.24, 0.38)
    body = _blob(rng, 0.12)
    body *= _xy(0.62, height / np.abs(body[:, 1]).max())
    nape = _xy(rng.uniform(0.65, 0.85), rng.uniform(-0.75, -0.35))
    neck = _limb(_xy(0.45, -0.05), nape, 0.6 * height, 0.11)
    head = _ellipse(nape[0] + 0.08, nape[1], 0.22, 0.13, rng.uniform(0.0, 0.7))
    ear = _rounded(nape + _xy([-0.05, -0.02, 0.07], [-0.1, -0.3, -0.1]), 0.15)
    rump, swing = _xy(-0.55, -0.1), rng.uniform(-0.8, 0.8)
    tail = _limb(rump, rump + rng.uniform(0.3, 0.5) * _xy(-1, swing), 0.08, 0.03)
    outlines = [body, neck, head, ear, tail]
    for x in (-0.48, -0.32, 0.3, 0.47):
        down, length = np.pi / 2 + rng.uniform(-0.3, 0.3), rng.uniform(0.6, 0.75)
        outlines += _leg(rng, _xy(x, 0.45 * height), down, length, rng.uniform(0.08, 0.12))
    side = _xy(rng.choice([-1.0, 1.0]), 1)
    return Shape([outline * side for outline in outlines], faces=[head * side])


def pierced(rng: Generator) -> Shape:
    """Rings, slabs with holes, mugs, wheels, frames."""
    return [_ring, _slab, _mug, _wheel, _frame][rng.integers(5)](rng)


def _ring(rng: Generator) -> Shape:
    outer = _blob(rng, 0.15)
    return Shape([outer], [outer * rng.uniform(0.3, 0.6) + rng.uniform(-0.06, 0.06, 2)])


def _slab(rng: Generator) -> Shape:
    slab = _blob(rng, 0.2)
    flat = np.abs(slab[:, 1]).max()
    holes = []
    for angle in np.arange(rng.integers(2, 6)) * 2 * np.pi / 5 + rng.uniform(0, 2 * np.pi):
        rx, ry, turn = rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.16), rng.uniform(0, np.pi)
        holes.append(_ellipse(0.48 * np.cos(angle), 0.48 * np.sin(angle) * flat, rx, ry, turn))
    return Shape([slab], holes)


def _mug(rng: Generator) -> Shape:
    top, bottom, rim = rng.uniform(0.5, 0.65), rng.uniform(0.35, 0.6), rng.uniform(0.08, 0.2)
    body = _xy([-top, top, bottom, -bottom], [-0.7, -0.7, 0.7, 0.7])
    mouth, foot = _ellipse(0, -0.7, top, rim), _ellipse(0, 0.7, bottom, 0.6 * rim)
    x, y = top + rng.uniform(0.05, 0.15), rng.uniform(-0.2, 0.05)
    rx, ratio, bar = rng.uniform(0.3, 0.4), rng.uniform(1.0, 1.4), rng.uniform(0.55, 0.75)
    hole = _ellipse(x, y, rx * bar, rx * ratio * bar)
    # Cut at the wall, so that the body stays whole.
    hole[:, 0] = np.maximum(hole[:, 0], np.interp(hole[:, 1], [-0.7, 0.7], [top, bottom]))
    return Shape([body, mouth, foot, _ellipse(x, y, rx, rx * ratio)], [hole], faces=[mouth])


def _wheel(rng: Generator) -> Shape:
    flat, spokes = _xy(1, rng.uniform(0.6, 1.0)), int(rng.integers(3, 8))
    rim, hub, bar = rng.uniform(0.65, 0.8), rng.uniform(0.18, 0.3), rng.uniform(0.06, 0.12)
    holes = []
    for start in np.arange(spokes) * 2 * np.pi / spokes + rng.uniform(0, 1):
        end = start + 2 * np.pi / spokes - 2 * bar
        # As far from the spokes' middle at the hub as at the rim, or a point there.
        inset = min(2 * bar, (end - start) / 2)
        outer = _polar(np.full(12, rim), np.linspace(start, end, 12))
        inner = _polar(np.full(4, hub), np.linspace(end - inset, start + inset, 4))
        holes.append(np.vstack([outer, inner]) * flat)
    return Shape([_ellipse(0, 0, 1, 1, n=48) * flat], holes)


def _frame(rng: Generator) -> Shape:
    half, bar = _xy(1, rng.uniform(0.6, 1.0)), rng.uniform(0.2, 0.38)
    square = _xy([-1, 1, 1, -1], [-1, -1, 1, 1])
    hole = _rounded(square * (half - bar), rng.uniform(0, 0.3))
    return Shape([_rounded(square * half, rng.uniform(0, 0.2))], [hole])


def thin(rng: Generator) -> Shape:
    """Lamps, plants, chairs, spoons: something broad on something thin."""
    return [_lamp, _plant, _chair, _spoon][rng.integers(4)](rng)


def _lamp(rng: Generator) -> Shape:
    top, bottom, drop = rng.uniform(0.2, 0.45), rng.uniform(0.5, 0.75), rng.uniform(-0.5, -0.2)
    shade = _xy([-top, top, bottom, -bottom], [-1, -1, drop, drop])
    r = rng.uniform(0.03, 0.06)
    pole = _limb(_xy(0, -0.5), _xy(rng.uniform(-0.1, 0.1), 0.95), r, r)
    base = _ellipse(0, 0.95, rng.uniform(0.3, 0.5), rng.uniform(0.06, 0.12))
    return Shape([_rounded(shade, rng.uniform(0.02, 0.2)), pole, base], faces=[shade])


def _plant(rng: Generator) -> Shape:
    pot = _rounded(_xy([-0.42, 0.42, 0.3, -0.3], [0.35, 0.35, 1, 1]), 0.05)
    outlines = [pot]
    for angle in np.linspace(-2.7, -0.4, rng.integers(4, 8)) + rng.uniform(-0.2, 0.2):
        root, along = _xy(rng.uniform(-0.15, 0.15), 0.4), _xy(np.cos(angle), np.sin(angle))
        tip = root + rng.uniform(0.8, 1.3) * along
        x, y = tip - 0.1 * along
        leaf = _ellipse(x, y, rng.uniform(0.22, 0.36), rng.uniform(0.09, 0.17), angle)
        outlines += [_limb(root, tip, 0.035, 0.025), leaf]
    return Shape(outlines, faces=[pot])


def _chair(rng: Generator) -> Shape:
    skew, r, length = rng.uniform(0.15, 0.4), rng.uniform(0.035, 0.06), rng.uniform(0.6, 0.8)
    seat = _xy([-0.55, 0.35, 0.35 + skew, skew - 0.55], [0.15, 0.15, -0.05, -0.05])
    back = _xy([-0.5, 0.35, 0.3, -0.45], [-0.1, -0.1, -0.95, -0.95]) + _xy(skew, 0)
    panel = _rounded(back * _xy(1, rng.uniform(0.45, 0.8)) + _xy(0, -0.25), 0.1)
    legs = [_limb(c, c + _xy(0.05 * np.sign(c[0]), length), r, 0.8 * r) for c in seat]
    rails = [_limb(back[i], back[j], r, r) for i, j in ((0, 3), (1, 2), (3, 2))]
    edge = _limb(seat[0], seat[1], 1.3 * r, 1.3 * r)
    return Shape([seat, edge, *legs, *rails, panel], faces=[seat])


def _spoon(rng: Generator) -> Shape:
    bowl = _ellipse(0, -0.68, rng.uniform(0.24, 0.36), rng.uniform(0.34, 0.45))
    tip, r = _xy(rng.uniform(-0.1, 0.1), 1.1), rng.uniform(0.05, 0.1)
    angle = rng.uniform(-1.2, 1.2)
    return Shape([turned(o, angle) for o in (bowl, _limb(_xy(0, -0.3), tip, 0.045, r))])


FAMILIES: dict[str, Callable[[Generator], Shape]] = {
    family.__name__: family for family in (smooth, angular, articulated, pierced, thin)
}
"""Name of a family, which is the category in the annotations → a random shape of it."""
