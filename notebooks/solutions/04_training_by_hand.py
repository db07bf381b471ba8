"""Solutions of chapter 04."""

import numpy as np


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
