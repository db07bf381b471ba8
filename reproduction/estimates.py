"""Estimates with 95 % intervals, and the verdict on a claim that follows from an interval.

There are three statistics: the paired difference of networks over pictures, the difference of two
training logs at equal epochs, and the rank correlation over pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from nseg_lib.evaluation.metrics import DISTANCES
from nseg_lib.evaluation.summary import bootstrap_interval
from nseg_lib.evaluation.tables import number

Pair = tuple[str, str]
"""Two methods; their difference is the first less the second."""

Epochs = Literal["all", "first third", "last third"]

ENOUGH_SEEDS = 3
"""With at least so many seeds of each network, an interval includes the scatter between seeds."""

RESAMPLES = 2_000
"""Bootstrap resamples of pictures for the interval of a correlation."""


@dataclass(frozen=True)
class Estimate:
    """A mean or correlation with its 95 % interval, and what it was estimated from."""

    mean: float
    low: float
    high: float
    n: int
    unit: str = "pictures"
    """What ``n`` counts: pictures or epochs."""
    seeds: int = 0
    """The seeds of the network that has fewest; 0 if no network with seeds is involved."""
    of: str = ""
    """The pairs of networks, as in ``a − b, c − d``."""
    median: float = np.nan
    """Median of the differences over pictures; NaN for other estimates."""


def interval_text(estimate: Estimate | None, metric: str) -> str:
    """An estimate as text: ``+0.0120 [+0.0041, +0.0199], 146 pictures, 1 seed``; ``–`` for None.

    Numbers are rounded as the metric is. A few pictures can dominate the mean of a distance, so the
    median of its differences over pictures is given too.
    """
    if estimate is None:
        return "–"
    values = (estimate.mean, estimate.low, estimate.high)
    mean, low, high = (number(value, metric, "+") for value in values)
    words = [f"{mean} [{low}, {high}]"]
    if metric in DISTANCES and estimate.unit == "pictures":
        words.append(f"median {number(estimate.median, metric, '+')}")
    words.append(f"{estimate.n} {estimate.unit}")
    if estimate.seeds and estimate.unit == "pictures":
        words.append(f"{estimate.seeds} seed{'s' if estimate.seeds > 1 else ''}")
    return ", ".join(words)


def least_favourable(estimates: Iterable[Estimate | None], sign: int) -> Estimate | None:
    """The estimate whose interval reaches furthest against the claim.

    It decides a claim about several pairs, since that is a claim about each of them.

    Args:
        estimates: None is left out.
        sign: +1 if the claim is that all are above 0, -1 if below.
    """
    present = [estimate for estimate in estimates if estimate is not None]
    return min(present, key=lambda e: min(sign * e.low, sign * e.high), default=None)


class Verdict(StrEnum):
    """What an interval says about a claim."""

    HOLDS = "holds"
    SMALLER = "not as large as printed"
    FAILS = "does not hold"
    OPEN = "cannot be told"


def verdict(
    estimate: Estimate | None, sign: int, *, printed: float = np.nan, tolerance: float = 0.0
) -> Verdict:
    """Judge a claim by the 95 % interval of an estimate.

    Args:
        estimate: ``None`` if nothing was measured.
        sign: +1 if the claim is that the estimate is above 0, -1 if below.
        printed: the same difference in the paper's tables; NaN if there is none to compare.
        tolerance: how far the interval must lie from 0, or from the printed difference. It counts
            only while a network has fewer than :data:`ENOUGH_SEEDS` seeds.

    Returns:
        ``HOLDS`` if the whole interval lies on the claimed side of 0, ``FAILS`` if it lies on the
        other side. Otherwise ``SMALLER`` if the interval excludes the printed difference, and
        ``OPEN`` if it does not.
    """
    if estimate is None:
        return Verdict.OPEN
    if estimate.seeds >= ENOUGH_SEEDS:
        tolerance = 0.0
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    if low > tolerance:
        return Verdict.HOLDS
    if high < -tolerance:
        return Verdict.FAILS
    return Verdict.SMALLER if high < sign * printed - tolerance else Verdict.OPEN


def paired_difference(rows: pd.DataFrame, pairs: Sequence[Pair], metric: str) -> Estimate | None:
    """Mean difference of networks over the same pictures.

    On each picture, every method is averaged over its seeds, and the differences over the pairs.
    The interval is a percentile bootstrap over pictures. If every network has at least
    :data:`ENOUGH_SEEDS` seeds, the interval of the scatter between seeds is added in quadrature.

    Args:
        rows: of one split, from :func:`nseg_lib.evaluation.summary.read_folder`.
        pairs: pairs without rows are left out.

    Returns:
        ``None`` if no pair has rows.
    """
    methods = {*rows["method"]}
    pairs = [pair for pair in pairs if {*pair} <= methods]
    if not pairs:
        return None
    wide = rows.groupby(["image_id", "annotation_id", "method"])[metric].mean().unstack()
    differences = pd.concat([wide[a] - wide[b] for a, b in pairs], axis=1).mean(axis=1)
    pictures = wide.index.get_level_values("image_id").to_numpy()
    lows, highs = bootstrap_interval(differences.to_numpy()[:, None], pictures)
    mean, low, high = float(differences.mean()), float(lows[0]), float(highs[0])
    seeds, error = seed_standard_error(rows, pairs, metric)
    if seeds >= ENOUGH_SEEDS:
        half_width = stats.t.ppf(0.975, seeds - 1) * error
        low = float(mean - np.hypot(mean - low, half_width))
        high = float(mean + np.hypot(high - mean, half_width))
    of = ", ".join(f"{a} − {b}" for a, b in pairs)
    return Estimate(mean, low, high, len(wide), "pictures", seeds, of, float(differences.median()))


def seed_standard_error(
    rows: pd.DataFrame, pairs: Sequence[Pair], metric: str
) -> tuple[int, float]:
    """The smallest number of seeds of a network, and the standard error due to seeds.

    Networks are taken as independent. The standard error is √(Σ w² s² / k), where w is the weight
    of a network in the mean over pairs, s² its variance over seeds and k its number of seeds.
    """
    per_seed = rows.dropna(subset="seed").groupby(["method", "seed"])[metric].mean()
    shares: Counter[str] = Counter()  # the weights of a network in several pairs add up
    for first, second in pairs:
        shares.update({first: 1, second: -1})
    counts, variance = [], 0.0
    for method in shares:
        if method not in per_seed.index:  # a baseline has no seed
            continue
        values = per_seed.loc[method]
        counts.append(len(values))
        if len(values) > 1:
            variance += shares[method] ** 2 * float(values.var(ddof=1)) / len(values)
    return min(counts, default=0), variance**0.5 / len(pairs)


def equal_epochs_difference(
    logs: pd.DataFrame, pair: Pair, column: str, epochs: Epochs = "all"
) -> Estimate | None:
    """Mean difference of two training logs over the epochs that both have.

    The interval is Student's, with the epochs as the sample. It is too narrow: neighbouring epochs
    are alike, and each network was trained once.

    Args:
        logs: a row per ``model`` and ``epoch``, as from :func:`reproduction.paper.authors_logs`.
        column: the column of the logs that is compared.
        epochs: which of the epochs that both have; a third is rounded down.

    Returns:
        ``None`` if a log or the column is missing, or fewer than two epochs are left.
    """
    if column not in logs:
        return None
    wide = logs.pivot(index="epoch", columns="model", values=column)
    first, second = pair
    if not {first, second} <= {*wide.columns}:
        return None
    differences = (wide[first] - wide[second]).dropna()
    third = len(differences) // 3
    if epochs == "first third":
        differences = differences[:third]
    elif epochs == "last third":
        differences = differences[len(differences) - third :]
    n = len(differences)
    if n < 2:
        return None
    half_width = stats.t.ppf(0.975, n - 1) * float(differences.std(ddof=1)) / n**0.5
    mean = float(differences.mean())
    of = f"{first} − {second}"
    return Estimate(mean, mean - half_width, mean + half_width, n, "epochs", 1, of)


def rank_correlation(
    pictures: pd.DataFrame, variable: str, condition: str, given: str | None = None
) -> Estimate | None:
    """Spearman's correlation of two columns, or its partial correlation given a third.

    The partial correlation removes from both columns what the third explains. From the rank
    correlations r of columns a, b and c it is (r_ab - r_ac r_bc) / √((1 - r_ac²) (1 - r_bc²)). The
    interval is a percentile bootstrap over rows.

    Args:
        pictures: a row per picture, as from
            :meth:`reproduction.evidence.Evidence.per_picture`.

    Returns:
        ``None`` if fewer than ten rows have both values.
    """
    pictures = pictures.dropna(subset=[variable, condition])
    n = len(pictures)
    if n < 10:
        return None
    columns = [variable, condition] if given is None else [variable, condition, given]
    values = pictures[columns].to_numpy(np.float64)
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    draws[0] = np.arange(n)  # the first draw is the sample itself
    ranks = stats.rankdata(values[draws], axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    ranks /= np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    r = np.einsum("dni,dnj->dij", ranks, ranks)
    found = r[:, 0, 1]
    if given is not None:
        unexplained = (1 - r[:, 0, 2] ** 2) * (1 - r[:, 1, 2] ** 2)
        found = (found - r[:, 0, 2] * r[:, 1, 2]) / np.sqrt(np.maximum(unexplained, 1e-12))
    low, high = np.percentile(found[1:], [2.5, 97.5])
    return Estimate(float(found[0]), float(low), float(high), n)
