"""Two looks at a picture: one round the strokes, one round the object that the first one found.

The second look is told what the first one found, as the mask to correct.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nseg_lib.interactive import crops
from nseg_lib.interactive.config import NetworkConfig
from nseg_lib.interactive.crops import Crop, Image, Mask
from nseg_lib.interactive.network import STRIDE, PromptNet

OUTSIDE = -10.0
"""The logit of what no look has seen: not object."""

UNSURE = 0.1
"""The logit, up or down, of a pixel that the stroke's edge decided."""

COARSE = 0.85
"""A stroke is taken for a coarse mask if its IoU with the answer is at least this."""

ROUGH = 0.1
"""A smooth stroke: opening and closing it by :data:`BLUNT` pixels changes at most so many pixels
for each pixel of its edge."""

BLUNT = 4
"""Pixels: radius of the disc that tells a smooth edge from steps, corners and brush marks."""

SOLID = 0.85
"""A careful mask keeps this share of its pixels when opened by a disc of a tenth of s, the square
root of its area; lines and scribbles do not."""

WITHIN = 0.95
"""A careful mask has this share of its pixels in the answer: it falls short rather than beyond."""

COVERS = 0.4
"""A careful mask is at least this share of the answer."""

RECTANGLE = 0.95
"""A stroke that fills more of its bounding box is a box, which says nothing of the outline."""

SURE = 4.0
"""Logits count no more than this, up or down, where those of two networks are added."""

LARGEST = 640
"""Pixels of the longer side: on a picture shrunk to this, if it is larger, a mask is judged to be
careful and the second network asked. It is COCO's size, which network and numbers are for."""

SAME = 0.8
"""A crop that overlaps the last one by more is not worth looking at again at the same size."""


def answer(
    network: PromptNet,
    config: NetworkConfig,
    image: Image,
    stroke: Mask,
    background: Mask,
    mask: Mask | None,
    second: Callable[[Image, Mask], NDArray[np.float32]] | None = None,
) -> NDArray[np.float32]:
    """The network's logits over the whole picture, float32 H×W; above 0 means object.

    Args:
        image: uint8 H×W×3, RGB.
        stroke, background: bool H×W; ``stroke`` has a pixel.
        mask: bool H×W, the answer to correct, or None.
        second: (image, stroke) → logits of a network that knows careful masks; asked where the
            stroke is one and nothing else was drawn.
    """
    logits = two_looks(network, config, image, stroke, background, mask)
    if mask is not None:
        return logits
    if second and not background.any():
        logits = _with_second(second, image, stroke, logits)
    if config.keep:
        kept = keep_edge(logits > 0, stroke, config.keep)
        changed = kept != (logits > 0)
        logits[changed] = np.where(kept[changed], UNSURE, -UNSURE)
    return logits


def _with_second(
    second: Callable[[Image, Mask], NDArray[np.float32]],
    image: Image,
    stroke: Mask,
    logits: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The logits, with those of the second network added where the stroke is a careful mask."""
    height, width = stroke.shape
    found = logits > 0
    shrink = LARGEST / max(height, width)
    if shrink < 1:
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        image = crops.resize(image, *size).round().astype(np.uint8)
        stroke, found = (crops.resize(m.view(np.uint8) * 255, *size) > 127 for m in (stroke, found))
    if not stroke.any() or not is_careful(image, stroke, found):
        return logits
    other = second(image, stroke)
    if shrink < 1:
        other = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(logits, -SURE, SURE) + np.clip(other, -SURE, SURE)


def is_careful(image: Image, stroke: Mask, found: Mask) -> bool:
    """Whether a stroke looks like a mask drawn with care that falls short of its object.

    It is paint rather than lines, smooth, no box; nearly all of it is in the answer, of which it is
    a good part; and its edge runs where the picture has edges: there the logarithm of the gradient
    is above its mean within 10 pixels around.

    Args:
        image: uint8 H×W×3.
        stroke, found: bool H×W; ``stroke`` has a pixel.
    """
    area = np.count_nonzero(stroke)
    if np.count_nonzero(stroke & found) < WITHIN * area or area < COVERS * np.count_nonzero(found):
        return False
    box = crops.bounding_box(stroke)
    if area > RECTANGLE * (box.bottom - box.top) * (box.right - box.left):
        return False
    half = (box.bottom - box.top) / 2 + 24, (box.right - box.left) / 2 + 24
    window = crops.around(box, half, stroke.shape).window
    paint = np.ascontiguousarray(stroke[window])
    opened = cv2.morphologyEx(
        paint.view(np.uint8), cv2.MORPH_OPEN, _disc(max(1, int(area**0.5 / 10)))
    )
    if np.count_nonzero(opened) < SOLID * area or _roughness(paint) > ROUGH:
        return False
    return _edge_stands_out(image[window], paint)


def _edge_stands_out(image: Image, mask: Mask) -> bool:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1))]
    gradient = np.log(np.sqrt(slopes[0] ** 2 + slopes[1] ** 2).max(axis=2) + 4)
    around = cv2.blur(gradient, (21, 21))
    spread = np.sqrt(np.maximum(cv2.blur(gradient**2, (21, 21)) - around**2, 1e-4))
    square, plain = np.ones((3, 3), np.uint8), mask.view(np.uint8)
    edge = cv2.dilate(plain, square) != cv2.erode(plain, square)
    return bool(((gradient - around) / spread)[edge].mean() > 0)


def keep_edge(found: Mask, stroke: Mask, radius: int) -> Mask:
    """Take the stroke's own edge where the answer hardly departs from it.

    A brush mark that nearly covers its object often runs along the very edge; the looks, on
    shrunken crops, put that edge a pixel or two off. So what the answer and such a stroke disagree
    on is left as the stroke has it wherever it is thinner than a disc of ``radius`` and near the
    stroke's edge. A stroke that is no coarse mask, sharing less than :data:`COARSE` of their union
    with the answer, has no say; nor has one with an edge rougher than :data:`ROUGH`, such as blocks
    or a polygon's corners, for such an edge is not the object's.

    Args:
        found, stroke: bool H×W.
        radius: pixels, at least 1.
    """
    if np.count_nonzero(found & stroke) < COARSE * np.count_nonzero(found | stroke):
        return found
    if _roughness(stroke) > ROUGH:
        return found
    apart = (found ^ stroke).view(np.uint8)
    thick = cv2.dilate(cv2.erode(apart, _disc(radius)), _disc(radius + 1)) & apart
    mark, wide = stroke.view(np.uint8), _disc(2 * radius)
    beside = cv2.dilate(mark, wide) ^ cv2.erode(mark, wide)
    return np.where((apart > thick) & (beside > 0), stroke, found)


def _roughness(mask: Mask) -> float:
    """Pixels that opening and closing change, for each pixel of the edge."""
    plain, disc = mask.view(np.uint8), _disc(BLUNT)
    changed = sum(
        np.count_nonzero(cv2.morphologyEx(plain, way, disc) != plain)
        for way in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE)
    )
    square = np.ones((3, 3), np.uint8)
    edge = np.count_nonzero(cv2.dilate(plain, square) != cv2.erode(plain, square))
    return changed / max(1, edge / 2)


def _disc(radius: int) -> NDArray[np.uint8]:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def two_looks(
    network: PromptNet,
    config: NetworkConfig,
    image: Image,
    stroke: Mask,
    background: Mask,
    mask: Mask | None,
) -> NDArray[np.float32]:
    """The network's own logits; arguments as of :func:`answer`."""
    last = np.zeros_like(stroke) if mask is None else mask
    seen = stroke | last
    if mask is None:
        crop = crops.look(stroke, background, beside=config.beside)
    else:
        crop = crops.zoom(seen, margin=0.3)
    logits = _look(network, image, (stroke, background, last), crop, config.look)
    if config.zoom is None:
        return logits
    found = logits > 0
    closer = crops.zoom(found | stroke)
    if closer.overlap(crop) > SAME and config.zoom <= config.look:
        return logits
    return _look(network, image, (stroke, background, found), closer, config.zoom)


def _look(
    network: PromptNet, image: Image, prompts: tuple[Mask, ...], crop: Crop, size: int
) -> NDArray[np.float32]:
    channels, (height, width) = crops.network_input(image, prompts, crop, size, STRIDE)
    small = np.ascontiguousarray(_run(network, channels)[:height, :width])
    logits = np.full(image.shape[:2], OUTSIDE, np.float32)
    logits[crop.window] = cv2.resize(small, _width_height(crop), interpolation=cv2.INTER_LINEAR)
    return logits


def _run(network: torch.nn.Module, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 C×h×w → float32 h×w."""
    device = next(network.parameters()).device
    x = torch.from_numpy(channels)[None].to(device, memory_format=torch.channels_last)
    with torch.inference_mode():
        return network(x)[0, 0].float().cpu().numpy()


def _width_height(crop: Crop) -> tuple[int, int]:
    """As OpenCV wants it."""
    return crop.right - crop.left, crop.bottom - crop.top
