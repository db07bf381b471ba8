"""Solutions of chapter 07."""

import numpy as np


def gate_parameters(channels):
    half = channels // 2
    to_half = channels * half + half + 2 * half  # 1x1 convolution, group norm
    score = half + 1 + 2  # 1x1 convolution to one channel, group norm
    return 2 * to_half + score


def best_threshold_iou(alpha, mask):
    best = 0.0
    for threshold in np.unique(alpha):
        predicted = alpha >= threshold
        best = max(best, (predicted & mask).sum() / (predicted | mask).sum())
    return float(best)
