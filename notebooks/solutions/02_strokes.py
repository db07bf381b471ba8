"""Solutions of chapter 02."""

import cv2
import numpy as np


def iou_of_faults(missed, outside):
    overlap = 1 - missed
    stroke = overlap / (1 - outside)
    return overlap / (1 + stroke - overlap)


def scribble(mask, rng):
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    safe = np.column_stack(np.nonzero(depth > 5))
    while True:
        (y0, x0), (y1, x1) = safe[rng.integers(len(safe), size=2)]
        line = np.zeros(mask.shape, np.uint8)
        cv2.line(line, (int(x0), int(y0)), (int(x1), int(y1)), 1, thickness=3)
        drawn = line > 0
        if np.hypot(y1 - y0, x1 - x0) > 25 and not (drawn & ~mask).any():
            return drawn
