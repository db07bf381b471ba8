"""Chapter 15's small experiments: ideas of the related work, tried on our own networks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from nseg_lib.arrays import Image, Logits, Mask
from nseg_lib.course import probes
from nseg_lib.data.frozen import Sample
from nseg_lib.networks.inputs import network_input
from nseg_lib.prompt import Prompt, scale_mask
from nseg_lib.refine import Refiner
from nseg_lib.strokes.drawing import rasterize

Point = tuple[int, int]
"""x and y of a pixel."""


def four_points(mask: Mask, inside: int = 6) -> dict[str, list[Point]]:
    """Four dots at the extremes of the object, and four around its middle.

    Args:
        mask: bool H×W, not empty.
        inside: how far within the object the extremes are taken, in pixels; fewer where it is thin.
    """
    depth = probes.depth(mask)
    ys, xs = np.nonzero(depth >= min(inside, float(depth.max())))
    ends = (xs.argmin(), xs.argmax(), ys.argmin(), ys.argmax())
    deep = np.argwhere(depth >= 0.5 * depth.max())
    chosen = deep[np.linspace(0, len(deep) - 1, 6).astype(int)[1:-1]]
    return {
        "extremes": [(int(xs[i]), int(ys[i])) for i in ends],
        "middle": [(int(x), int(y)) for y, x in chosen],
    }


def centre(mask: Mask) -> Point:
    """The object's deepest pixel."""
    depth = probes.depth(mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def dot(sample: Sample, radius: float = 5.0) -> Mask:
    """A click on the middle of a photograph's object."""
    x, y = centre(sample.mask)
    strokes = [{"kind": "object", "points": [[float(x), float(y), radius]]}]
    return rasterize(strokes, *sample.mask.shape).object


def middle_line(mask: Mask) -> Mask:
    """A thin line through the middle of the object."""
    return probes.thin_scribble(mask, 3)


def logits(refiner: Refiner, image: Image, stroke: Mask) -> Logits:
    """The answer before it is cut at 0."""
    return refiner.logits(image, Prompt(stroke))


def backpropagating_refinement(
    refiner: Refiner, sample: Sample, stroke: Mask, steps: int, scale: float = 0.5
) -> tuple[Mask, Mask, list[float]]:
    """Move a scale and a shift of the last features until the answer agrees with the stroke.

    Args:
        refiner: one of the paper's U-Nets; its weights stay as they are.
        stroke: bool H×W, where the answer shall be object.
        steps: of gradient descent by Adam.
        scale: at which the network sees the picture.

    Returns:
        The masks before and after, bool H×W, and the loss on the stroke of every step.

    Source: the idea of Sofiiuk et al., "f-BRS: Rethinking Backpropagating Refinement for
    Interactive Segmentation", CVPR 2020, without its term that keeps the change small.
    """
    net: Any = refiner.network
    height, width = stroke.shape
    size = round(width * scale), round(height * scale)
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
    small = scale_mask(stroke, size)
    x = torch.from_numpy(network_input(np.asarray(image, np.uint8), small))[None]
    marked = torch.from_numpy(small)[None, None]

    # The features before the head do not change, so they are computed once.
    kept: dict[str, torch.Tensor] = {}
    hook = net.head.register_forward_pre_hook(lambda _module, given: kept.update(x=given[0]))
    with torch.no_grad():
        net(x)
    hook.remove()
    channels = kept["x"].shape[1]
    gain = torch.ones(1, channels, 1, 1, requires_grad=True)
    shift = torch.zeros(1, channels, 1, 1, requires_grad=True)
    optimizer = torch.optim.Adam([gain, shift], lr=0.05)

    def mask_of(answer: torch.Tensor) -> Mask:
        large = cv2.resize(answer[0, 0].detach().numpy(), (width, height))
        return np.asarray(large > 0)

    before, costs = mask_of(net.head(kept["x"])), []
    for _ in range(steps):
        answer = net.head(gain * kept["x"] + shift)
        loss = F.softplus(-answer)[marked].mean()  # cross-entropy of "object"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        costs.append(loss.item())
    net.zero_grad()
    return before, mask_of(net.head(gain * kept["x"] + shift)), costs


def styled(image: Image, where: Mask, levels: int = 4) -> NDArray[np.uint8]:
    """A picture of few, smooth colours within a mask, unchanged outside."""
    smooth = cv2.bilateralFilter(image, 9, 60, 9)
    step = 255 // (levels - 1)
    poster = np.round(np.asarray(smooth) / step) * step
    return np.where(where[..., None], poster, image).astype(np.uint8)


def rim_error(predicted: Mask, target: Mask, reach: int = 5) -> float:
    """The share of pixels near the target's outline on which the two masks disagree."""
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    bytes_of = target.astype(np.uint8)
    rim = cv2.dilate(bytes_of, square) != cv2.erode(bytes_of, square)
    return float((predicted != target)[rim].mean())
