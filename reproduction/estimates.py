"""Estimates with 95 % intervals, how much chance moves them, and the verdict that they give.

Two networks are compared on the same pictures, or at the same epochs of their training logs. Chance
enters such a difference twice: by the choice of pictures, and by the trainings, for a network that
is trained anew with another seed has another mean. The second part is a :class:`Scatter`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from nseg_lib.evaluation.metrics import DISTANCES
from nseg_lib.evaluation.summary import bootstrap_interval
from nseg_lib.evaluation.tables import number

Pair = tuple[str, str]
"""Two methods; their difference is the first less the second."""

Epochs = Literal["first third", "last five"]

LAST = 5
"""The epochs that "last five" stands for."""

MIN_DEGREES = 4
"""The fewest degrees of freedom from which a scatter is taken: three networks with three seeds."""

RESAMPLES = 2_000
"""Bootstrap resamples of pictures for the interval of a correlation."""

LEVEL = 0.05
"""A primary claim is decided if its p-value, corrected by Holm, is at most this."""

# --- how far one training lies from another -------------------------------------------------------


@dataclass(frozen=True)
class Scatter:
    """How far the mean of one training lies from that of another with the same settings."""

    sd: float
    """Standard deviation, in the unit of the metric."""
    degrees: int
    """Its degrees of freedom."""
    source: str = ""
    """What it was computed from, in words."""


def scatter(table: pd.DataFrame, source: str = "", *, shared: bool = True) -> Scatter | None:
    """The scatter of trainings, from a table of means with a row per network.

    The columns are seeds, or epochs that stand for seeds. Let x_ns be the mean of network n in
    column s, of N networks and S columns.

    With ``shared`` it is the residual of the two-way layout, x_ns = network_n + column_s + e_ns:
    sd² = Σ (x_ns - x̄_n. - x̄_.s + x̄..)² / ((N - 1)(S - 1)). What a seed does to all networks alike
    cancels in a difference of two of them: networks of one seed see the same pictures and training
    strokes in the same order. Without ``shared`` nothing cancels, as where a network is compared
    with the stroke: sd² = Σ (x_ns - x̄_n.)² / (N (S - 1)).

    Source: Fisher's two-way layout without replication, as in Montgomery, "Design and Analysis of
    Experiments", chapter 4 (randomized complete block design).

    Returns:
        ``None`` below :data:`MIN_DEGREES` degrees of freedom.
    """
    networks, columns = table.shape
    degrees = (networks - shared) * (columns - 1)
    if degrees < MIN_DEGREES:
        return None
    residual = table.sub(table.mean(axis=1), axis=0)
    if shared:
        residual = residual - residual.mean(axis=0)
    return Scatter(float(np.sqrt((residual**2).sum().sum() / degrees)), degrees, source)


def common_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """A table of networks and seeds, without networks of one seed and seeds that others lack."""
    return table[table.count(axis=1) > 1].dropna(axis=1)


# --- estimates and verdicts -----------------------------------------------------------------------


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
    """The seeds that all compared networks have; 0 if no network with seeds is involved."""
    of: str = ""
    """The pairs of networks, as in ``a − b, c − d``."""
    median: float = np.nan
    """Median of the differences over pictures; NaN for other estimates."""
    degrees: float = np.inf
    """Degrees of freedom of the interval, as Student's t has them."""
    seed_error: float = 0.0
    """The part of the standard error that comes from the trainings."""

    @property
    def error(self) -> float:
        """The standard error that the interval's width stands for."""
        return float((self.high - self.low) / 2 / stats.t.ppf(0.975, self.degrees))

    @property
    def p(self) -> float:
        """The two-sided p-value of 0, from the width of the interval and Student's t."""
        return float(2 * stats.t.sf(abs(self.mean) / max(self.error, 1e-12), self.degrees))

    @property
    def smallest_effect(self) -> float:
        """The true effect whose interval excludes 0 with 80 % probability: (t_.975 + t_.8) error.

        Source: the usual formula of power, as in Cohen, "Statistical Power Analysis", 1988.
        """
        return self.error * float(np.sum(stats.t.ppf([0.975, 0.8], self.degrees)))

    @property
    def seed_reach(self) -> float:
        """How far the choice of trainings alone moves it, in 95 of 100 cases."""
        return float(stats.t.ppf(0.975, self.degrees)) * self.seed_error

    def sample(self) -> str:
        """What it was estimated from, in words: ``146 pictures, 1 seed``."""
        seeds = f", {self.seeds} seed{'s' * (self.seeds > 1)}" if self.seeds else ""
        return f"{self.n} {self.unit}{seeds}"


def interval_text(estimate: Estimate | None, metric: str) -> str:
    """An estimate, rounded as its metric is: ``+0.0120 [+0.0041, +0.0199]``; ``–`` for None.

    A few pictures can dominate the mean of a distance, so the median of its differences over
    pictures is given too.
    """
    if estimate is None:
        return "–"
    values = (estimate.mean, estimate.low, estimate.high)
    text = "{} [{}, {}]".format(*(number(value, metric, "+") for value in values))
    if metric in DISTANCES and not np.isnan(estimate.median):
        text += f", median {number(estimate.median, metric, '+')}"
    return text


def least_favourable(estimates: Iterable[Estimate | None], sign: int) -> Estimate | None:
    """The estimate whose interval reaches furthest against the claim.

    It decides a claim about several pairs, since that is a claim about each of them.

    Args:
        estimates: None is left out.
        sign: +1 if the claim is that all are above 0, -1 if below.
    """
    present = [estimate for estimate in estimates if estimate is not None]
    return min(present, key=lambda one: min(sign * one.low, sign * one.high), default=None)


def p_value(estimate: Estimate | None, sign: int, pairs: int) -> float:
    """The p-value of a claim about each of several pairs, from its least favourable estimate.

    All pairs must confirm the claim, so the least favourable one decides at its own p-value. Any of
    them can refute it, so against the claim the p-value is multiplied by their number (Bonferroni).
    """
    if estimate is None:
        return np.nan
    return estimate.p if sign * estimate.mean > 0 else min(1.0, pairs * estimate.p)


class Verdict(StrEnum):
    """What an interval says about a claim."""

    HOLDS = "holds"
    TOO_SMALL = "too small to matter"
    NOT_EACH = "too small in one pair, not in each"
    SMALLER = "not as large as printed"
    FAILS = "does not hold"
    OPEN = "cannot be told"
    UNTESTED = "not tested on a GPU"


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


def verdict_of_pairs(
    estimates: Iterable[Estimate | None], sign: int, *, margin: float, printed: float = np.nan
) -> Verdict:
    """Judge a claim about each of several pairs by the pair that speaks least for it.

    Args:
        estimates: one per pair; ``None`` if a pair was not measured.
        sign, margin, printed: as of :func:`verdict`; ``printed`` is of the deciding pair.

    Returns:
        As :func:`verdict`, but ``NOT_EACH`` if the difference of the deciding pair is too small to
        matter while another pair's may matter: then neither can be said of the claim.
    """
    found = list(estimates)
    decided = verdict(least_favourable(found, sign), sign, margin=margin, printed=printed)
    if decided == Verdict.TOO_SMALL and any(
        verdict(one, sign, margin=margin) != Verdict.TOO_SMALL for one in found
    ):
        return Verdict.NOT_EACH
    return decided


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


# --- differences and correlations -----------------------------------------------------------------


def paired_difference(
    rows: pd.DataFrame, pairs: Sequence[Pair], metric: str, trainings: Scatter
) -> Estimate | None:
    """Mean difference of methods over the same pictures, and over the seeds that all of them have.

    On each picture, every method is averaged over its seeds, and the differences over the pairs.
    The standard error from pictures is that of a percentile bootstrap over pictures. That from
    trainings is sd √(Σ w² / S), where w is the weight of a network in the mean over pairs and S the
    number of seeds. The two are added in quadrature. Student's t has the degrees of freedom of
    Welch and Satterthwaite, where those of the pictures count as infinite.

    Args:
        rows: of one split, from :func:`nseg_lib.evaluation.summary.read_folder`.
        pairs: those without rows are left out.
        trainings: the scatter between trainings in this metric.

    Returns:
        ``None`` if no pair has rows, or their networks have no seed in common.
    """
    methods = {*rows["method"].unique()}
    pairs = [pair for pair in pairs if {*pair} <= methods]
    weights: Counter[str] = Counter()  # the weights of a network in several pairs add up
    for first, second in pairs:
        weights.update({first: 1, second: -1})
    rows = rows[rows["method"].isin([*weights])]

    # Baselines have no seed. Networks are compared at the seeds that all of them have.
    of_seeds = rows.dropna(subset="seed").groupby("method")["seed"].unique()
    seeds = set.intersection(*map(set, of_seeds)) if len(of_seeds) else set()
    if not pairs or (len(of_seeds) and not seeds):
        return None
    rows = rows[rows["seed"].isna() | rows["seed"].isin(seeds)]

    # The mean, and the error by the choice of pictures.
    wide = rows.groupby(["image_id", "annotation_id", "method"])[metric].mean().unstack()
    differences = pd.concat([wide[a] - wide[b] for a, b in pairs], axis=1).mean(axis=1)
    pictures = wide.index.get_level_values("image_id").to_numpy()
    lows, highs = bootstrap_interval(differences.to_numpy()[:, None], pictures)
    mean = float(differences.mean())
    below, above = ((mean - lows[0]) / 1.96, (highs[0] - mean) / 1.96)

    # The error by the choice of seeds.
    squares = sum(weights[name] ** 2 for name in of_seeds.index)
    seed_error = trainings.sd * (squares / max(len(seeds), 1)) ** 0.5 / len(pairs)
    share = seed_error**2 / max(seed_error**2 + below * above, 1e-24)
    degrees = trainings.degrees / share**2 if share else np.inf

    reach = float(stats.t.ppf(0.975, degrees))
    low = mean - reach * float(np.hypot(below, seed_error))
    high = mean + reach * float(np.hypot(above, seed_error))
    return Estimate(
        mean, low, high, len(wide), seeds=len(seeds), of=", ".join(f"{a} − {b}" for a, b in pairs),
        median=float(differences.median()), degrees=degrees, seed_error=seed_error,
    )  # fmt: skip


def epochs_difference(
    logs: pd.DataFrame, pair: Pair, column: str, epochs: Epochs = "last five"
) -> Estimate | None:
    """Mean difference of two networks over equal epochs of their training logs.

    The scatter between trainings is that of :func:`scatter` at these epochs, over all networks that
    have them: between seeds where the logs hold enough of them, else between the epochs of the seed
    that most networks share. An epoch stands for a training because the learning rate is constant
    and the residuals of neighbouring epochs are not correlated; but epochs share their training's
    first weights, so this scatter is a lower bound. It is not divided by the number of epochs,
    since averaging over epochs does not average over trainings. The choice of pictures is not part
    of the interval: logs hold means.

    Args:
        logs: a row per ``model``, ``seed`` and ``epoch``.
        column: the column of the logs that is compared.
        epochs: which of the epochs that both have; a third is rounded down.

    Returns:
        ``None`` if a log or the column is missing, or there are too few epochs or networks.
    """
    if column not in logs or not {*pair} <= {*logs["model"].unique()}:
        return None
    # The difference at each epoch, averaged over the seeds that both have.
    first, second = (
        logs[logs["model"] == name].pivot(index="epoch", columns="seed", values=column)
        for name in pair
    )
    by_seed = (first - second).dropna(axis=1, how="all").dropna()
    differences, seeds = by_seed.mean(axis=1), len(by_seed.columns)
    third = len(differences) // 3
    differences = differences[:third] if epochs == "first third" else differences[-LAST:]
    if len(differences) < 2 or not seeds:
        return None

    # The scatter of all networks that have these epochs.
    wide = logs.pivot(index="epoch", columns=["model", "seed"], values=column)
    there = wide.reindex(differences.index).dropna(axis=1)
    of_seeds = scatter(common_seeds(there.mean().unstack("seed")))
    by_epoch: list[Any] = [there.xs(seed, axis=1, level="seed").T for seed in by_seed]
    found = of_seeds or scatter(max(by_epoch, key=len))
    if found is None:
        return None
    mean, error = float(differences.mean()), found.sd * (2 / seeds) ** 0.5
    reach = float(stats.t.ppf(0.975, found.degrees)) * error
    return Estimate(
        mean, mean - reach, mean + reach, len(differences), unit="epochs", seeds=seeds,
        of=f"{pair[0]} − {pair[1]}", degrees=found.degrees, seed_error=error,
    )  # fmt: skip


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
    if (n := len(pictures)) < 10:
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
