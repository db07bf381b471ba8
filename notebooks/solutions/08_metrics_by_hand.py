"""Solutions of chapter 08."""

import numpy as np


def inner_boundary(mask):
    padded = np.pad(mask, 1, constant_values=True)
    eroded = np.ones_like(mask)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            eroded &= padded[dy : dy + mask.shape[0], dx : dx + mask.shape[1]]
    return mask & ~eroded


def hausdorff(a, b):
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    return float(max(distances.min(axis=1).max(), distances.min(axis=0).max()))


def logit_of(probability):
    return float(np.log(probability / (1 - probability)))
