"""Estimates with 95 % intervals, and the verdict that an interval gives on a claim.

Three statistics: the paired difference of networks over pictures, the difference of two training
logs at equal epochs, and the rank correlation over pictures. Each is a function of rows alone.
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
"""With so many seeds of each network, their scatter is part of the interval."""

RESAMPLES = 2_000
"""Bootstrap resamples of pictures for the interval of a correlation."""


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval, and what they are of."""

    mean: float
    low: float
    high: float
    n: int
    unit: str = "pictures"
    """Of ``n``: pictures or epochs."""
    seeds: int = 0
    """The fewest seeds of a network in it; 0 where no seed is involved."""
    of: str = ""
    """The pairs of networks: ``a − b, c − d``."""
    median: float = np.nan
    """Of the differences over pictures; NaN where the estimate is none of differences."""


def interval_text(estimate: Estimate | None, metric: str) -> str:
    """``+0.0120 [+0.0041, +0.0199], 146 pictures, 1 seed``; ``–`` where there is none.

    Rounded as the metric is. The mean of a distance hangs on few pictures, so that the median of
    the differences over pictures is given with it.
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
    """The estimate whose interval reaches furthest to the side that is not claimed.

    A claim about several pairs is a claim about each of them, so this one decides.

    Args:
        sign: +1 where the claim is that all are above 0, -1 where below.
    """
    present = [estimate for estimate in estimates if estimate is not None]
    return min(present, key=lambda e: min(sign * e.low, sign * e.high), default=None)


class Verdict(StrEnum):
    """What an interval says of a claim."""

    HOLDS = "holds"
    SMALLER = "not as large as printed"
    FAILS = "does not hold"
    OPEN = "cannot be told"


def verdict(
    estimate: Estimate | None, sign: int, *, printed: float = np.nan, tolerance: float = 0.0
) -> Verdict:
    """Judge a claim by the 95 % interval of an estimate.

    Args:
        estimate: ``None`` where nothing was measured.
        sign: +1 where the claim is that the estimate is above 0, -1 where below.
        printed: the same difference in the paper's tables; NaN where there is none to compare.
        tolerance: how far the interval must lie from 0, or from the printed difference, as long
            as a network has fewer than :data:`ENOUGH_SEEDS` seeds.

    Returns:
        ``HOLDS`` where the whole interval lies on the claimed side, ``FAILS`` where it lies on
        the other. In between, ``SMALLER`` where the interval excludes the printed difference, and
        ``OPEN`` where it does not.
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

    Each method is averaged over its seeds, then the pairs over each other, per picture. The
    interval is a percentile bootstrap over pictures. Where every network has at least
    :data:`ENOUGH_SEEDS` seeds, the interval of their scatter is added to it in quadrature.

    Args:
        rows: of one split, from :func:`nseg_lib.evaluation.summary.read_folder`.
        pairs: those without rows are left out.

    Returns:
        ``None`` where no pair has rows.
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
    """The fewest seeds of a network in the pairs, and the standard error that seeds cause.

    The networks' variances over their own seeds are added as independent: with w the share of a
    network in the mean over pairs, s² its variance and k its seeds, √Σ w² s² / k.
    """
    per_seed = rows.dropna(subset="seed").groupby(["method", "seed"])[metric].mean()
    shares: Counter[str] = Counter()  # a network that is in several pairs counts with its sum
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

    The interval is Student's, with epochs as the sample. They are of one training each, and
    neighbouring epochs are alike, so it is narrower than the truth.

    Args:
        logs: a row per ``model`` and ``epoch``, such as :func:`reproduction.paper.authors_logs`.
        column: of the logs.
        epochs: all that both have, or a third of them, rounded down.

    Returns:
        ``None`` where a log is missing, has no such column, or fewer than two epochs are left.
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

    The partial correlation is (r_ab - r_ac r_bc) / √((1 - r_ac²) (1 - r_bc²)) of the ranks: what
    the ranks of the third explain is taken out of both. The interval is a percentile bootstrap
    over rows.

    Args:
        pictures: a row per picture, such as :meth:`reproduction.evidence.Evidence.per_picture`.

    Returns:
        ``None`` where fewer than ten rows have both values.
    """
    pictures = pictures.dropna(subset=[variable, condition])
    n = len(pictures)
    if n < 10:
        return None
    columns = [variable, condition] if given is None else [variable, condition, given]
    values = pictures[columns].to_numpy(np.float64)
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    draws[0] = np.arange(n)  # the first is no resample but the sample itself
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
