"""Solutions of chapter 09."""

import numpy as np


def paired(before, after, margin):
    difference = np.array(after) - np.array(before)
    return float(difference.mean()), float((difference < -margin).mean())


def stands_out(values, reach):
    best = values.index(max(values))
    around = values[max(0, best - reach) : best] + values[best + 1 : best + 1 + reach]
    return values[best] - sum(around) / len(around)
