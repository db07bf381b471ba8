"""Solutions of chapter 02."""

import cv2
import numpy as np


def stroke_faults(stroke, mask):
    missed = np.count_nonzero(mask & ~stroke) / np.count_nonzero(mask)
    outside = np.count_nonzero(stroke & ~mask) / np.count_nonzero(stroke)
    return missed, outside


def band_of(mask, b):
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (b, b))
    return mask & ~(cv2.erode(mask.astype(np.uint8), ellipse) > 0)


def scribble(mask, rng):
    inner = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    safe = np.column_stack(np.nonzero(inner > 3))
    (y0, x0), (y1, x1) = safe[rng.integers(len(safe), size=2)]
    line = np.zeros(mask.shape, np.uint8)
    cv2.line(line, (int(x0), int(y0)), (int(x1), int(y1)), 1, thickness=3)
    cv2.circle(line, (int(x0), int(y0)), 3, 1, -1)
    return (line > 0) & mask
