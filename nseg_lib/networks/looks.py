"""The predictors: the paper's networks see the whole picture, the refiner looks several times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from nseg_lib.arrays import Image, Logits, Mask
from nseg_lib.config import Config, NetworkConfig
from nseg_lib.networks import crops, edge
from nseg_lib.networks.crops import Crop
from nseg_lib.networks.engine import Engine
from nseg_lib.networks.inputs import network_input
from nseg_lib.prompt import Extent, Prompt

OUTSIDE = -10.0
"""The logit of what no look has seen: not object."""

FOUND: dict[Extent, float] = {"part": 3.0, "object": 0.0, "whole": -3.0}
"""The logit above which the first look has found something. The closer looks go on from there, so
one that is above 0 leads to a part of the usual answer, and one below 0 to more than it."""

SAME = 0.8
"""Two crops that overlap by more are the same to the network, unless it sees one of them larger."""


REACH = 0.1
"""A correction reaches this far beyond its marks, in times the longer side of mask and strokes."""

UNCHANGED = 0.1
"""The logit, up or down, of what a correction would have changed but may not."""


@dataclass(frozen=True)
class WholePicture:
    """A network of the paper: it sees the whole picture at once, and object strokes alone."""

    network: Engine
    config: Config

    corrects: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """Size of the pictures that it was trained on, relative to the files'."""
        return self.config.data.scale

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        """The network's answer to the picture as it is, float32 H×W."""
        stroke = prompt.planes[0]
        height, width = stroke.shape
        # The poolings must leave a pixel of each side: a smaller picture is continued beyond its
        # border, and the answer there is cut off again.
        min_side = 2 ** len(self.config.model.widths)
        down, right = max(0, min_side - height), max(0, min_side - width)
        if down or right:
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
            stroke = np.pad(stroke, ((0, down), (0, right)))
        x = network_input(image, stroke, self.config.model.inputs)
        return self.network.infer(x[None])[0, :height, :width]


@dataclass(frozen=True)
class Looks:
    """The interactive refiner: its looks, and an edge network for masks painted with care."""

    network: Engine
    config: NetworkConfig

    corrects: ClassVar[bool] = True
    scale: ClassVar[float] = 1.0
    """It brings its crops to a size of its own."""

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        """The network's answer, float32 H×W."""
        stroke, background, last = prompt.planes
        logits = answer(self.network, self.config, image, prompt)
        # What was marked as background is none of the object, whatever the network made of the
        # mark: of a thin one on a large picture it sees next to nothing.
        logits[background] = OUTSIDE
        if last.any() and self.config.local:
            return correct_near_marks(logits, stroke, background, last)
        # Only where a mask was painted with care and nothing else was drawn, the edge network
        # knows better than the looks.
        alone = not (background.any() or last.any())
        if self.network.edge and alone and edge.is_careful(stroke, logits > 0):
            return edge.finish(self.network.edge, image, stroke, logits)
        return logits


def answer(network: Engine, config: NetworkConfig, image: Image, prompt: Prompt) -> Logits:
    """The logits of a look round the strokes, and of closer ones at the object found there.

    Args:
        config: how many looks, and their working sizes.
        image: uint8 H×W×3, RGB.
        prompt: its object strokes have a pixel; a mask without one is none.

    Returns:
        float32 H×W, :data:`OUTSIDE` beyond the last look.
    """
    stroke, background, last = prompt.planes
    # The strokes may cover little of their object, so the first look is wide. A mask to correct
    # says how large the object is, and so does a box.
    if last.any():
        crop = crops.zoom(stroke | last, margin=crops.CORRECTION_MARGIN)
    elif prompt.box is not None:
        crop = crops.zoom(prompt.inside, margin=crops.CORRECTION_MARGIN)
    else:
        crop = crops.look(stroke, background, beside=config.beside)
    logits = _look(network, image, (stroke, background, last), crop, config.look)
    # Each further look is close round what was found, which it gets as the mask to correct. Where
    # there was a mask from the beginning, one further look is enough.
    for number in range(1, min(config.looks, 2) if last.any() else config.looks):
        first = number == 1 and not last.any()
        found = logits > (FOUND[prompt.extent] if first else 0)
        close = crops.zoom(found | stroke)
        if number == 1 and close.overlap(crop) > SAME and config.zoom <= config.look:
            return logits
        logits = _look(network, image, (stroke, background, found), close, config.zoom)
    return logits


def correct_near_marks(logits: Logits, stroke: Mask, background: Mask, last: Mask) -> Logits:
    """Let a correction change what its marks touch, and leave the rest of the mask as it was.

    The marks that count are those which the last mask contradicts: object strokes outside it,
    background strokes inside it. Of what the network would change, the connected parts that come
    within :data:`REACH` of such a mark are changed, and only in its direction: a stroke on the
    object takes nothing away, one on the background adds nothing. A mark itself is always obeyed.

    Args:
        logits: float32 H×W, the answer to all strokes and the last mask.
        stroke, background, last: bool H×W each; ``last`` has a pixel.

    Returns:
        float32 H×W. Where no mark contradicts the last mask, ``logits`` as they are.
    """
    added, removed = stroke & ~last, background & last
    if not (added.any() or removed.any()):
        return logits
    radius = max(3, round(REACH * crops.bounding_box(last | stroke).longer))
    logits, found = logits.copy(), logits > 0
    for changed, marks, sign in ((found & ~last, added, -1), (last & ~found, removed, 1)):
        kept = np.zeros_like(last)
        if marks.any():
            distance = cv2.distanceTransform((~marks).astype(np.uint8), cv2.DIST_L2, 3)
            _, parts = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
            kept = np.isin(parts, np.unique(parts[changed & (distance <= radius)]))
        logits[changed & ~kept] = sign * UNCHANGED
    logits[added & (logits <= 0)] = UNCHANGED
    return logits


def _look(
    network: Engine, image: Image, planes: tuple[Mask, Mask, Mask], crop: Crop, size: int
) -> Logits:
    """The network's logits for a crop whose longer side it sees at ``size`` pixels."""
    channels, (height, width) = crops.crop_input(image, planes, crop, size)
    seen = network.infer(channels[None])[0]
    # Without the frame that filled the sides up, and at the picture's size, where it was cut out.
    seen = np.ascontiguousarray(seen[:height, :width])
    logits = np.full(image.shape[:2], OUTSIDE, np.float32)
    logits[crop.window] = cv2.resize(seen, crop.width_height, interpolation=cv2.INTER_LINEAR)
    return logits
