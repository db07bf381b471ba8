"""Is a network as sure as it should be? Reliability, and the temperature that mends it.

A probability is calibrated if, of all pixels that are given it, just that share is object. Dividing
every logit by one number, the temperature, changes no mask and mends most of what is wrong.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

BINS = 10
"""Equal parts of the range of probabilities."""


def fit_temperature(logits: Floats, truth: Bools) -> float:
    """The temperature of the lowest cross-entropy.

    Args:
        logits: float32 N, of pixels that the network has seen.
        truth: bool N, whether each is object.
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, np.where(truth, -scaled, scaled))))

    found = minimize_scalar(cross_entropy, bounds=(-2, 2), method="bounded")
    return float(np.exp(found.x))


def reliability(probability: Floats, truth: Bools) -> pd.DataFrame:
    """Of the pixels in each bin of probability: their number, their mean probability, and the share
    that is object.

    Args:
        probability: float32 N in [0, 1].
        truth: bool N.

    Returns:
        Columns ``pixels``, ``probability`` and ``object``, a row per bin that has pixels.
    """
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": bins, "probability": probability, "object": truth})
    grouped = table.groupby("bin")
    means = grouped[["probability", "object"]].mean()
    return means.assign(pixels=grouped.size())[["pixels", "probability", "object"]]
