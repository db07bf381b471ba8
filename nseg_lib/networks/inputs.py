"""What a network of the paper sees: a picture and a stroke, stacked as channels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask, check
from nseg_lib.config import InputKind

CHANNELS: dict[str, int] = {"gray_sobel": 3, "rgb": 4}
"""Channels of each kind of input; channel 0 is always the coarse mask."""


def network_input(
    image: Image, stroke: Mask, kind: InputKind = "gray_sobel"
) -> NDArray[np.float32]:
    """Stack a stroke and a picture as a network's input.

    ``gray_sobel`` is the paper's "image + mask + gradient": the stroke, the luma of ITU-R BT.601
    over 255, and the magnitude of the 3x3 Sobel gradient of the luma over its maximum in this
    picture. ``rgb`` is the stroke and the three colours over 255.

    Args:
        image: uint8 H×W×3, RGB.
        stroke: bool H×W; may be empty.
        kind: a key of :data:`CHANNELS`.

    Returns:
        float32 C×H×W in [0, 1], with C from :data:`CHANNELS`.

    Raises:
        TypeError: a wrong dtype or something that is no array.
        ValueError: a wrong shape or an unknown kind.
    """
    if kind not in CHANNELS:
        raise ValueError(f"unknown kind of input '{kind}'; one of: {', '.join(CHANNELS)}")
    check(image, stroke=stroke)
    coarse_mask = stroke.astype(np.float32)
    if kind == "rgb":
        colours = np.moveaxis(image, -1, 0).astype(np.float32) / 255
        return np.concatenate((coarse_mask[None], colours))
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # Where the picture's edges are, whatever its contrast: the strongest one is 1.
    dx, dy = (cv2.Sobel(luma, cv2.CV_32F, x, 1 - x, ksize=3) for x in (1, 0))
    # Not cv2.magnitude: its last bit depends on where the arrays lie in memory.
    gradient = np.sqrt(dx * dx + dy * dy)
    gradient /= gradient.max() + 1e-8
    return np.stack((coarse_mask, luma.astype(np.float32) / 255, gradient))
