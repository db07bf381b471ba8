"""Solutions of chapter 00."""

import numpy as np


def made_worse(before, after):
    return float(np.mean(np.array(after) < np.array(before)))


def what_changed(stroke, answer):
    size = np.count_nonzero(stroke)
    added, taken = answer & ~stroke, stroke & ~answer
    return np.count_nonzero(added) / size, np.count_nonzero(taken) / size
