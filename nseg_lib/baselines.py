"""What a network has to beat: the stroke itself, and classical ways to refine it.

Every baseline is a function (image uint8 H×W×3 RGB, stroke bool H×W) → mask bool H×W, without a
trained weight. Their few parameters were fixed before anything was measured and are the same for
every picture and every table. They are in pixels of a picture at native size; ``scale`` says
how much smaller the picture at hand is (.5 at half resolution), and they shrink with it.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import watershed as flood

from nseg_lib.inputs import check_image_and_stroke

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

DILATION_RADIUS = 4
"""Pixels that :func:`dilation` adds on every side."""

RING = 15
"""Width in pixels of the ring round the stroke in which the object's edge is looked for."""

CORE_DEPTH = 3
"""Pixels that the stroke is eroded by before it is taken as surely inside the object."""

GRABCUT_ITERATIONS = 5


class Baseline(Protocol):
    """What every baseline is.

    Args:
        image: uint8 H×W×3, RGB.
        stroke: bool H×W, with at least one pixel.
        scale: size of the picture relative to its native size.

    Returns:
        bool H×W, the refined mask; a new array.

    Raises:
        TypeError: a wrong dtype or something that is no array.
        ValueError: a wrong shape, or an empty stroke.
    """

    def __call__(self, image: Image, stroke: Mask, *, scale: float = 1.0) -> Mask: ...


def identity(image: Image, stroke: Mask, *, scale: float = 1.0) -> Mask:
    """The stroke, unchanged: what every method is judged against.

    The paper reports no such row, and it nearly matches the paper's networks. ``scale`` has no
    effect.
    """
    check_image_and_stroke(image, stroke)
    return stroke.copy()


def dilation(image: Image, stroke: Mask, *, scale: float = 1.0) -> Mask:
    """The stroke grown by a disc of 4 px: what is gained by knowing that strokes fall short."""
    check_image_and_stroke(image, stroke)
    return _grown(stroke, DILATION_RADIUS * scale)


def grabcut(image: Image, stroke: Mask, *, scale: float = 1.0) -> Mask:
    """GrabCut in a ring of 15 px round the stroke.

    Two mixtures of Gaussians model the colours of object and background, a graph cut separates
    them, and both are refitted, five times. The stroke less 3 px is surely object and the rest of
    it probably; the ring is probably background and what is beyond it surely. Where that leaves
    the mixtures nothing to be fitted to, as with a stroke over the whole picture, the stroke
    comes back unchanged.

    Source: Rother et al., "GrabCut", SIGGRAPH 2004, as in OpenCV. Seeded, hence deterministic.
    """
    check_image_and_stroke(image, stroke)
    trimap = np.full(stroke.shape, cv2.GC_BGD, np.uint8)
    trimap[_grown(stroke, RING * scale)] = cv2.GC_PR_BGD
    trimap[stroke] = cv2.GC_PR_FGD
    trimap[_core(stroke, scale)] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # its k-means draws from OpenCV's global generator
    try:
        cv2.grabCut(
            image,
            trimap,
            None,
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            GRABCUT_ITERATIONS,
            cv2.GC_INIT_WITH_MASK,
        )
    except cv2.error:  # fewer pixels of object or background than Gaussians
        return stroke.copy()
    return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)


def watershed(image: Image, stroke: Mask, *, scale: float = 1.0) -> Mask:
    """Watershed of the picture's gradient between the stroke and the outside of a 15 px ring.

    The stroke less 3 px and everything beyond the ring are flooded from; they meet on the
    strongest edges in between. Where the ring leaves no outside, the stroke comes back unchanged.

    Source: Beucher and Meyer, "The morphological approach to segmentation", 1993, as in
    scikit-image; the gradient is the 3x3 Sobel magnitude of the luma.
    """
    check_image_and_stroke(image, stroke)
    outside = ~_grown(stroke, RING * scale)
    if not outside.any():
        return stroke.copy()
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    gradient = cv2.magnitude(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))
    markers = _core(stroke, scale) + 2 * outside.astype(np.int32)
    return np.asarray(flood(gradient, markers) == 1)


BASELINES: dict[str, Baseline] = {
    "identity": identity,
    "dilation": dilation,
    "grabcut": grabcut,
    "watershed": watershed,
}
"""The baselines by name, in the order of every table."""


def _grown(stroke: Mask, radius: float) -> Mask:
    """Dilated by a disc of ``radius`` px, at least 1."""
    return cv2.dilate(stroke.astype(np.uint8), _disc(radius)) > 0


def _core(stroke: Mask, scale: float) -> Mask:
    """What surely is object: the stroke less 3 px, or all of it where it is thinner than that."""
    core = cv2.erode(stroke.astype(np.uint8), _disc(CORE_DEPTH * scale)) > 0
    return core if core.any() else stroke


def _disc(radius: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
