"""What a network has to beat: the stroke itself, and classical ways to refine it.

Two families, without a trained weight. :data:`BASELINES` refine a coarse mask, as the paper's
strokes are, in a ring round it. :data:`SEEDED` know lines and strokes on the background too; how
their GrabCut starts was chosen on the validation split. Their few parameters were fixed before
anything was measured and are the same for every picture and every table. They are in pixels of a
picture at native size, and shrink with ``scale``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import random_walker as walk
from skimage.segmentation import watershed as flood

from nseg_lib.arrays import Image, Logits, Mask
from nseg_lib.prompt import Prompt

RING = 15
"""Width in pixels of the ring round the stroke in which the object's edge is looked for."""

CORE_DEPTH = 3
"""Pixels that the stroke is eroded by before it is taken as surely inside the object."""

SURE = 10.0
"""A baseline knows no probability: its logits are this on its mask and the negative elsewhere, so
that every threshold in use gives the same mask."""

Segment = Callable[[Image, Prompt, float], Mask]
"""Picture, prompt (both checked by :class:`Baseline`) and scale → bool H×W, a new array."""


@dataclass(frozen=True)
class Baseline:
    """A classical method as a :class:`nseg_lib.prompt.Predictor`."""

    segment: Segment
    """A value of :data:`BASELINES` or :data:`SEEDED`."""
    scale: float = 1.0
    """Size of the pictures relative to their native size."""

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        """Plus or minus :data:`SURE`, float32 H×W; raises as :meth:`Prompt.check`."""
        prompt.check(image)
        mask = self.segment(image, prompt, self.scale)
        return np.where(mask, SURE, -SURE).astype(np.float32)


def identity(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """The stroke, unchanged: what every method is judged against. The paper has no such row."""
    return prompt.planes[0].copy()


def dilation(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """The stroke grown by a disc of 4 px: what is gained by knowing that strokes fall short."""
    return _grown(prompt.planes[0], 4 * scale)


def grabcut(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """GrabCut in a ring of 15 px round the stroke.

    Two mixtures of Gaussians model the colours of object and background, a graph cut separates
    them, and both are refitted, five times. The stroke less 3 px is surely object and the rest of
    it probably; the ring is probably background and what is beyond it surely. Where that leaves
    the mixtures nothing to be fitted to, as with a stroke over the whole picture, the stroke
    comes back unchanged.

    Source: Rother et al., "GrabCut", SIGGRAPH 2004, as in OpenCV. Seeded, hence deterministic.
    """
    stroke = prompt.object
    trimap = np.full(stroke.shape, cv2.GC_BGD, np.uint8)
    trimap[_grown(stroke, RING * scale)] = cv2.GC_PR_BGD
    trimap[stroke] = cv2.GC_PR_FGD
    trimap[_core(stroke, scale)] = cv2.GC_FGD
    return _cut(image, stroke, trimap)


def watershed(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """Watershed of the picture's gradient between the stroke and the outside of a 15 px ring.

    The stroke less 3 px and everything beyond the ring are flooded from; they meet on the
    strongest edges in between. Where the ring leaves no outside, the stroke comes back unchanged.

    Source: Beucher and Meyer, "The morphological approach to segmentation", 1993, as in
    scikit-image; the gradient is the 3x3 Sobel magnitude of the luma.
    """
    stroke = prompt.object
    outside = ~_grown(stroke, RING * scale)
    return _flooded(image, _core(stroke, scale), outside) if outside.any() else stroke.copy()


BASELINES: dict[str, Segment] = {
    "identity": identity,
    "dilation": dilation,
    "grabcut": grabcut,
    "watershed": watershed,
}
"""Baselines for coarse masks by name, in the order of every table."""


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


def _cut(image: Image, stroke: Mask, trimap: NDArray[np.uint8]) -> Mask:
    """OpenCV's GrabCut; the stroke where the trimap has fewer pixels to fit than Gaussians."""
    cv2.setRNGSeed(0)  # its k-means draws from OpenCV's global generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    trimap = np.ascontiguousarray(trimap)  # a mask decoded from RLE is stored column by column
    try:
        cv2.grabCut(image, trimap, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return stroke.copy()
    return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)


def _flooded(image: Image, inside: Mask, outside: Mask) -> Mask:
    """Watershed of the luma's Sobel magnitude from two sets of markers."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # Flooding only asks which pixel is lower, so the squared magnitude will do. It is a whole
    # number, whereas the last bit of cv2.magnitude depends on where the arrays lie in memory.
    gradient = cv2.Sobel(luma, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(luma, cv2.CV_32F, 0, 1) ** 2
    return np.asarray(flood(gradient, inside + 2 * outside.astype(np.int32)) == 1)


# --- from lines, and strokes on the background ----------------------------------------------------

COARSE_DEPTH = 0.2
"""A stroke is a coarse mask, not a line, where its deepest pixel is at least so far from its edge,
in units of the square root of its area, and it fills :data:`COARSE_FILL` of its bounding box. A
disc has a depth of .56, a square .5, a line six times as long as it is wide .2."""

COARSE_FILL = 0.2

WALKER_SIDE = 256
"""The random walker's cost grows faster than the number of pixels."""


def is_coarse_mask(stroke: Mask) -> bool:
    """Whether a stroke nearly is the mask, as the paper's, and not a line; see COARSE_DEPTH."""
    x, y, width, height = cv2.boundingRect(stroke.astype(np.uint8))
    depth = distance_transform_edt(np.pad(stroke[y : y + height, x : x + width], 1)).max()
    area = np.count_nonzero(stroke)
    return bool(depth >= COARSE_DEPTH * np.sqrt(area) and area >= COARSE_FILL * width * height)


def seeded_grabcut(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """GrabCut with the strokes as its sure pixels.

    Elsewhere the last answer says what is probable. Without one a pixel is probably object where
    it is nearer to an object stroke than to a background stroke and within the object strokes'
    box, grown by half its size on each side. In a box all is probable, as in the original. A coarse
    mask without strokes on the background is refined in its ring, by :func:`grabcut`.
    """
    stroke, background, _ = prompt.planes
    if prompt.box is not None:
        stroke = stroke & prompt.object
    if prompt.mask is None and not background.any() and is_coarse_mask(stroke):
        return grabcut(image, prompt, scale)
    probable = prompt.mask
    if probable is None and prompt.box is not None:
        probable = prompt.inside
    elif probable is None:
        x, y, width, height = cv2.boundingRect(stroke.astype(np.uint8))
        probable = np.zeros_like(stroke)
        rows = slice(max(0, y - height // 2), y + height + height // 2)
        probable[rows, max(0, x - width // 2) : x + width + width // 2] = True
        if background.any():
            to_object, to_background = (
                cv2.distanceTransform((~strokes).astype(np.uint8), cv2.DIST_L2, 3)
                for strokes in (stroke, background)
            )
            probable &= to_object < to_background
    trimap = np.where(probable, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[background] = cv2.GC_BGD
    trimap[stroke] = cv2.GC_FGD
    return _cut(image, stroke, trimap)


def seeded_watershed(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """Watershed from the strokes; without any on the background, from the picture's border too.

    A coarse mask without strokes on the background is refined by :func:`watershed`. The last
    answer has no part in it.
    """
    stroke, background, _ = prompt.planes
    if not background.any() and is_coarse_mask(stroke):
        return watershed(image, prompt, scale)
    outside = background if background.any() else _border(stroke)
    return _flooded(image, stroke, outside) if outside.any() else stroke.copy()


def seeded_random_walker(image: Image, prompt: Prompt, scale: float = 1.0) -> Mask:
    """The label whose strokes a random walker, shy of edges in colour, reaches first.

    On the picture shrunk to a longest side of :data:`WALKER_SIDE`; the probability is enlarged
    again and cut at .5. Without strokes on the background it is the picture's border, and for a
    coarse mask its core and all beyond its ring are the seeds. The last answer has no part in it.
    In a picture of one colour the stroke comes back unchanged.

    Source: Grady, "Random walks for image segmentation", PAMI 2006, as in scikit-image.
    """
    stroke, background, _ = prompt.planes
    inside, outside = stroke, background
    if not background.any():
        coarse = is_coarse_mask(stroke)
        inside = _core(stroke, scale) if coarse else stroke
        outside = ~_grown(stroke, RING * scale) if coarse else _border(stroke)
    height, width = stroke.shape
    shrinking = min(1.0, WALKER_SIDE / max(height, width))
    size = max(1, round(width * shrinking)), max(1, round(height * shrinking))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    seeds, around, _ = Prompt(inside, outside).shrunk(size).planes
    labels = np.where(seeds, 1, 2 * around.astype(np.int32))
    if not (labels == 2).any() or not small.std():
        return stroke.copy()
    # The solver's rounding errors below 0 and above 1 do no harm: prob_tol.
    reached = walk(
        small, labels, mode="cg_j", return_full_prob=True, channel_axis=-1, prob_tol=np.inf
    )
    object_first = cv2.resize(reached[0].astype(np.float32), (width, height))
    return (object_first > 0.5) & ~background | stroke


def _border(stroke: Mask) -> Mask:
    """The picture's outermost pixels, less those that the stroke and 15 px round it cover."""
    border = np.ones_like(stroke)
    border[1:-1, 1:-1] = False
    return border & ~_grown(stroke, RING)


SEEDED: dict[str, Segment] = {
    "identity": identity,
    "grabcut": seeded_grabcut,
    "watershed": seeded_watershed,
    "random_walker": seeded_random_walker,
}
"""Baselines for any strokes by name, in the order of every table."""
