"""Two looks at a picture: one round the strokes, one round the object that the first one found.

The second look is told what the first one found, as the mask to correct.
"""

from __future__ import annotations

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

SAME = 0.8
"""A crop that overlaps the last one by more is not worth looking at again at the same size."""


def answer(
    network: PromptNet,
    config: NetworkConfig,
    image: Image,
    stroke: Mask,
    background: Mask,
    mask: Mask | None,
) -> NDArray[np.float32]:
    """The network's logits over the whole picture, float32 H×W; above 0 means object.

    Args:
        image: uint8 H×W×3, RGB.
        stroke, background: bool H×W; ``stroke`` has a pixel.
        mask: bool H×W, the answer to correct, or None.
    """
    logits = two_looks(network, config, image, stroke, background, mask)
    if mask is None and config.keep:
        kept = keep_edge(logits > 0, stroke, config.keep)
        changed = kept != (logits > 0)
        logits[changed] = np.where(kept[changed], UNSURE, -UNSURE)
    return logits


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
