"""Unusual strokes and measures of difficulty, to find out where a refiner fails.

The strokes that training draws (:mod:`nseg_lib.strokes.recipes`) are all alike: most of the object,
with bites missing. The strokes here are too small, too large or thin. Chapter
``10_errors`` builds them in the open; chapters ``12`` to ``14`` measure with
them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from nseg_lib.arrays import Image, Mask
from nseg_lib.evaluation.summary import bootstrap_interval, one_training


def too_small(mask: Mask, share: float) -> Mask:
    """A stroke that covers only the object's core, the pixels furthest from its edge.

    Args:
        mask: bool H×W, the object.
        share: of the object's pixels that are covered, in (0, 1]. Among pixels equally far from
            the edge, the first in reading order are taken.

    Returns:
        bool H×W, within the mask, at least one pixel where the mask has one.
    """
    count = max(1, round(share * int(mask.sum()))) if mask.any() else 0
    return _highest(depth(mask), count)


def overshooting(mask: Mask, factor: float) -> Mask:
    """A stroke that spills over the object's edge on all sides.

    Args:
        mask: bool H×W, the object, not empty.
        factor: area of the stroke over that of the object, at least 1. A stroke cannot be larger
            than the picture.

    Returns:
        bool H×W, holding the mask and the pixels nearest to it.
    """
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return _highest(-away, min(mask.size, round(factor * int(mask.sum()))))


def depth(mask: Mask) -> NDArray[np.float32]:
    """Distance in pixels to the object's edge, float32 H×W, 0 outside; the picture's border counts
    as edge."""
    padded = np.pad(mask, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def _highest(order: NDArray[np.float32], count: int) -> Mask:
    """bool H×W: the ``count`` pixels of highest ``order``; ties are broken in reading order."""
    chosen = np.zeros(order.size, bool)
    chosen[np.argsort(-order, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(order.shape)


def thin_scribble(mask: Mask, radius: int = 2) -> Mask:
    """A thin line along the object's middle, as people draw it: its skeleton, some pixels wide.

    Args:
        mask: bool H×W, the object.
        radius: of the pen, in pixels.

    Returns:
        bool H×W, within the mask.

    Source: the skeleton of Zhang and Suen 1984, as in scikit-image.
    """
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    line = cv2.dilate(skeletonize(mask).astype(np.uint8), pen) > 0
    return line & mask


def clutter(image: Image, mask: Mask, width: int = 15) -> float:
    """How busy the surroundings are: mean gradient in a ring round the object.

    Args:
        image: uint8 H×W×3, RGB.
        mask: bool H×W, the object; its own edge is left out by a gap of 2 px.
        width: of the ring, in pixels.

    Returns:
        Mean 3x3 Sobel magnitude of the luma, in grey levels per pixel; 0 where there is no ring.
    """
    luma = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    dx, dy = (cv2.Sobel(luma, cv2.CV_32F, x, 1 - x) / 8 for x in (1, 0))
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    ring = (away > 2) & (away <= 2 + width)
    return float(np.sqrt(dx * dx + dy * dy)[ring].mean()) if ring.any() else 0.0


def typical(results: pd.DataFrame, models: Sequence[str], showable: Collection[int]) -> int:
    """The id of the picture of Figures 6 and 7, chosen by a fixed rule.

    The rule was written before any prediction was drawn. The candidates are the validation pictures
    that a report may show and whose object covers 5 to 50 % of the picture; a condition that no
    picture meets is dropped. Of these, the picture with the median of the models' mean IoU is
    chosen, over one training of each.

    Args:
        results: rows of :mod:`nseg_lib.evaluation.rows`.
        models: the models whose IoU is averaged.
        showable: ids of the pictures that a report may show.
    """
    known = results[results["method"].isin(models) & (results["split"] == "val")]
    known = one_training(known)
    share = known["object_area"] / (known["width"] * known["height"])
    for wanted in (known["image_id"].isin(list(showable)), share.between(0.05, 0.5)):
        meets = wanted.reindex(known.index)  # an earlier condition may have left rows out
        known = known[meets] if meets.any() else known
    mean_iou = known.groupby("image_id")["iou"].mean().sort_values()
    return int(mean_iou.index[(len(mean_iou) - 1) // 2])


def binned(frame: pd.DataFrame, by: str, values: list[str], bins: int = 3) -> pd.DataFrame:
    """Means with 95 % intervals of some columns, in bins of equal count along another column.

    Args:
        frame: one row per picture; the bootstrap resamples its column ``image_id``.
        by: the column that is cut at its quantiles.
        values: the columns that are averaged.

    Returns:
        A row per bin: ``bin`` (from 1), ``low`` and ``high`` (range of ``by`` in it), ``n``,
        and for each value ``<value>``, ``<value>_low`` and ``<value>_high``.
    """
    rank = frame[by].rank(method="first").to_numpy()  # 1, 2, …: ties do not make bins uneven
    place = np.minimum((rank - 1) * bins // len(frame), bins - 1).astype(int)
    rows = []
    for number in range(bins):
        part = frame[place == number]
        row = {"bin": number + 1, "low": part[by].min(), "high": part[by].max(), "n": len(part)}
        table = part[values].to_numpy(np.float64)
        low, high = bootstrap_interval(table, part["image_id"].to_numpy(), replicates=2000)
        for i, value in enumerate(values):
            row |= {value: table[:, i].mean(), f"{value}_low": low[i], f"{value}_high": high[i]}
        rows.append(row)
    return pd.DataFrame(rows)
