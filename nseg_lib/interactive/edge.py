"""The edge network: a painted mask is finished at the picture's own size.

The two looks see shrunken crops, which puts an edge a pixel or two off and says little of where a
mask that was painted with a broad brush is right already. So where the object strokes are paint,
and there is nothing else to go by, a second and small network sees the picture's own pixels with
the paint and the looks' logits, and answers anew.

It is the paper's U-Net on pixels folded into channels: every 2×2 pixels become one place with four
times the channels, and each place answers for its four pixels (space to depth and back; Shi et al.,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016). That costs a quarter of the same U-Net on the pixels themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.inputs import network_input
from nseg_lib.interactive import crops
from nseg_lib.interactive.crops import Crop, Floats, Image, Mask
from nseg_lib.models import UNet

FOLD = 2
"""Pixels to a side of what becomes one place."""

CHANNELS = 7
"""The paper's three (paint, luma, gradient), the looks' logits, the colours."""

SURE = 4.0
"""Logits beyond this, up or down, are given as this."""

SOLID = 0.85
"""Paint keeps this share of its pixels when opened by a disc of a tenth of s, the square root of
its area; lines, scribbles and dots with gaps do not."""

LEAST = 50
"""Pixels: fewer are a dot rather than paint."""

RECTANGLE = 0.95
"""A stroke that fills more of its bounding box is a box, which says nothing of the outline."""

MARGIN = 0.12
"""Of what the network sees round the paint and the looks' answer, as a share of the longer side…"""

MARGIN_LEAST = 32
"""… and at least so many pixels."""


class EdgeNet(nn.Module):
    """Colours, paint and logits → logits, at the input's size.

    Args:
        widths: channels of each level of the U-Net, from half the size down; multiples of 8.

    Shapes: float N×7×H×W as of :func:`edge_input`, any size → float N×1×H×W.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        places = FOLD**2
        self.unet = UNet(widths, places * CHANNELS)
        self.unet.head = nn.Conv2d(widths[0], places, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, width % FOLD, 0, height % FOLD), mode="replicate")
        y = F.pixel_shuffle(self.unet(F.pixel_unshuffle(x, FOLD)), FOLD)
        return y[..., :height, :width]

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Fill in what fits of a U-Net of the paper: it then sees the picture at half its size.

        A level of fewer channels takes the first ones; the four pixels of a place share what was
        one pixel's, coming and going.

        Args:
            weights: the state of a :class:`nseg_lib.models.UNet` for ``gray_sobel``, or of one
                with a residual, at least as deep.
        """
        own = self.unet.state_dict()
        for name, mine in own.items():
            theirs = weights[name]
            if name == "encoder.0.layers.0.weight":
                spread = theirs.repeat_interleave(FOLD**2, dim=1) / FOLD**2
                mine.zero_()[:, : spread.shape[1]] = spread
                continue
            if name.startswith("head"):
                theirs = theirs.repeat_interleave(FOLD**2, dim=0)
            parts = [(mine, theirs)]
            if name.startswith("decoder") and name.endswith("layers.0.weight"):  # skip, deeper
                parts = list(zip(mine.chunk(2, dim=1), theirs.chunk(2, dim=1), strict=True))
            for to, source in parts:
                to.copy_(source[tuple(slice(size) for size in to.shape)])
        self.unet.load_state_dict(own)


def edge_input(image: Image, paint: Mask, logits: Floats) -> Floats:
    """What the network sees: float32 7×H×W.

    Args:
        image: uint8 H×W×3, RGB.
        paint: bool H×W.
        logits: float H×W, the looks' answer.
    """
    answer = np.clip(logits, -SURE, SURE)[None] / SURE
    colours = np.moveaxis(image, -1, 0).astype(np.float32) / 255 - crops.GREY
    return np.concatenate((network_input(image, paint), answer, colours)).astype(np.float32)


def is_paint(stroke: Mask) -> bool:
    """Whether an object stroke, bool H×W, is a mask painted in full rather than lines or a box."""
    area = np.count_nonzero(stroke)
    if area < LEAST:
        return False
    box, radius = crops.bounding_box(stroke), max(1, int(area**0.5 / 10))
    height, width = box.bottom - box.top, box.right - box.left
    if area > RECTANGLE * height * width:
        return False
    around = crops.around(box, (height / 2 + radius + 1, width / 2 + radius + 1), stroke.shape)
    part = np.ascontiguousarray(stroke[around.window]).view(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    opened = cv2.morphologyEx(part, cv2.MORPH_OPEN, disc)
    return bool(np.count_nonzero(opened) >= SOLID * area)


def surroundings(paint: Mask, logits: Floats) -> Crop:
    """The crop that the network sees: paint and answer with a margin."""
    box = crops.bounding_box(paint | (logits > 0))
    more = max(MARGIN * box.longer, MARGIN_LEAST)
    half = (box.bottom - box.top) / 2 + more, (box.right - box.left) / 2 + more
    return crops.around(box, half, paint.shape)


def finish(network: EdgeNet, image: Image, paint: Mask, logits: Floats) -> Floats:
    """The network's logits round the paint, the looks' beyond it; float32 H×W.

    Args:
        image: uint8 H×W×3, RGB.
        paint: bool H×W, as :func:`is_paint` wants it.
        logits: float32 H×W, the looks' answer.
    """
    window = surroundings(paint, logits).window
    channels = edge_input(image[window], paint[window], logits[window])
    device = next(network.parameters()).device
    x = torch.from_numpy(channels)[None].to(device, memory_format=torch.channels_last)
    finished = logits.copy()
    with torch.inference_mode():
        finished[window] = network(x)[0, 0].float().cpu().numpy()
    return finished
