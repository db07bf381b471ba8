"""Solutions of chapter 00."""

import numpy as np


def iou(predicted, target):
    union = np.count_nonzero(predicted | target)
    return np.count_nonzero(predicted & target) / union if union else 1.0


def pixel_accuracy(predicted, target):
    return float((predicted == target).mean())


def made_worse(before, after):
    return float(np.mean(np.array(after) < np.array(before)))
