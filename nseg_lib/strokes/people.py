"""Simulated people: strokes, coarse masks and corrections as somebody might draw for an object.

A kind of prompt is a short function of an object and a hand (:mod:`nseg_lib.strokes.hand`), and one
entry in :data:`STROKES`. Variety is the aim, because nobody knows how the next person draws. Sizes
scale with the object; s is the square root of its area. The ranges are wide around what 32 pictures
of ``iseg_scribbles`` show (:func:`nseg_lib.data.scribbles.stroke_statistics`, 10th to 90th
percentile): strokes 0.012 to 0.03 s wide, 9 to 16 s long together, which cover 14 to 30 % of the
object, up to 5 % of them beyond it, in wavy hatching and a line along the edge. That set holds no
thin strokes; theirs are a guess at how little one would like to draw.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from nseg_lib.arrays import Mask
from nseg_lib.strokes import paths
from nseg_lib.strokes.coarse import COARSE
from nseg_lib.strokes.drawing import Drawn, rasterize
from nseg_lib.strokes.hand import Hand, Stroke
from nseg_lib.strokes.paths import Target, Track, log_uniform, lookup, path_length

MIN_DEPTH = 1.5
"""Pixels: an error region nowhere deeper than this is not worth a stroke."""


# --- strokes on the object ------------------------------------------------------------------------


def _single(target: Target, hand: Hand) -> Track:
    """One of the ways in which people mark an object with a single line."""
    rng, way = hand.rng, hand.rng.random()
    if way < 0.35:
        path = paths.through(target, rng, 2, rng.uniform(0.7, 2.5), spine=True)
    elif way < 0.6:
        anchors = int(rng.choice([2, 3, 4], p=[0.6, 0.3, 0.1]))
        path = paths.through(target, rng, anchors, rng.uniform(0.3, 2.5))
    elif way < 0.8:
        path = paths.chord(target, rng)
    elif way < 0.87:
        path = paths.corners(target, rng)
    else:
        path = paths.doodle(target, rng, target.size * log_uniform(rng, 0.3, 2.0))
    path = hand.follow(path, target)
    if hand.careless:
        return path
    kept = paths.longest(path, lookup(target.inside, path) > 0.5)
    return kept if len(kept) else target.deepest()


def _thin(target: Target, hand: Hand) -> tuple[list[Stroke], float]:
    """One to three lines of .5 to 6 % of the object's area, more where it is small; and their
    radius."""
    rng = hand.rng
    area = log_uniform(rng, 0.005, 0.06) * target.size**2
    lines = [_single(target, hand) for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.4, 0.1]))]
    narrowest = max(rng.uniform(1, 3), target.size * log_uniform(rng, 0.008, 0.025))
    length = sum(path_length(path) for path in lines)
    # Lines that would cover too much even at their narrowest are shortened instead.
    if length * narrowest > area:
        share = max(area / (length * narrowest), min(1.0, 0.3 * target.size / length))
        lines = [paths.shortened(path, share, rng) for path in lines]
        length = sum(path_length(path) for path in lines)
    radius = float(np.clip(area / max(length, 1.0), narrowest, max(0.1 * target.size, 3))) / 2
    room = None if hand.careless else target.inside
    return [hand.trace("object", path, radius, room) for path in lines], radius


def _dots(target: Target, hand: Hand) -> tuple[list[Stroke], float]:
    """One to four dots or ticks, and their radius."""
    rng, radius = hand.rng, hand.radius(target) * hand.rng.uniform(1, 2)
    dots = []
    for _ in range(rng.integers(1, 5)):
        path = paths.through(target, rng, 2, 1.0)
        length = radius * rng.choice([0.0, rng.uniform(0, 6)])
        dots.append(paths.shortened(path, length / max(path_length(path), 1.0), rng))
        dots[-1] = dots[-1][: 1 if length == 0 else None]
    return [hand.trace("object", path, radius, target.inside) for path in dots], radius


def _hatch(target: Target, hand: Hand, radius: float, cover: float) -> list[Stroke]:
    """Wavy parallel lines over the object, each a stroke of its own, some left out."""
    rng = hand.rng
    floor = -rng.uniform(0, 0.03) * target.size if hand.careless else radius + 0.5
    spacing = float(np.clip(2 * radius / cover, target.size / 20, target.size / 3))
    lines = paths.hatching(
        lambda path: lookup(target.signed, path) > floor,
        target.box,
        rng,
        spacing,
        rng.uniform(0, 1),
    )
    left_out = rng.choice([0.0, 0.1, 0.4])
    kept = [path for path in lines if rng.random() >= left_out] or lines[:1]
    if not kept:
        return _thin(target, hand)[0]
    return [hand.trace("object", path, radius) for path in kept[:40]]


def _outline(target: Target, hand: Hand, radius: float) -> list[Stroke]:
    """Along the inside of the edge, all round or a part; now and then half outside."""
    rng = hand.rng
    depth = 0.0 if rng.random() < 0.2 else radius + rng.uniform(0.0, 0.06) * target.size
    depth = min(depth, 0.7 * float(target.inside.max()))
    ring = paths.level(target.signed, depth, rng, rng.choice([rng.uniform(0.3, 1), 1.0]))
    path = hand.follow(ring, target, 120, share=0.15)
    return [hand.trace("object", path, radius)] if len(path) > 1 else _thin(target, hand)[0]


def _zigzag(target: Target, hand: Hand) -> list[Stroke]:
    """One line to and fro that fills most of the object, now and then over its edge."""
    rng = hand.rng
    radius = target.size * log_uniform(rng, 0.03, 0.12)
    over = rng.uniform(-0.5, 0.6) * radius
    lines = paths.hatching(
        lambda path: lookup(target.signed, path) > radius - over - 0.5,
        target.box, rng, 2 * radius * rng.uniform(0.6, 1.6), 0.1,
    )  # fmt: skip
    lines = [path[:: -1 if number % 2 else 1] for number, path in enumerate(lines)]
    if len(lines) > 3 and rng.random() < 0.4:
        lines = lines[rng.integers(len(lines) // 2) :]
    if not lines:
        return _thin(target, hand)[0]
    path = hand.follow(np.vstack(lines), target, 200, share=0.1)
    on_way = lookup(target.signed, path) > -0.05 * target.size
    return [hand.trace("object", part, radius) for part in paths.runs(path, on_way)]


def _across_edge(target: Target, hand: Hand) -> list[Stroke]:
    """A short stroke over the edge, 5 to 45 % of it outside."""
    rng, path = hand.rng, target.deepest()
    length = target.size * log_uniform(rng, 0.15, 0.8)
    ring = paths.level(target.inside, 1.0, rng, 1.0)
    for _ in range(15 if len(ring) else 0):
        angle, outside = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.45)
        tried = paths.line(ring[rng.integers(len(ring))], angle, length, rng.normal(0, 0.5))
        # Slid along itself, so that it crosses the edge where its last part begins.
        tried = tried - (tried[round(24 * (1 - outside))] - tried[0])
        if 0.55 < np.mean(lookup(target.inside, tried) > 0) < 0.95:
            path = hand.follow(tried, target)
            break
        length *= 0.93
    return [hand.trace("object", path, target.size * log_uniform(rng, 0.01, 0.05))]


# --- strokes on the background --------------------------------------------------------------------


def _lines_beside(target: Target, hand: Hand, count: int, radius: float) -> list[Stroke]:
    """Up to ``count`` thin strokes beside the object, along its outline, or elsewhere."""
    if count == 0 or target.outside.max() < 2 * radius + 4:
        return []
    # now and then right up to the edge, though people in `iseg_scribbles` never cross it
    nearest = 0 if hand.rng.random() < 0.05 else 1.2 * radius + 1.5
    strokes = []
    for _ in range(count):
        path = hand.follow(paths.beside(target, hand.rng, radius), target)
        clear = (lookup(target.outside, path) > nearest) & paths.in_picture(path, target)
        path = paths.longest(path, clear)
        if len(path) > 1:
            strokes.append(hand.trace("background", path, radius, 0.9 * target.outside))
    return strokes


def _hatched_background(target: Target, hand: Hand, radius: float) -> list[Stroke]:
    """Hatching over the picture and a line round the object: how ``iseg_scribbles`` was marked."""
    rng, strokes = hand.rng, list[Stroke]()
    gap = radius + 1.5 + target.size * log_uniform(rng, 0.01, 0.15)
    height, width = target.mask.shape
    if rng.random() < 0.7:
        lines = paths.hatching(
            lambda path: (lookup(target.outside, path) > gap) & paths.in_picture(path, target),
            (0, 0, width, height), rng,
            max(target.picture_side * log_uniform(rng, 0.03, 0.15), 6 * radius), rng.uniform(0, 1),
        )  # fmt: skip
        strokes += [hand.trace("background", path, radius) for path in lines]
    if rng.random() < 0.7:
        ring = paths.level(-target.outside, -gap, rng, rng.uniform(0.5, 1))
        path = hand.follow(ring, target, 120, share=0.1)
        if len(path) > 1:
            strokes.append(hand.trace("background", path, radius, 0.9 * target.outside))
    return strokes


def _some_background(target: Target, hand: Hand) -> list[Stroke]:
    """None, a few thin strokes or hatching."""
    way, radius = hand.rng.random(), hand.radius(target)
    if way < 0.3:
        return []
    if way < 0.65:
        return _lines_beside(target, hand, int(hand.rng.integers(1, 7)), radius)
    return _hatched_background(target, hand, radius)


def _few(target: Target, hand: Hand) -> list[Stroke]:
    """In half of the cases one to four thin strokes on the background."""
    count = int(hand.rng.integers(1, 5)) if hand.rng.random() < 0.5 else 0
    return _lines_beside(target, hand, count, hand.radius(target))


# --- kinds of prompt ------------------------------------------------------------------------------


def _sparse(target: Target, hand: Hand, background: bool = True) -> list[Stroke]:
    """Thin object strokes and up to five on the background, mostly two to four."""
    rng = hand.rng
    strokes, radius = (_dots if rng.random() < 0.07 else _thin)(target, hand)
    if background:
        if rng.random() < 0.4:
            radius = hand.radius(target)
        count = int(rng.choice(6, p=[0.06, 0.1, 0.18, 0.28, 0.24, 0.14]))
        strokes += _lines_beside(target, hand, count, radius)
    return strokes


def _dense(target: Target, hand: Hand) -> list[Stroke]:
    """Several strokes, or hatching with an outline, covering 10 to 45 % of the object."""
    rng, strokes = hand.rng, list[Stroke]()
    cover, radius = rng.uniform(0.1, 0.45), target.size * log_uniform(rng, 0.006, 0.05)
    if rng.random() < 0.5:
        outline = _outline(target, hand, radius) if rng.random() < 0.7 else []
        strokes = _hatch(target, hand, radius, cover) + outline
    else:  # single lines until they cover enough
        left = cover * target.size**2
        for _ in range(10):
            path = _single(target, hand)
            strokes.append(hand.trace("object", path, radius, target.inside))
            left -= 2 * radius * path_length(path)
            if left < 0:
                break
    return strokes + _some_background(target, hand)


def _hatched(target: Target, hand: Hand) -> list[Stroke]:
    """Hatching over 5 to 40 % of the object."""
    cover = log_uniform(hand.rng, 0.05, 0.4)
    return _hatch(target, hand, hand.radius(target), cover) + _some_background(target, hand)


def _click(target: Target, hand: Hand) -> list[Stroke]:
    """One dot, mostly about the middle."""
    rng = hand.rng
    point = paths.through(target, rng, 2, rng.uniform(0.5, 3))[:1]
    return [hand.trace("object", point, max(2.0, target.size * log_uniform(rng, 0.01, 0.05)))]


def _extremes(target: Target, hand: Hand) -> list[Stroke]:
    """Dots at the leftmost, highest, rightmost and lowest place of the object.

    Source: Maninis et al., "Deep Extreme Cut" (DEXTR), CVPR 2018.
    """
    rng, (y, x) = hand.rng, np.nonzero(target.mask)
    radius = max(2.0, target.size * log_uniform(rng, 0.01, 0.03))
    dots = []
    for order in (x, y, -x, -y):
        # Anywhere among the outermost pixels, a little off.
        outermost = np.flatnonzero(order <= order.min() + 1)
        pick = outermost[rng.integers(len(outermost))]
        point = np.array([[x[pick], y[pick]]]) + rng.normal(0, 0.01 * target.size, 2)
        dots.append(hand.trace("object", point, radius))
    return dots


STROKES: dict[str, Callable[[Target, Hand], list[Stroke]]] = {
    "sparse": _sparse,
    "sparse_object": lambda target, hand: _sparse(target, hand, background=False),
    "dense": _dense,
    "hatch": _hatched,
    "outline": lambda target, hand: (
        _outline(target, hand, hand.radius(target)) + _some_background(target, hand)
    ),
    "fill": lambda target, hand: _zigzag(target, hand) + _few(target, hand),
    "beside": lambda target, hand: _across_edge(target, hand) + _few(target, hand),
    "click": _click,
    "extremes": _extremes,
}
"""Kinds of prompt that are brushed, by name."""

PROMPTS = (*STROKES, *COARSE)
"""Every kind of prompt."""

MIX: dict[str, float] = {
    "sparse": 0.31, "sparse_object": 0.16, "dense": 0.10, "hatch": 0.05, "outline": 0.04,
    "fill": 0.06, "beside": 0.05, "shift": 0.02, "polygon": 0.02, "blocks": 0.02,
    "overpaint": 0.03, "box": 0.03, "erode": 0.05, "v1": 0.02, "paintbrush": 0.02, "dist": 0.02,
}  # fmt: skip
"""How often training draws each kind: thin strokes half of the time, for they are the hardest and
the commonest."""


def draw_prompt(mask: Mask, kind: str, rng: Generator) -> Drawn:
    """Simulate the strokes that somebody might draw for an object.

    Args:
        mask: bool H×W, the object.
        kind: one of :data:`PROMPTS`.
        rng: the only source of chance.

    Returns:
        Object and background strokes, bool H×W each, without a common pixel. The object stroke
        meets the object wherever there is one; both are empty for an empty mask. A coarse mask is
        an object stroke; a quarter of them come with strokes on the background.

    Raises:
        ValueError: an unknown kind, or a mask that is not bool H×W.

    Source: our own; see the module's docstring for what the ranges are taken from.
    """
    if kind not in PROMPTS:
        raise ValueError(f"unknown kind of prompt '{kind}'; one of: {', '.join(PROMPTS)}")
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"mask must be bool H×W, got {mask.dtype} of shape {mask.shape}")
    if not mask.any():
        return rasterize([], *mask.shape)
    target, hand = Target(np.ascontiguousarray(mask)), Hand(rng)
    if kind in STROKES:
        return _rasterize(STROKES[kind](target, hand), target)
    # A coarse mask that misses the object altogether is replaced by a dot on it.
    coarse = COARSE[kind](target, rng)
    beside = _few(target, hand) if rng.random() < 0.5 else []
    if not (coarse & mask).any():
        return _rasterize(beside, target)
    return Drawn(coarse, rasterize(beside, *mask.shape).background & ~coarse)


def _rasterize(strokes: list[Stroke], target: Target) -> Drawn:
    """Object strokes over those of the background; a dot on the deepest pixel if they miss it."""
    strokes = sorted(strokes, key=lambda stroke: stroke["kind"])
    drawn = rasterize(strokes, *target.mask.shape)
    if (drawn.object & target.mask).any():
        return drawn
    dot = {"kind": "object", "points": np.column_stack([target.deepest(), [[1.0]]])}
    return rasterize([*strokes, dot], *target.mask.shape)


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
        rng: the only source of chance.
        ignore: bool H×W, pixels that are no error whatever the answer; none without it.

    Returns:
        One stroke, the other mask empty; both empty where no error is deeper than
        :data:`MIN_DEPTH` pixels.
    """
    # The error to correct: the one with the deepest pixel, of its connected parts that one's.
    counts = np.ones_like(mask) if ignore is None else ~ignore
    errors = {"object": mask & ~prediction & counts, "background": prediction & ~mask & counts}
    targets = {kind: Target(error) for kind, error in errors.items() if error.any()}
    kind = max(targets, key=lambda kind: float(targets[kind].inside.max()), default="")
    if not kind or targets[kind].inside.max() <= MIN_DEPTH:
        return rasterize([], *mask.shape)
    error, hand = targets[kind], Hand(rng)
    labels = cv2.connectedComponents(error.mask.view(np.uint8), connectivity=8)[1]
    region = Target(labels == labels.flat[int(np.argmax(error.inside))])
    # A path through its middle or across it, a part of which is drawn.
    if rng.random() < 0.7:
        path = paths.through(region, rng, 2, rng.uniform(1, 2.5), spine=rng.random() < 0.4)
    else:
        path = paths.chord(region, rng)
    path = hand.follow(path, region)
    path = paths.longest(path, lookup(region.inside, path) > 0.5)
    path = paths.shortened(path, rng.uniform(0.4, 1), rng) if len(path) > 1 else region.deepest()
    # The brush is as wide as for the whole object, however small the error is.
    whole = float(np.sqrt(np.count_nonzero(mask | prediction)))
    radius = max(0.8, whole * log_uniform(rng, 0.008, 0.05))
    return rasterize([hand.trace(kind, path, radius, region.inside)], *mask.shape)
