"""Solutions of chapter 05."""

import numpy as np


def soft_dice(p, t):
    return 1 - (2 * np.sum(p * t) + 1) / (np.sum(p) + np.sum(t) + 1)
