"""What chapter 13 shows of the refiner: where it looks, what it compares, and the game."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional as F

from nseg_lib.arrays import Image, Mask
from nseg_lib.data import frozen
from nseg_lib.evaluation import corrections, metrics
from nseg_lib.networks import crops
from nseg_lib.networks import promptnet as network
from nseg_lib.refine import Refiner
from nseg_lib.strokes.drawing import Drawn

Window = tuple[slice, slice]
"""Rows and columns of a picture."""

Step = tuple[Drawn, Mask, float]
"""One correction: the stroke that was drawn, the answer to all strokes so far, and its IoU."""


def looks(refiner: Refiner, image: Image, drawn: Drawn) -> tuple[Window, Window]:
    """The parts of the picture that the wide look and the close look take in."""
    found = refiner.refine(image, drawn.object, drawn.background)
    wide = crops.look(drawn.object, drawn.background)
    return wide.window, crops.zoom(found | drawn.object).window


def play(refiner: Refiner, sample: frozen.Sample, rounds: int) -> list[Step]:
    """Correct an answer stroke by stroke, each a straight line through the deepest mistake."""

    def generator(number: int) -> Generator:
        return frozen.generator("correction plain", 0, sample.image_id, number)

    way = corrections.CORRECTIONS["plain"]
    game = corrections.correct(refiner, sample.image, sample.mask, way, generator, rounds)
    return [(drawn, answer, metrics.iou(answer, sample.mask)) for drawn, answer, _ in game]


def likeness(refiner: Refiner, image: Image, drawn: Drawn) -> NDArray[np.float32]:
    """How alike each place of the wide look is to what lies under the object strokes.

    Returns:
        float32 h×w in [-1, 1], at a sixteenth of the working size.
    """
    net: Any = refiner.network
    crop = crops.look(drawn.object, drawn.background)
    nothing = np.zeros_like(drawn.object)
    size = refiner.config.network.look  # type: ignore[union-attr]
    channels, _ = crops.crop_input(image, (*drawn, nothing), crop, size)
    with torch.no_grad():
        batch = torch.from_numpy(channels)[None]
        colours, planes = (batch[:, :3] - net.mean) / net.std, batch[:, 3:]
        features = net.encoder(colours, planes)[3]
        covered = F.interpolate(planes, size=features.shape[2:], mode="area")[:, :2]
        alike = network.stroke_similarity(features, covered)[0, 0].numpy()
    height, width = (-(-side // 16) for side in crops.fitted(crop, size))
    return np.asarray(alike[:height, :width])
