"""The edge network: a mask painted with care is finished at the picture's own size.

The two looks see shrunken crops, which puts an edge a pixel or two off, and they do not know which
part of a painted edge is right already. So where somebody painted a mask with care, and drew
nothing else, a second and small network sees the picture's own pixels with the paint and the looks'
logits, and answers anew.

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
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.arrays import Image, Logits, Mask
from nseg_lib.networks import UNet, crops
from nseg_lib.networks.crops import Crop, Floats
from nseg_lib.networks.inputs import network_input

FOLD = 2
"""Pixels to a side of what becomes one place."""

CHANNELS = 7
"""The paper's three (paint, luma, gradient), the looks' logits, the colours."""

LARGEST = 640
"""Pixels: what is seen is shrunk to this if its longer side is longer. COCO's pictures, which the
network knows, are no larger."""

SURE = 4.0
"""Logits beyond this, up or down, are given as this."""

MIN_AREA = 50
"""Pixels: fewer are a dot rather than paint."""

SOLID = 0.85
"""Paint keeps this share of its pixels when opened by a disc of a tenth of s, the square root of
its area, as radius; lines and scribbles do not."""

RECTANGLE = 0.95
"""A stroke that fills more of its bounding box is a box, which says nothing of the outline."""

SMOOTH = 0.06
"""Opening and closing paint by :data:`BLUNT` pixels changes at most so many pixels for each pixel
of its edge. More is steps, corners or the marks of a brush, which no careful hand leaves."""

BLUNT = 4
"""Pixels: radius of the disc that tells a smooth edge from a rough one."""

WITHIN = 0.93
"""A careful mask has this share of its pixels in the looks' answer: it falls short of the object
rather than reaching beyond it."""

COVERS = 0.4
"""A careful mask is at least this share of the answer; less is a dab that says where, not what."""

DOUBT = 0.25
"""A pixel whose logit is no farther from 0 stays as it was painted."""

MARGIN = 0.12
"""Of what the network sees round the paint and the looks' answer, as a share of the longer side…"""

MIN_MARGIN = 32
"""… and at least so many pixels."""


class EdgeNet(nn.Module):
    """Paint, picture and logits → logits, at the input's size.

    Args:
        widths: channels of each level of the U-Net, from half the size down; multiples of 8.

    Shapes: float N×7×H×W as of :func:`edge_input`, any size → float N×1×H×W.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        places = FOLD**2
        self.unet = UNet(widths, places * CHANNELS)
        self.unet.head = nn.Conv2d(widths[0], places, 1)
        self.min_side = FOLD * 2 ** len(widths)  # what the poolings leave a place of

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, right = (max(side + side % FOLD, self.min_side) - side for side in (height, width))
        x = F.pad(x, (0, right, 0, down), mode="replicate")
        y = F.pixel_shuffle(self.unet(F.pixel_unshuffle(x, FOLD)), FOLD)
        return y[..., :height, :width]

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Fill in what fits of a U-Net of the paper, which then sees the picture at half its size.

        A level of fewer channels takes the first ones; the four pixels of a place share what was
        one pixel's, coming and going.

        Args:
            weights: the state of a :class:`nseg_lib.networks.UNet` for ``gray_sobel``, of one that
                adds the stroke or not, as deep as this and no narrower.
        """
        own = self.unet.state_dict()
        for name, mine in own.items():
            theirs = weights[name]
            if name == "encoder.0.layers.0.weight":
                mine.zero_()
                theirs = theirs.repeat_interleave(FOLD**2, dim=1) / FOLD**2
                parts = [(mine[:, : theirs.shape[1]], theirs)]
            elif name.startswith("head"):
                parts = [(mine, theirs.repeat_interleave(FOLD**2, dim=0))]
            elif name.startswith("decoder") and name.endswith("layers.0.weight"):
                # The first half of what it sees is the skip's, the second comes from below.
                parts = list(zip(mine.chunk(2, dim=1), theirs.chunk(2, dim=1), strict=True))
            else:
                parts = [(mine, theirs)]
            for to, source in parts:
                to.copy_(source[tuple(slice(size) for size in to.shape)])
        self.unet.load_state_dict(own)


def is_careful(stroke: Mask, found: Mask) -> bool:
    """Whether an object stroke looks like a mask that somebody painted with care.

    Args:
        stroke: bool H×W, the object strokes.
        found: bool H×W, the looks' answer to them.
    """
    area = np.count_nonzero(stroke)
    # Neither a dot nor a dab, which say where the object is, not what it is; and hardly any of it
    # beyond the answer, for a careful hand falls short of the object rather than reach beyond it.
    if area < MIN_AREA or area < COVERS * np.count_nonzero(found):
        return False
    if np.count_nonzero(stroke & found) < WITHIN * area:
        return False
    # Not a filled box, which says nothing of the outline.
    box = crops.bounding_box(stroke)
    height, width = box.bottom - box.top, box.right - box.left
    if area > RECTANGLE * height * width:
        return False
    # Paint rather than lines: most of it survives an opening by a disc, whose radius grows with it.
    radius = max(1, int(area**0.5 / 10))
    margin = max(radius, BLUNT) + 2
    around = crops.around(box, (height / 2 + margin, width / 2 + margin), stroke.shape)
    paint = np.ascontiguousarray(stroke[around.window]).view(np.uint8)
    opened = cv2.morphologyEx(paint, cv2.MORPH_OPEN, _disc(radius))
    if np.count_nonzero(opened) < SOLID * area:
        return False
    # Smooth: opening and closing change few pixels for each pixel of the edge.
    changed = sum(
        np.count_nonzero(cv2.morphologyEx(paint, way, _disc(BLUNT)) != paint)
        for way in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE)
    )
    square = np.ones((3, 3), np.uint8)
    both_sides = np.count_nonzero(cv2.dilate(paint, square) != cv2.erode(paint, square))
    return changed / max(1, both_sides / 2) <= SMOOTH


def _disc(radius: int) -> NDArray[np.uint8]:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def surroundings(paint: Mask, logits: Floats) -> Crop:
    """What of the picture the network sees: paint and answer with a margin."""
    return crops.zoom(paint | (logits > 0), MARGIN, MIN_MARGIN)


def seen(
    image: Image, paint: Mask, logits: Floats, crop: Crop
) -> tuple[Image, Mask, NDArray[np.float32]]:
    """Picture, paint and logits of a crop, shrunk to :data:`LARGEST` where it is larger."""
    window = crop.window
    if crop.longer <= LARGEST:
        return image[window], paint[window], logits[window]
    size = crops.fitted(crop, LARGEST)
    return (
        crops.resize(image[window], *size).round().astype(np.uint8),
        crops.resize(paint[window].view(np.uint8) * 255, *size) > 127,
        crops.resize(logits[window], *size),
    )


def edge_input(image: Image, paint: Mask, logits: Floats) -> NDArray[np.float32]:
    """What the network is given, of the looks' answer among other things: float32 7×H×W."""
    answer = np.clip(logits, -SURE, SURE)[None] / SURE
    colours = np.moveaxis(image, -1, 0).astype(np.float32) / 255 - crops.GREY
    return np.concatenate((network_input(image, paint), answer, colours)).astype(np.float32)


def finish(network: EdgeNet, image: Image, paint: Mask, logits: Logits) -> Logits:
    """The network's logits round the paint, the looks' beyond it; float32 H×W.

    Args:
        image: uint8 H×W×3, RGB.
        paint: bool H×W, with a pixel.
        logits: float32 H×W, the looks' answer.
    """
    crop = surroundings(paint, logits)
    channels = edge_input(*seen(image, paint, logits, crop))
    # A picture and its mirror image have the same edges: the mean of both answers errs less.
    both = torch.from_numpy(np.stack((channels, channels[..., ::-1])))
    device = next(network.parameters()).device
    with torch.inference_mode():
        one, other = network(both.to(device, memory_format=torch.channels_last))[:, 0].float()
        answer = ((one + other.flip(-1)) / 2).cpu().numpy()
    # In doubt a pixel stays as it was painted; beyond the crop the looks' answer stays.
    answer = cv2.resize(answer, crop.width_height, interpolation=cv2.INTER_LINEAR)
    finished = logits.copy()
    finished[crop.window] = answer + np.where(paint[crop.window], DOUBT, -DOUBT)
    return finished
