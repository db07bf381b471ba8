"""The kinds of test that decide a claim of the paper, one class for each.

The fields of a class are those of a record in ``reports/claims.yml``. Its docstring defines the
statistic, and ``judge`` makes one row of the table of claims.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from nseg_lib import config
from nseg_lib.config import Strict
from nseg_lib.evaluation.tables import LABELS, number
from reproduction import estimates
from reproduction.estimates import (
    ENOUGH_SEEDS,
    Epochs,
    Estimate,
    Pair,
    Verdict,
    interval_text,
    least_favourable,
)
from reproduction.evidence import Evidence
from reproduction.listings import MIN_PICTURES, categories
from reproduction.paper import LOG_COLUMNS


def _known_network(name: str) -> str:
    if name not in config.names():
        raise ValueError(f"no network '{name}'; there are {', '.join(config.names())}")
    return name


Network = Annotated[str, AfterValidator(_known_network)]
Pairs = Annotated[
    list[Annotated[tuple[Network, Network], Field(strict=False)]], Field(min_length=1)
]
Metric = Literal["iou", "boundary_iou_1px", "pixel_accuracy", "hausdorff_region"]


@dataclass(frozen=True)
class Result:
    """One row of the table of claims: its cells as text, and its numbers."""

    test: str
    """The test in words."""
    ours: str = "–"
    verdict: str = Verdict.OPEN
    source: str = "no rows"
    printed: str = "–"
    logs: str = "–"
    """The same difference, measured in the authors' training logs."""
    logs_verdict: str = "–"
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Columns of ``claims.csv``, see :func:`_numbers`."""


def _numbers(printed: float = math.nan, **found: Estimate | None) -> dict[str, float]:
    """``printed``, and ``<name>_mean``, ``_low``, ``_high`` and ``_n`` of each estimate."""
    numbers = {"printed": printed}
    for name, estimate in found.items():
        if estimate is not None:
            for part in ("mean", "low", "high", "n"):
                numbers[f"{name}_{part}"] = float(getattr(estimate, part))
    return numbers


class Claim(Strict, ABC):
    """A record of ``reports/claims.yml``, with the fields that all kinds have."""

    id: str
    claim: str
    section: str
    test: str

    @abstractmethod
    def judge(self, evidence: Evidence) -> Result:
        """Test the claim on a report's evidence."""


class IntervalClaim(Claim):
    """A claim that holds if the whole 95 % interval lies on the claimed side of 0."""

    interval: Literal["above 0", "below 0"]

    @property
    def sign(self) -> int:
        """+1 if the interval must lie above 0, -1 if below."""
        return 1 if self.interval == "above 0" else -1

    def bound(self, evidence: Evidence, estimate: Estimate | None, metric: str) -> str:
        """Where the interval must lie, in words: ``above +0.029 (above 0 with three seeds)``."""
        seeds = estimate.seeds if estimate else len(evidence.profile.seeds)
        if seeds >= ENOUGH_SEEDS:
            return self.interval
        bound = f"{self.sign * evidence.tolerance(metric):+g}"
        return f"{self.interval.replace('0', bound)} ({self.interval} with three seeds)"


class GainOverStroke(IntervalClaim):
    """Every network improves on the stroke that it was given.

    Statistic: each network's paired difference from the unchanged stroke on held-out pictures. The
    network that gains least decides.
    """

    metric: Metric

    def judge(self, evidence: Evidence) -> Result:
        gains = [
            estimates.paired_difference(evidence.held_out, [(network, "identity")], self.metric)
            for network in evidence.evaluated
        ]
        least = least_favourable(gains, self.sign)
        tolerance = evidence.tolerance(self.metric)
        verdict: str = estimates.verdict(least, self.sign, tolerance=tolerance)
        if verdict == Verdict.HOLDS and len(gains) < len(config.THE_EIGHT):
            verdict += f", for the {len(gains)} run"
        return Result(
            f"{LABELS[self.metric]} less that of the stroke unchanged, of the network that gains "
            f"least: interval {self.bound(evidence, least, self.metric)}",
            ours=interval_text(least, self.metric),
            verdict=verdict,
            source=_rows_of(evidence, least),
            numbers=_numbers(ours=least),
        )


class PairsClaim(IntervalClaim):
    """A claim about each of several pairs of networks; the least favourable pair decides."""

    metric: str
    pairs: Pairs
    caveat: str = ""
    """Another way in which the networks of a pair differ."""

    def words(self, measure: str, bound: str) -> str:
        """The test in words: what is measured, the pairs, and where each interval must lie."""
        pairs = ", ".join(f"{a} − {b}" for a, b in self.pairs)
        caveat = f" ({self.caveat})" if self.caveat else ""
        each = "each " if len(self.pairs) > 1 else ""
        return f"{measure}, {pairs}{caveat}: {each}interval {bound}"

    def pairs_run(self, evidence: Evidence) -> list[Pair]:
        """The pairs in which both networks have rows."""
        return [pair for pair in self.pairs if {*pair} <= {*evidence.evaluated}]

    def in_logs(
        self, logs: pd.DataFrame, pairs: Sequence[Pair], epochs: Epochs = "all"
    ) -> list[Estimate | None]:
        """Each pair's difference at equal epochs of training logs."""
        column = LOG_COLUMNS[self.metric]
        return [estimates.equal_epochs_difference(logs, p, column, epochs) for p in pairs]

    def in_table1(self, evidence: Evidence, estimate: Estimate | None) -> float:
        """The difference in Table 1 of an estimate's pair, or the least favourable one if None."""
        table = evidence.printed["table1"]
        printed = {
            f"{a} − {b}": float(table[a][self.metric] - table[b][self.metric])
            for a, b in self.pairs
        }
        if estimate is not None:
            return printed[estimate.of]
        return min(printed.values(), key=lambda value: self.sign * value)


class PairedDifference(PairsClaim):
    """The first network of each pair differs from the second in the claimed direction.

    Statistic: :func:`estimates.paired_difference` on held-out pictures. The row also shows the
    difference at equal epochs of the authors' training logs, which has its own least favourable
    pair. Each is compared with the difference that Table 1 prints for its pair.
    """

    metric: Metric

    def judge(self, evidence: Evidence) -> Result:
        run = self.pairs_run(evidence)
        differences = [
            estimates.paired_difference(evidence.held_out, [pair], self.metric) for pair in run
        ]
        ours = least_favourable(differences, self.sign)
        printed = self.in_table1(evidence, ours)
        # On pictures smaller than the paper's, only the IoU is comparable with the printed one.
        comparable = self.metric == "iou" or evidence.profile.scale == 1
        verdict = estimates.verdict(
            ours,
            self.sign,
            printed=printed if comparable else math.nan,
            tolerance=evidence.tolerance(self.metric),
        )
        source = _rows_of(evidence, ours) + _kept_epoch(evidence, ours)
        if 0 < len(run) < len(self.pairs):
            source += f"; {len(run)} of {len(self.pairs)} pairs run"
            # One pair can refute a claim about all pairs, but only all of them can confirm it.
            if verdict == Verdict.HOLDS:
                verdict = Verdict.OPEN

        theirs = least_favourable(self.in_logs(evidence.authors, self.pairs), self.sign)
        logs, logs_verdict = interval_text(theirs, self.metric), "–"
        if theirs is not None:
            print_of_theirs = self.in_table1(evidence, theirs)
            logs_verdict = SEEN[estimates.verdict(theirs, self.sign, printed=print_of_theirs)]
            if len(self.pairs) > 1:
                logs += f": {theirs.of}, printed {number(print_of_theirs, self.metric, '+')}"
        return Result(
            test=self.words(LABELS[self.metric], self.bound(evidence, ours, self.metric)),
            ours=interval_text(ours, self.metric) + _all_means(differences, self.metric),
            verdict=verdict,
            source=source,
            printed=number(printed, self.metric, "+"),
            logs=logs,
            logs_verdict=logs_verdict,
            numbers=_numbers(printed, ours=ours, logs=theirs),
        )


class EqualEpochs(PairsClaim):
    """The networks of each pair differ in the claimed direction at equal epochs of our trainings.

    Statistic: :func:`estimates.equal_epochs_difference` of each network's first seed, in
    validation IoU or loss. The loss gets no verdict: the paper prints none, and it has no
    tolerance, so one training of each network decides nothing. The authors' logs are shown beside
    ours instead.
    """

    metric: Literal["iou", "loss"]
    epochs: Epochs = "all"

    def judge(self, evidence: Evidence) -> Result:
        differences = self.in_logs(evidence.own_logs(), self.pairs_run(evidence), self.epochs)
        ours = least_favourable(differences, self.sign)
        ours_text = interval_text(ours, self.metric) + _all_means(differences, self.metric)
        source = f"training logs of one seed each: {ours.of}" if ours else "no such pair of logs"
        part = "" if self.epochs == "all" else f"the {self.epochs} of "
        over = f"over {part}the epochs that both have"
        if self.metric == "iou":
            printed, tolerance = self.in_table1(evidence, ours), evidence.tolerance("iou")
            return Result(
                test=self.words(f"validation IoU {over}", self.bound(evidence, ours, "iou")),
                ours=ours_text,
                verdict=estimates.verdict(ours, self.sign, printed=printed, tolerance=tolerance),
                source=source,
                printed=number(printed, "iou", "+"),
                numbers=_numbers(printed, ours=ours),
            )
        theirs = least_favourable(
            self.in_logs(evidence.authors, self.pairs, self.epochs), self.sign
        )
        undecided = f"{self.interval}; one training of each network decides nothing"
        return Result(
            test=self.words(f"validation loss {over}", undecided),
            ours=ours_text,
            source=source,
            logs=interval_text(theirs, self.metric) + (f": {theirs.of}" if theirs else ""),
            logs_verdict=SEEN[estimates.verdict(theirs, self.sign)] if theirs else "–",
            numbers=_numbers(ours=ours, logs=theirs),
        )


class NonInferiority(Claim):
    """Some networks are worse than the best other network by at most a margin of IoU.

    Statistic: the paired difference on held-out pictures between these networks, averaged, and
    that other network which is best on validation. Its interval must lie above -margin, and all
    eight networks must have three seeds.
    """

    networks: Annotated[list[Network], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0)]

    def judge(self, evidence: Evidence) -> Result:
        validation = evidence.results[evidence.results["split"] == evidence.splits[0]]
        means = validation.groupby("method")["iou"].mean()
        rivals = [name for name in evidence.evaluated if name not in self.networks]
        best = max(rivals, key=lambda name: means[name], default=None)
        pairs = [(name, best) for name in self.networks if best and name in evidence.evaluated]
        ours = estimates.paired_difference(evidence.held_out, pairs, "iou")

        verdict = Verdict.OPEN
        all_run = len(evidence.evaluated) == len(config.THE_EIGHT)
        if ours is not None and ours.seeds >= ENOUGH_SEEDS and all_run:
            shifted = replace(ours, low=ours.low + self.margin, high=ours.high + self.margin)
            verdict = estimates.verdict(shifted, 1)

        table = evidence.printed["table1"]
        best_printed = max(row["iou"] for name, row in table.items() if name not in self.networks)
        printed = float(np.mean([table[name]["iou"] - best_printed for name in self.networks]))
        return Result(
            f"IoU, mean of {' and '.join(self.networks)} − the best of the others on "
            f"{evidence.splits[0]}, from three seeds of all eight: interval above −{self.margin:g}",
            ours=interval_text(ours, "iou"),
            verdict=verdict,
            source=_rows_of(evidence, ours),
            printed=number(printed, "iou", "+"),
            numbers=_numbers(printed, ours=ours),
        )


class RankCorrelation(IntervalClaim):
    """A quality of the predictions rises, or falls, with a property of the pictures.

    Statistic: :func:`estimates.rank_correlation` over held-out pictures, averaged over all networks
    (:meth:`Evidence.per_picture`). The row also shows the mean quality in the lowest and in the
    highest third of the property.
    """

    variable: Literal["iou", "precision", "recovered"]
    condition: Literal["stroke", "clutter", "size"]
    given: Literal["stroke"] | None = None
    """If given, the correlation is partial: at equal stroke IoU."""

    def judge(self, evidence: Evidence) -> Result:
        variable, condition = PICTURE_LABELS[self.variable], PICTURE_LABELS[self.condition]
        partial = ", at equal strokes (partial)" if self.given else ""
        words = f"rank correlation of {variable} with {condition}{partial}: "
        words += f"interval {self.interval}"
        pictures = evidence.per_picture()
        ours = estimates.rank_correlation(pictures, self.variable, self.condition, self.given)
        if ours is None:
            missing = "no rows of networks with these pictures' measurements"
            return Result(words, source=missing)
        ranked = pictures.dropna(subset=[self.condition, self.variable])
        ranked = ranked.sort_values(self.condition, kind="stable")
        third = len(ranked) // 3
        low, high = (part[self.variable].mean() for part in (ranked[:third], ranked[-third:]))
        return Result(
            words,
            ours=f"{interval_text(ours, 'iou')}. Mean {variable} in the third of the pictures with "
            f"the lowest {condition}: {low:.3f}, with the highest: {high:.3f}",
            verdict=estimates.verdict(ours, self.sign),
            source=f"{evidence.splits[-1]} rows, mean of {len(evidence.evaluated)} models",
            numbers=_numbers(ours=ours),
        )


PICTURE_LABELS = {
    "iou": "IoU",
    "precision": "precision",
    "recovered": "recovered share of the missing IoU",
    "stroke": "stroke IoU",
    "clutter": "gradient round the object",
    "size": "object size",
}
"""Column of :meth:`Evidence.per_picture` → its words in the table."""


class Latency(Claim):
    """A network answers within a given time, 95 times in 100.

    Statistic: the 95th percentile of its processor time on a picture of 640x480, as
    ``benchmarks/bench_latency.py`` measured it.
    """

    network: Network
    seconds: Annotated[float, Field(gt=0)]

    def judge(self, evidence: Evidence) -> Result:
        words = f"95th percentile of the processor time of {self.network} at 640x480: within "
        words += f"{self.seconds:g} s"
        if not evidence.latency:
            return Result(words, source="benchmarks/bench_latency.py was not run")
        networks = evidence.latency["models"]
        median, p95 = networks[self.network]["median"], networks[self.network]["p95"]
        slowest = max(networks, key=lambda name: networks[name]["median"])
        verdict = Verdict.HOLDS if p95 <= self.seconds else Verdict.FAILS
        return Result(
            words,
            ours=f"median {median:.3f} s, 95 % within {p95:.3f} s; the slowest, {slowest}: "
            f"median {networks[slowest]['median']:.3f} s",
            verdict=f"{verdict} on {evidence.latency['device']}",
            source="benchmarks/results/latency.json",
            numbers={"ours_mean": median, "ours_high": p95},
        )


class GainInEachCategory(Claim):
    """The networks improve on the stroke in each supercategory of COCO with enough pictures.

    Statistic: the IoU, averaged over the networks, less that of the stroke, averaged over held-out
    pictures (:func:`reproduction.listings.categories`). All intervals must lie above 0; the row
    shows the one that reaches lowest.
    """

    def judge(self, evidence: Evidence) -> Result:
        words = f"IoU minus the stroke's in each supercategory of {MIN_PICTURES} pictures or more: "
        words += "all intervals above 0"
        if not evidence.evaluated:
            return Result(words)
        found = categories(evidence.held_out, evidence.evaluated)
        judged = found[found["n"] >= MIN_PICTURES]
        if judged.empty:
            return Result(words, source="no category with so many pictures")
        above, below = (judged["low"] > 0).sum(), (judged["high"] < 0).sum()
        verdict = Verdict.FAILS if below else Verdict.OPEN
        if above == len(judged):
            verdict = Verdict.HOLDS
        row = judged.iloc[int(judged["low"].argmin())]
        lowest = Estimate(row["difference"], row["low"], row["high"], int(row["n"]))
        return Result(
            words,
            ours=f"above 0 in {above} of {len(judged)}; the interval that reaches lowest: "
            f"{row['supercategory']} {interval_text(lowest, 'iou')}",
            verdict=f"{verdict}, in the {len(judged)} of {len(found)} supercategories with enough "
            "pictures, all trained on",
            source=f"{evidence.splits[-1]} rows of {len(evidence.evaluated)} models, "
            f"{judged['n'].sum()} pictures; the other supercategories have too few",
            numbers=_numbers(ours=lowest),
        )


TESTS: dict[str, type[Claim]] = {
    "gain_over_stroke": GainOverStroke,
    "paired_difference": PairedDifference,
    "equal_epochs": EqualEpochs,
    "non_inferiority": NonInferiority,
    "rank_correlation": RankCorrelation,
    "latency": Latency,
    "gain_in_each_category": GainInEachCategory,
}

SEEN = {
    Verdict.HOLDS: "yes",
    Verdict.FAILS: "no, the opposite",
    Verdict.SMALLER: f"no, {Verdict.SMALLER}",
    Verdict.OPEN: str(Verdict.OPEN),
}
"""The words for a verdict on the authors' logs. One training of each network cannot show that a
claim holds in general, so they only say whether the difference was seen."""


def _all_means(differences: Sequence[Estimate | None], metric: str) -> str:
    """The means of all pairs as the end of a cell; empty for a single pair."""
    means = [number(each.mean, metric, "+") for each in differences if each is not None]
    return f"; all pairs: {', '.join(means)}" if len(means) > 1 else ""


def _rows_of(evidence: Evidence, estimate: Estimate | None) -> str:
    if estimate is None:
        return "no rows: these were not run"
    return f"{evidence.splits[-1]} rows: {estimate.of}"


def _kept_epoch(evidence: Evidence, estimate: Estimate | None) -> str:
    """A note if all runs of both networks kept the same epoch, so that even this comparison is at
    equal epochs; else empty."""
    if estimate is None:
        return ""
    runs = [evidence.logs.get(name, []) for name in estimate.of.split(" − ")]
    epochs = {run.best_epoch for of_model in runs for run in of_model}
    return f"; both kept epoch {epochs.pop()}" if all(runs) and len(epochs) == 1 else ""
