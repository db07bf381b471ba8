"""The edge network: a mask painted with care is finished at the picture's own size.

The two looks see shrunken crops, which puts an edge a pixel or two off, and they do not know which
part of a painted edge is right already. So where somebody painted a mask with care, and drew
nothing else, a second and small network sees the picture's own pixels with the paint and the looks'
logits, and answers anew.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Logits, Mask
from nseg_lib.networks import crops
from nseg_lib.networks.crops import Crop, Floats
from nseg_lib.networks.engine import Engine
from nseg_lib.networks.inputs import network_input

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


def shown(
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


def finish(network: Engine, image: Image, paint: Mask, logits: Logits) -> Logits:
    """The network's logits round the paint, the looks' beyond it; float32 H×W.

    Args:
        image: uint8 H×W×3, RGB.
        paint: bool H×W, with a pixel.
        logits: float32 H×W, the looks' answer.
    """
    crop = surroundings(paint, logits)
    channels = edge_input(*shown(image, paint, logits, crop))
    # A picture and its mirror image have the same edges: the mean of both answers errs less.
    one, other = network.infer(np.stack((channels, channels[..., ::-1])))
    answer = (one + other[..., ::-1]) / 2
    # In doubt a pixel stays as it was painted; beyond the crop the looks' answer stays.
    answer = cv2.resize(answer, crop.width_height, interpolation=cv2.INTER_LINEAR)
    finished = logits.copy()
    finished[crop.window] = answer + np.where(paint[crop.window], DOUBT, -DOUBT)
    return finished
