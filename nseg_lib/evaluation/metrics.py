"""How good is a predicted mask? One function per metric, with every empty case defined.

Each metric compares two bool H×W masks and returns one float for one picture; averaging is left
to :mod:`nseg_lib.evaluation.rows`. Overlaps lie in [0, 1] and higher is better. Distances are in
pixels between pixel centres and lower is better.

What holds for all of them:

- **Empty masks.** Two empty masks agree: overlap 1, distance 0. One empty mask against one that
  is not: overlap 0, and every distance is the picture's diagonal, which no distance between two
  real masks reaches. So a failure is the worst value and never vanishes from a mean as NaN.
- **Undecided pixels.** ``ignore`` marks pixels whose truth is unknown. They are taken out of both
  masks, and out of the pixels that accuracy counts, so that no metric sees what was predicted
  there. Where a band round the object is undecided, contours and distances are thus those of the
  part that surely is object; a prediction right on all decided pixels is perfect in each metric.
- **Exactness.** Distances are square roots of whole numbers, so the same masks give the same bits
  on every machine. (OpenCV's distance transform differs in the sixth digit between two runs.)
- **Cost.** Only the joint bounding box of the two masks is looked at, which changes no result,
  and :func:`evaluate_mask` finds the contours once for all metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from nseg_lib.arrays import Mask

_Bytes = NDArray[np.uint8]
_Distances = NDArray[np.float64]

BOUNDARY_RATIO = 0.02
"""Width of the band that Boundary IoU compares, as a share of the picture's diagonal."""

_SQUARE = np.ones((3, 3), np.uint8)
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


@dataclass(frozen=True)
class _Pair:
    """What every metric is defined on: two masks, cut to their joint bounding box and 1 px more.

    Nothing beyond the crop is in either mask, so every contour, and the way from any contour pixel
    to the nearest, lies within it. The margin (where the picture has one) lets an erosion tell a
    mask that ends at the crop's edge from one that touches the picture's border.
    """

    predicted: _Bytes
    """P: 0 and 1."""
    target: _Bytes
    """T: 0 and 1."""
    diagonal: float
    """Of the whole picture, in pixels."""
    decided: int
    """Pixels of the whole picture that are not ignored."""

    @cached_property
    def contours(self) -> tuple[KDTree, KDTree]:
        """∂P and ∂T: mask pixels with a 4-neighbour in the background or beyond the picture."""
        predicted, target = (_rim(m, _CROSS, outside=0) for m in (self.predicted, self.target))
        return KDTree(np.argwhere(predicted)), KDTree(np.argwhere(target))

    @cached_property
    def contour_distances(self) -> tuple[_Distances, _Distances]:
        """d(p, ∂T) for each p in ∂P, and d(t, ∂P) for each t in ∂T."""
        predicted, target = self.contours
        return self._distances(predicted.data, target), self._distances(target.data, predicted)

    @property
    def region_distances(self) -> tuple[_Distances, _Distances]:
        """d(p, T) for each p in P outside T, and d(t, P) for each t in T outside P.

        The pixel of a mask nearest to one outside it is on the mask's contour: one step from an
        inner pixel towards the outside is nearer. So it is looked for among the contour's alone.
        """
        predicted, target = self.contours
        there = self._distances(np.argwhere(self.predicted > self.target), target)
        return there, self._distances(np.argwhere(self.target > self.predicted), predicted)

    def _distances(self, pixels: NDArray[Any], contour: KDTree) -> _Distances:
        """From each pixel to the nearest of a contour; to one without pixels, the diagonal."""
        nearest, _ = contour.query(pixels)
        return np.minimum(nearest, self.diagonal)


_DEFINITIONS: dict[str, Callable[[_Pair], float]] = {}
"""Metric name → its definition, in the order in which they stand below."""

LABELS: dict[str, str] = {}
"""Metric name → what tables and figures call it."""


def _metric(label: str) -> Callable[[Callable[[_Pair], float]], Callable[..., float]]:
    """Make a definition into a public function (predicted, target, ignore=None) → float.

    So each metric can be asked for alone, and :func:`evaluate_mask` asks all of one pair, whose
    contours are found once. The label of a distance ends in ``(px)``.
    """

    def register(definition: Callable[[_Pair], float]) -> Callable[..., float]:
        def metric(predicted: Mask, target: Mask, ignore: Mask | None = None) -> float:
            return definition(_prepare(predicted, target, ignore))

        _DEFINITIONS[definition.__name__] = definition
        LABELS[definition.__name__] = label
        metric.__doc__ = definition.__doc__
        metric.__name__ = metric.__qualname__ = definition.__name__
        return metric

    return register


def evaluate_mask(predicted: Mask, target: Mask, ignore: Mask | None = None) -> dict[str, float]:
    """All metrics of one predicted mask, at little more than the price of the dearest.

    Args:
        predicted: bool H×W, the mask to judge.
        target: bool H×W, the truth.
        ignore: bool H×W, true where the truth is unknown; ``None`` if it is known everywhere.

    Returns:
        Metric name → finite float, in the order of :data:`METRICS`.

    Raises:
        ValueError: a mask that is no bool array, no plane, without pixels, or of another size
            than ``target``; ``ignore`` marking every pixel.
    """
    pair = _prepare(predicted, target, ignore)
    return {name: definition(pair) for name, definition in _DEFINITIONS.items()}


@_metric("pixel acc.")
def pixel_accuracy(pair: _Pair) -> float:
    """Share of the picture's decided pixels that are classified right, background included.

    High for any small object: an empty prediction of an object of 5 % scores .95.
    """
    wrong = int(np.count_nonzero(pair.predicted != pair.target))
    return 1 - wrong / pair.decided


@_metric("IoU")
def iou(pair: _Pair) -> float:
    """Intersection over union, |P ∩ T| / |P ∪ T|; also called the Jaccard index."""
    return _overlap(pair.predicted, pair.target)


@_metric("1-px boundary IoU")
def boundary_iou_1px(pair: _Pair) -> float:
    """Overlap of the masks' inner boundaries, one pixel wide: the paper's "Boundary IoU".

    A boundary is a mask minus its 3x3 erosion. As in the paper's released code, which erodes by
    max-pooling the complement with padding -inf, the picture's border is no boundary: a full mask
    has none. Two full masks agree (1), but a full and an empty one do not (0), unlike in that code.

    Shifting a contour by a single pixel takes this metric to about 0.
    """
    if pair.predicted.any() != pair.target.any():
        return 0.0
    predicted, target = (_rim(mask, _SQUARE, outside=1) for mask in (pair.predicted, pair.target))
    return _overlap(predicted, target)


@_metric("Boundary IoU (2 %)")
def boundary_iou(pair: _Pair) -> float:
    """Boundary IoU: overlap of the bands of each mask within d px of its own contour.

    d is 2 % of the picture's diagonal, at least 1 px, and the band is the mask minus d erosions
    by a 3x3 square. Beyond the picture everything counts as background, so its border is a
    contour for a mask that touches it.

    Source: Cheng et al., "Boundary IoU", CVPR 2021, and the authors' code.
    """
    depth = max(1, round(BOUNDARY_RATIO * pair.diagonal))
    predicted, target = (_rim(mask, _SQUARE, 0, depth) for mask in (pair.predicted, pair.target))
    return _overlap(predicted, target)


@_metric("Hausdorff, contour (px)")
def hausdorff_contour(pair: _Pair) -> float:
    """Hausdorff distance between the masks' contours: how far the worst contour pixel is off.

    max(max over p in ∂P of d(p, ∂T), max over t in ∂T of d(t, ∂P)), in pixels. The contour ∂ of a
    mask are its pixels with a 4-neighbour outside it, or on the picture's border; MONAI takes the
    same. This is what the paper's text says; its code computes :func:`hausdorff_region`.
    """
    return _largest(pair.contour_distances)


@_metric("Hausdorff, region (px)")
def hausdorff_region(pair: _Pair) -> float:
    """Hausdorff distance between all pixels of the masks: what the paper's code computes.

    max(max over p in P of d(p, T), max over t in T of d(t, P)), in pixels. Pixels in both masks
    are at distance 0. It equals ``scipy.spatial.distance.directed_hausdorff`` taken both ways.
    """
    return _largest(pair.region_distances)


@_metric("HD95 (px)")
def hd95(pair: _Pair) -> float:
    """Contour Hausdorff distance with the 95th percentile in place of the maximum, in pixels.

    Percentiles (linearly interpolated) of d(p, ∂T) over ∂P and of d(t, ∂P) over ∂T; the larger
    counts, as in MONAI. The worst twentieth of a contour does not move it.
    """
    both_ways = (np.percentile(d, 95) for d in pair.contour_distances if d.size)
    return float(max(both_ways, default=0.0))


METRICS = tuple(_DEFINITIONS)
"""Names of all metrics, in the order of every table."""

DISTANCES = tuple(name for name in METRICS if LABELS[name].endswith("(px)"))
"""The metrics in pixels, where lower is better; of all others higher is better."""


def _prepare(predicted: Mask, target: Mask, ignore: Mask | None) -> _Pair:
    """Check the masks, take the ignored pixels out, and cut to the joint bounding box."""
    _check("target", target, target)
    _check("predicted", predicted, target)
    diagonal, decided = math.hypot(*target.shape), target.size
    if ignore is not None:
        _check("ignore", ignore, target)
        decided -= int(np.count_nonzero(ignore))
        if decided == 0:
            raise ValueError("ignore marks every pixel; at least one must be left to compare")
        predicted, target = predicted & ~ignore, target & ~ignore
    x, y, width, height = cv2.boundingRect((predicted | target).astype(np.uint8))
    crop = slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1)
    predicted, target = predicted[crop], target[crop]
    return _Pair(predicted.astype(np.uint8), target.astype(np.uint8), diagonal, decided)


def _check(name: str, mask: Mask, target: Mask) -> None:
    got = f"{getattr(mask, 'dtype', type(mask).__name__)} of shape {np.shape(mask)}"
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"{name} must be a bool array H×W, got {got}")
    if mask.size == 0:
        raise ValueError(f"{name} must have pixels, got {got}")
    if mask.shape != target.shape:
        raise ValueError(f"{name} must have the target's shape {target.shape}, got {got}")


def _rim(mask: _Bytes, neighbours: _Bytes, outside: int, depth: int = 1) -> _Bytes:
    """Mask minus ``depth`` erosions; ``outside`` is the value taken to lie beyond the picture."""
    eroded = cv2.erode(
        mask, neighbours, iterations=depth, borderType=cv2.BORDER_CONSTANT, borderValue=outside
    )
    return (mask - eroded).astype(np.uint8, copy=False)


def _largest(both_ways: tuple[_Distances, _Distances]) -> float:
    return float(max(distances.max(initial=0) for distances in both_ways))


def _overlap(predicted: _Bytes, target: _Bytes) -> float:
    """Intersection over union of two sets of pixels; two empty sets agree."""
    union = int(np.count_nonzero(predicted | target))
    return int(np.count_nonzero(predicted & target)) / union if union else 1.0
