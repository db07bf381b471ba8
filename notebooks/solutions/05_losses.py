"""Solutions of chapter 05."""

import numpy as np


def focal_loss(p, t, gamma):
    q = np.where(t == 1, p, 1 - p)
    return float(np.mean(-((1 - q) ** gamma) * np.log(q)))


def tversky_loss(p, t, a):
    tp, fn, fp = (p * t).sum(), ((1 - p) * t).sum(), (p * (1 - t)).sum()
    return float(1 - (tp + 1) / (tp + a * fn + (1 - a) * fp + 1))
