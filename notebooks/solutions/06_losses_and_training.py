"""Solutions of chapter 06."""

import numpy as np


def soft_dice(p, t):
    return 1 - (2 * np.sum(p * t) + 1) / (np.sum(p) + np.sum(t) + 1)


def running_mean(values, window):
    return [float(np.mean(values[max(0, i + 1 - window) : i + 1])) for i in range(len(values))]


def stops_at(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best == patience:
            return best, epoch
    return best, len(losses) - 1


def matched_difference(a, b):
    return float(np.mean([x - y for x, y in zip(a, b, strict=False)]))
