"""Two looks at a picture: one round the strokes, one round the object that the first one found.

The second look is told what the first one found, as the mask to correct. What they make of a mask
that was painted with care, the edge network finishes (:mod:`nseg_lib.networks.edge`).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.networks import crops, edge
from nseg_lib.networks.crops import Crop
from nseg_lib.networks.promptnet import STRIDE, PromptNet
from nseg_lib.networks.recipe import NetworkConfig

OUTSIDE = -10.0
"""The logit of what no look has seen: not object."""

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

    What was marked as background is none of it, whatever the network made of the mark: of a thin
    one on a large picture it sees next to nothing.

    Args:
        image: uint8 H×W×3, RGB.
        stroke, background: bool H×W; ``stroke`` has a pixel.
        mask: bool H×W, the answer to correct, or None.
    """
    logits = two_looks(network, config, image, stroke, background, mask)
    logits[background] = OUTSIDE
    if network.edge is None or mask is not None or background.any():
        return logits
    if not edge.is_careful(stroke, logits > 0):
        return logits
    return edge.finish(network.edge, image, stroke, logits)


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
