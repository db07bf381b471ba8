"""Prompts as people draw them, simulated from an object's mask: strokes, coarse masks, corrections.

A kind of prompt is a short function of an object (:class:`nseg_lib.interactive.hand.Scene`) and a
random generator. Variety is the aim: nobody knows how the next person draws. Sizes scale with the
object, s being the square root of its area.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib.interactive import hand
from nseg_lib.interactive.hand import Path, Scene, log_uniform, lookup, path_length, trace
from nseg_lib.strokes import RECIPES, Drawn, _window, rasterize

Mask = NDArray[np.bool_]
Stroke = dict[str, Any]

CARELESS = 0.15
"""Share of prompts whose strokes are not kept from crossing the object's edge."""

LEAST_DEPTH = 1.5
"""Pixels: an error region nowhere deeper than this is not worth a stroke."""


# --- strokes on the object ------------------------------------------------------------------------


def _middle_path(scene: Scene, rng: Generator) -> Path:
    """One of the ways in which people mark an object with a single line."""
    way = rng.random()
    if way < 0.5:
        anchors = int(rng.choice([2, 3, 4], p=[0.6, 0.3, 0.1]))
        path = hand.through(scene, rng, anchors, deep=rng.uniform(0.5, 2.5))
    elif way < 0.8:
        path = hand.chord(scene, rng)
    else:
        path = hand.doodle(scene, rng, scene.size * log_uniform(rng, 0.3, 2.0))
    return _followed(path, scene, rng)


def _followed(path: Path, scene: Scene, rng: Generator, most: int = 64) -> Path:
    tremor = scene.size * log_uniform(rng, 0.001, 0.012)
    return hand.moved(path, rng, rng.uniform(0.0, 0.12), tremor, most)


def _careful(path: Path, scene: Scene) -> Path:
    """The longest stretch on the object; its deepest point if there is none."""
    kept = hand.longest(path, lookup(scene.inside, path) > 0.5)
    return kept if len(kept) else _deepest(scene)


def _deepest(scene: Scene) -> Path:
    y, x = np.unravel_index(int(np.argmax(scene.inside)), scene.mask.shape)
    return np.array([[x + 0.5, y + 0.5]])


def _thin(scene: Scene, rng: Generator, cover: float) -> list[Stroke]:
    """One to three lines whose areas make up about ``cover`` of the object."""
    careless = rng.random() < CARELESS
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.4, 0.1]))
    paths = [_middle_path(scene, rng) for _ in range(count)]
    if not careless:
        paths = [_careful(path, scene) for path in paths]
    area = cover * scene.size**2
    narrowest = max(1.0, 0.008 * scene.size) * rng.uniform(1, 2)
    length = sum(path_length(path) for path in paths)
    if length * narrowest > area:
        paths = [_shortened(path, area / (length * narrowest), rng) for path in paths]
        length = sum(path_length(path) for path in paths)
    width = float(np.clip(area / max(length, 1.0), narrowest, max(0.12 * scene.size, 1.5)))
    room = None if careless else scene.inside
    return [trace("object", path, width / 2, rng, room) for path in paths]


def _shortened(path: Path, share: float, rng: Generator) -> Path:
    count = max(2, round(share * len(path)))
    start = int(rng.integers(max(1, len(path) - count + 1)))
    return path[start : start + count]


def _hatch(scene: Scene, rng: Generator, spacing: float, radius: float) -> list[Stroke]:
    """Wavy parallel lines over the object, each as its own stroke, some left out."""
    careless = rng.random() < CARELESS
    floor = -rng.uniform(0, 0.03) * scene.size if careless else radius + 0.5
    lines = hand.hatching(
        lambda path: lookup(scene.signed, path) > floor,
        scene.box, rng, rng.uniform(0, np.pi), spacing, rng.uniform(0, 0.5),
    )  # fmt: skip
    left_out = rng.choice([0.0, 0.1, 0.4])
    lines = [path for path in lines if len(path) > 1 and rng.random() >= left_out]
    return [trace("object", path, radius, rng) for path in lines[:40]]


def _outline(scene: Scene, rng: Generator, radius: float) -> list[Stroke]:
    """Along the inside of the edge, all round or a part; now and then half outside."""
    half_out = rng.random() < 0.2
    depth = 0.0 if half_out else radius + rng.uniform(0.0, 0.06) * scene.size
    depth = min(depth, 0.7 * float(scene.inside.max()))
    ring = hand.level(scene.signed, depth, rng, rng.choice([rng.uniform(0.3, 1), 1.0]))
    path = hand.moved(ring, rng, rng.uniform(0, 0.02), 0.005 * scene.size, 120)
    return [trace("object", path, radius, rng)] if len(path) > 1 else []


def _zigzag(scene: Scene, rng: Generator) -> list[Stroke]:
    """One line to and fro that fills most of the object, now and then over its edge."""
    radius = scene.size * log_uniform(rng, 0.03, 0.12)
    spacing = 2 * radius * rng.uniform(0.6, 1.6)
    over = rng.uniform(-0.5, 0.6) * radius
    lines = hand.hatching(
        lambda path: lookup(scene.signed, path) > radius - over - 0.5,
        scene.box, rng, rng.uniform(0, np.pi), spacing, 0.1,
    )  # fmt: skip
    lines = [path[:: -1 if number % 2 else 1] for number, path in enumerate(lines) if len(path)]
    if len(lines) > 3 and rng.random() < 0.4:
        some = round(len(lines) * rng.uniform(0.5, 0.95))
        start = int(rng.integers(len(lines) - some + 1))
        lines = lines[start : start + some]
    if not lines:
        return []
    path = _followed(np.vstack(lines), scene, rng, 200)
    on_way = lookup(scene.signed, path) > -0.05 * scene.size
    return [trace("object", part, radius, rng) for part in hand.runs(path, on_way)]


# --- strokes on the background --------------------------------------------------------------------


def _background(scene: Scene, rng: Generator, count: int, radius: float) -> list[Stroke]:
    """Thin strokes beside the object, along its outline, or elsewhere in the picture."""
    if count == 0 or scene.outside.max() < 2 * radius + 4:
        return []
    careless = rng.random() < 0.05
    strokes = []
    for _ in range(count):
        path = _followed(_background_path(scene, rng, radius), scene, rng)
        clear = lookup(scene.outside, path) > (0 if careless else 1.2 * radius + 1.5)
        path = hand.longest(path, clear & _within(path, scene.mask.shape))
        if len(path) > 1:
            strokes.append(trace("background", path, radius, rng, 0.9 * scene.outside))
    return strokes


def _background_path(scene: Scene, rng: Generator, radius: float) -> Path:
    distance = radius + 2 + scene.size * log_uniform(rng, 0.04, 0.4)
    way = rng.random()
    if way < 0.35:
        ring = hand.level(-scene.outside, -distance, rng, rng.uniform(0.1, 1.0))
        if len(ring):
            return ring
    start, outward = _beside(scene, rng, distance if way < 0.75 else None)
    if way < 0.6:
        angle = outward + np.pi / 2 + rng.normal(0, 0.3)
    else:
        angle = rng.uniform(0, 2 * np.pi)
    longer = float(max(scene.mask.shape))
    length = min(scene.size * log_uniform(rng, 0.15, 1.5), 0.6 * longer)
    path = hand.line(start, angle, length, rng.normal(0, 0.6))
    return path - (path.mean(axis=0) - start)


def _beside(scene: Scene, rng: Generator, distance: float | None) -> tuple[Path, float]:
    """A point about ``distance`` from the object, or anywhere off it, and the way outward."""
    height, width = scene.mask.shape
    points = rng.uniform(0, 1, (400, 2)) * [width, height]
    if distance is not None:
        x, y, wide, high = scene.box
        low = np.maximum([x - distance, y - distance], 0)
        top = np.minimum([x + wide + distance, y + high + distance], [width, height])
        points = low + rng.uniform(0, 1, (400, 2)) * (top - low)
    away = lookup(scene.outside, points)
    fits = away > 0 if distance is None else np.abs(away - distance) < 0.3 * distance
    fits = fits if fits.any() else away == away.max()
    start = points[rng.choice(np.flatnonzero(fits))]
    step = np.array([[2.0, 0], [-2.0, 0], [0, 2.0], [0, -2.0]])
    right, left, down, up = lookup(scene.outside, start + step)
    return start, float(np.arctan2(down - up, right - left))


def _within(path: Path, shape: tuple[int, ...]) -> Mask:
    return (path >= 0).all(axis=1) & (path[:, 0] < shape[1]) & (path[:, 1] < shape[0])


def _dense_background(scene: Scene, rng: Generator, radius: float) -> list[Stroke]:
    """Hatching over the picture and a line round the object: how ``iseg_scribbles`` was marked."""
    gap = radius + 1.5 + scene.size * log_uniform(rng, 0.01, 0.15)
    strokes: list[Stroke] = []
    height, width = scene.mask.shape
    if rng.random() < 0.7:
        spacing = max(float(max(height, width)) * log_uniform(rng, 0.03, 0.15), 6 * radius)
        lines = hand.hatching(
            lambda path: (lookup(scene.outside, path) > gap) & _within(path, scene.mask.shape),
            (0, 0, width, height), rng, rng.uniform(0, np.pi), spacing, rng.uniform(0, 0.5),
        )  # fmt: skip
        lines = [path for path in lines if len(path) > 1]
        strokes += [trace("background", path, radius, rng) for path in lines]
    if rng.random() < 0.7:
        ring = hand.level(-scene.outside, -gap, rng, rng.uniform(0.5, 1))
        path = hand.moved(ring, rng, 0.005, 0.003 * scene.size, 120)
        if len(path) > 1:
            strokes.append(trace("background", path, radius, rng, 0.9 * scene.outside))
    return strokes


# --- kinds of prompt ------------------------------------------------------------------------------


def _sparse(scene: Scene, rng: Generator, background: bool = True) -> Drawn:
    strokes = _thin(scene, rng, log_uniform(rng, 0.005, 0.06))
    if background:
        count = int(rng.choice(6, p=[0.06, 0.1, 0.18, 0.28, 0.24, 0.14]))
        strokes += _background(scene, rng, count, _brush(scene, rng))
    return _rasterize(strokes, scene)


def _brush(scene: Scene, rng: Generator) -> float:
    """Radius of a thin brush: a part of the object's size and a part of the picture's."""
    picture = float(max(scene.mask.shape))
    blend = rng.uniform(0, 1)
    size = scene.size**blend * (0.3 * picture) ** (1 - blend)
    return max(0.8, size * log_uniform(rng, 0.008, 0.035))


def _dense(scene: Scene, rng: Generator) -> Drawn:
    """Several wider strokes, or hatching with an outline, covering 10 to 45 % of the object."""
    cover = rng.uniform(0.1, 0.45)
    radius = scene.size * log_uniform(rng, 0.008, 0.05)
    strokes: list[Stroke] = []
    if rng.random() < 0.5:
        strokes = _hatch(scene, rng, 2 * radius / cover, radius)
        if rng.random() < 0.7:
            strokes += _outline(scene, rng, radius)
    else:
        left = cover * scene.size**2
        for _ in range(10):
            path = _careful(_middle_path(scene, rng), scene)
            strokes.append(trace("object", path, radius, rng, scene.inside))
            left -= 2 * radius * path_length(path)
            if left < 0:
                break
    return _rasterize(strokes + _some_background(scene, rng), scene)


def _some_background(scene: Scene, rng: Generator) -> list[Stroke]:
    """None, a few thin strokes or dense ones."""
    way, radius = rng.random(), _brush(scene, rng)
    if way < 0.3:
        return []
    if way < 0.65:
        return _background(scene, rng, int(rng.integers(1, 7)), radius)
    return _dense_background(scene, rng, radius)


def _hatched(scene: Scene, rng: Generator) -> Drawn:
    radius = scene.size * log_uniform(rng, 0.008, 0.03)
    spacing = radius * log_uniform(rng, 4, 16)
    strokes = _hatch(scene, rng, spacing, radius)
    return _rasterize(strokes + _some_background(scene, rng), scene)


def _outlined(scene: Scene, rng: Generator) -> Drawn:
    strokes = _outline(scene, rng, scene.size * log_uniform(rng, 0.008, 0.04))
    return _rasterize(strokes + _some_background(scene, rng), scene)


def _filled(scene: Scene, rng: Generator) -> Drawn:
    strokes = _zigzag(scene, rng)
    few = int(rng.choice([0, rng.integers(1, 5)]))
    return _rasterize(strokes + _background(scene, rng, few, _brush(scene, rng)), scene)


def _slipped(scene: Scene, rng: Generator) -> Drawn:
    """A short stroke near the edge, 5 to 45 % of it outside."""
    path = _deepest(scene)
    for _ in range(12):
        depth = rng.uniform(0.0, 0.08) * scene.size
        ring = hand.level(scene.signed, min(depth, 0.5 * float(scene.inside.max())), rng, 0.05)
        if not len(ring):
            continue
        length = scene.size * log_uniform(rng, 0.15, 0.7)
        tried = hand.line(ring[0], rng.uniform(0, 2 * np.pi), length, rng.normal(0, 0.5))
        if 0.55 < np.mean(lookup(scene.inside, tried) > 0) < 0.95:
            path = _followed(tried, scene, rng)
            break
    strokes = [trace("object", path, scene.size * log_uniform(rng, 0.01, 0.05), rng)]
    few = int(rng.choice([0, rng.integers(1, 5)]))
    return _rasterize(strokes + _background(scene, rng, few, _brush(scene, rng)), scene)


def _rasterize(strokes: list[Stroke], scene: Scene) -> Drawn:
    """Object strokes over background strokes; a dot on the deepest pixel if none is there."""
    strokes = sorted(strokes, key=lambda stroke: stroke["kind"])
    drawn = rasterize(strokes, *scene.mask.shape)
    if (drawn.object & scene.mask).any():
        return drawn
    dot = {"kind": "object", "points": np.column_stack([_deepest(scene), [[1.0]]])}
    return rasterize([*strokes, dot], *scene.mask.shape)


# --- coarse masks ---------------------------------------------------------------------------------


def _shift(scene: Scene, rng: Generator) -> Mask:
    """The mask moved and scaled by up to 10 % of its size."""
    x, y, width, height = scene.box
    centre = np.array([x + width / 2, y + height / 2])
    scale = 1 + rng.uniform(-0.1, 0.1, 2)
    move = rng.uniform(-0.1, 0.1, 2) * scene.size
    matrix = np.column_stack([np.diag(scale), centre - scale * centre + move])
    moved = cv2.warpAffine(
        scene.mask.view(np.uint8), matrix, scene.mask.shape[::-1], flags=cv2.INTER_NEAREST
    )
    return moved > 0


def _polygon(scene: Scene, rng: Generator) -> Mask:
    """Each part's outline by few vertices, each a little off."""
    contours, _ = cv2.findContours(
        scene.mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    drawn = np.zeros(scene.mask.shape, np.uint8)
    tolerance = scene.size * log_uniform(rng, 0.015, 0.08)
    for contour in contours:
        corners = cv2.approxPolyDP(contour, tolerance, True).astype(np.float64)
        corners += rng.normal(0, 0.015 * scene.size, corners.shape)
        cv2.fillPoly(drawn, [corners.round().astype(np.int32)], 1)
    return drawn > 0


def _blocks(scene: Scene, rng: Generator) -> Mask:
    """The mask on a coarse grid, 4 to 20 cells to its size."""
    height, width = scene.mask.shape
    cell = max(2.0, scene.size / log_uniform(rng, 4, 20))
    coarse = (max(1, round(width / cell)), max(1, round(height / cell)))
    share = cv2.resize(scene.mask.astype(np.float32), coarse, interpolation=cv2.INTER_AREA)
    kept = (share >= rng.uniform(0.2, 0.7)).astype(np.uint8)
    return cv2.resize(kept, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _overpaint(scene: Scene, rng: Generator) -> Mask:
    """The mask grown by 0 to 15 % of its size, here more, there less."""
    height, width = scene.mask.shape
    cell = max(1.0, scene.size * log_uniform(rng, 0.08, 0.4))
    coarse = (max(2, round(height / cell) + 2), max(2, round(width / cell) + 2))
    amount = rng.uniform(-0.02, 0.12, coarse).astype(np.float32) * scene.size
    return scene.signed > -cv2.resize(amount, (width, height), interpolation=cv2.INTER_CUBIC)


def _released(recipe: str) -> Callable[[Scene, Generator], Mask]:
    def draw(scene: Scene, rng: Generator) -> Mask:
        mask, window = np.zeros_like(scene.mask), _window(scene.mask)
        mask[window] = RECIPES[recipe](scene.mask[window].astype(np.uint8) * 255, rng)
        return mask

    return draw


def _coarse(make: Callable[[Scene, Generator], Mask]) -> Callable[[Scene, Generator], Drawn]:
    """A coarse mask as the object stroke, in a quarter of the cases with background strokes."""

    def draw(scene: Scene, rng: Generator) -> Drawn:
        mask = make(scene, rng)
        few = int(rng.integers(1, 5)) if rng.random() < 0.25 else 0
        drawn = _rasterize(_background(scene, rng, few, _brush(scene, rng)), scene)
        if not (mask & scene.mask).any():
            return drawn
        return Drawn(mask, drawn.background & ~mask)

    return draw


PROMPTS: dict[str, Callable[[Scene, Generator], Drawn]] = {
    "sparse": _sparse,
    "sparse_object": lambda scene, rng: _sparse(scene, rng, background=False),
    "dense": _dense,
    "hatch": _hatched,
    "outline": _outlined,
    "fill": _filled,
    "beside": _slipped,
    "shift": _coarse(_shift),
    "polygon": _coarse(_polygon),
    "blocks": _coarse(_blocks),
    "overpaint": _coarse(_overpaint),
    **{recipe: _coarse(_released(recipe)) for recipe in RECIPES},
}
"""Kinds of prompt by name."""

MIX: dict[str, float] = {
    "sparse": 0.34, "sparse_object": 0.16, "dense": 0.10, "hatch": 0.05, "outline": 0.04,
    "fill": 0.06, "beside": 0.05, "shift": 0.02, "polygon": 0.02, "blocks": 0.02,
    "overpaint": 0.03, "erode": 0.05, "v1": 0.02, "paintbrush": 0.02, "dist": 0.02,
}  # fmt: skip
"""How often training draws each kind: thin strokes half of the time, for they are the hardest and
the commonest."""


def draw_prompt(mask: Mask, kind: str, rng: Generator) -> Drawn:
    """Simulate the strokes that somebody might draw for an object.

    Args:
        mask: bool H×W, the object.
        kind: a key of :data:`PROMPTS`.
        rng: the only source of chance.

    Returns:
        Object and background strokes, bool H×W each, without a common pixel. The object stroke
        meets the object wherever there is one; both are empty for an empty mask.

    Raises:
        ValueError: an unknown kind, or a mask that is not bool H×W.
    """
    if kind not in PROMPTS:
        raise ValueError(f"unknown kind of prompt '{kind}'; one of: {', '.join(PROMPTS)}")
    _check(mask, "mask")
    if not mask.any():
        return Drawn(np.zeros_like(mask), np.zeros_like(mask))
    return PROMPTS[kind](Scene(np.ascontiguousarray(mask)), rng)


def _check(mask: Mask, name: str) -> None:
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"{name} must be bool H×W, got {mask.dtype} of shape {mask.shape}")


# --- corrections ----------------------------------------------------------------------------------


def draw_correction(
    mask: Mask, prediction: Mask, rng: Generator, ignore: Mask | None = None
) -> Drawn:
    """Simulate one further stroke, along the middle of the largest error.

    The error region is that with the deepest pixel, a miss or a false alarm, as RITM chooses its
    next click (Sofiiuk et al. 2021). A miss gets an object stroke, a false alarm one of background.

    Args:
        mask: bool H×W, the object.
        prediction: bool H×W, the answer to correct.
        ignore: bool H×W, pixels that are no error whatever the answer; none without it.

    Returns:
        One stroke, the other mask empty; both empty where no error is deeper than
        :data:`LEAST_DEPTH` pixels.
    """
    counts = np.ones_like(mask) if ignore is None else ~ignore
    errors = {"object": mask & ~prediction & counts, "background": prediction & ~mask & counts}
    scenes = {kind: Scene(error) for kind, error in errors.items() if error.any()}
    kind = max(scenes, key=lambda k: float(scenes[k].inside.max()), default="")
    if not kind or scenes[kind].inside.max() <= LEAST_DEPTH:
        return Drawn(np.zeros_like(mask), np.zeros_like(mask))
    error = scenes[kind]
    labels = cv2.connectedComponents(error.mask.view(np.uint8), connectivity=8)[1]
    region = Scene(labels == labels.flat[int(np.argmax(error.inside))])
    if rng.random() < 0.7:
        path = hand.through(region, rng, 2, deep=rng.uniform(1, 2.5))
    else:
        path = hand.chord(region, rng)
    path = _careful(_followed(path, region, rng), region)
    path = _shortened(path, rng.uniform(0.5, 1), rng)
    whole = float(np.sqrt(np.count_nonzero(mask | prediction)))
    radius = max(0.8, whole * log_uniform(rng, 0.008, 0.05))
    return rasterize([trace(kind, path, radius, rng, region.inside)], *mask.shape)
