"""The verdict that an interval gives on a claim, and its correction for testing many claims."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from reproduction.estimates import Estimate

LEVEL = 0.05
"""A primary claim is decided if its p-value, corrected by Holm, is at most this."""


class Verdict(StrEnum):
    """What an interval says about a claim."""

    HOLDS = "holds"
    TOO_SMALL = "too small to matter"
    SMALLER = "not as large as printed"
    FAILS = "does not hold"
    OPEN = "cannot be told"
    UNTESTED = "not tested on a GPU"


SEEN = {
    Verdict.HOLDS: "yes",
    Verdict.TOO_SMALL: str(Verdict.TOO_SMALL),
    Verdict.SMALLER: f"no, {Verdict.SMALLER}",
    Verdict.FAILS: "no, the opposite",
    Verdict.OPEN: str(Verdict.OPEN),
}
"""The words for a verdict on the authors' logs. One training of each network cannot show that a
claim holds in general, so they only say whether the difference was seen."""


def verdict(
    estimate: Estimate | None, sign: int, *, margin: float = np.nan, printed: float = np.nan
) -> Verdict:
    """Judge a claim by the 95 % interval of an estimate.

    Args:
        estimate: ``None`` if nothing was measured.
        sign: +1 if the claim is that the estimate is above 0, -1 if below.
        margin: a difference up to this size is too small to matter; NaN for none.
        printed: the same difference in the paper's tables; NaN if there is none to compare.

    Returns:
        ``TOO_SMALL`` if the whole interval lies within the margin, on whatever side of 0. Else
        ``HOLDS`` if it lies on the claimed side of 0, ``FAILS`` if on the other. Else ``SMALLER``
        if it excludes the printed difference, and ``OPEN`` if it does not.
    """
    if estimate is None:
        return Verdict.OPEN
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    if max(-low, high) <= margin:
        return Verdict.TOO_SMALL
    if low > 0:
        return Verdict.HOLDS
    if high < 0:
        return Verdict.FAILS
    return Verdict.SMALLER if high < sign * printed else Verdict.OPEN


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for testing all of them at once, by Holm's step-down method.

    The smallest of m values is multiplied by m, the next by m - 1 and so on; none may be smaller
    than the one before it, and none larger than 1.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    corrected, largest = {}, 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = min(1.0, max(largest, (len(p) - place) * p[name]))
        corrected[name] = largest
    return corrected
