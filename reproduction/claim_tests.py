"""The tests that decide a claim about networks: one class for each kind of test.

The fields of a class are those of a record in ``reports/claims.yml``. Its docstring defines the
statistic, and ``judge`` makes one row of the table of claims. Claims about kinds of picture and
about speed have their tests in :mod:`reproduction.picture_tests`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from nseg_lib import config
from nseg_lib.config import Strict
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.evaluation.tables import number
from reproduction import estimates
from reproduction.estimates import Epochs, Estimate, Pair, least_favourable
from reproduction.evidence import Evidence
from reproduction.paper import LOG_COLUMNS
from reproduction.verdicts import SEEN, Verdict, verdict


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
    """What the test of one claim found."""

    test: str
    """The test in words."""
    verdict: str = Verdict.OPEN
    metric: str = "iou"
    """The metric by which the numbers are rounded."""
    ours: Estimate | None = None
    """The estimate that decides."""
    words: str = ""
    """What is said beside the estimate."""
    p: float = math.nan
    """Its two-sided p-value; NaN if there is no test of 0."""
    source: str = "no rows: these were not run"
    """What the estimate was made from."""
    printed: float = math.nan
    """The same difference in the paper's Table 1."""
    late: Estimate | None = None
    """The same difference over the last five epochs of our training logs, on validation."""
    logs: Estimate | None = None
    """The same difference in the authors' training logs."""
    logs_verdict: str = "–"


class Claim(Strict, ABC):
    """A record of ``reports/claims.yml``, with the fields that all kinds have."""

    id: str
    claim: str
    section: str
    test: str
    role: Literal["primary", "secondary"]

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


class GainOverStroke(IntervalClaim):
    """Every network improves on the stroke that it was given.

    Statistic: each network's paired difference from the unchanged stroke on held-out pictures. The
    network that gains least decides.
    """

    metric: Metric

    def judge(self, evidence: Evidence) -> Result:
        trainings = evidence.scatter(self.metric, shared=False)
        gains = [
            estimates.paired_difference(
                evidence.held_out, [(network, "identity")], self.metric, trainings
            )
            for network in evidence.evaluated
        ]
        ours = least_favourable(gains, self.sign)
        found: str = verdict(ours, self.sign, margin=evidence.margin(self.metric))
        if found == Verdict.HOLDS and len(gains) < len(config.THE_EIGHT):
            found += f", for the {len(gains)} run"
        return Result(
            f"{LABELS[self.metric]} less that of the stroke unchanged, of the network that gains "
            f"least: interval {self.interval}",
            found,
            self.metric,
            ours,
            p=p_value(ours, self.sign, len(gains)),
            source=rows_of(evidence, ours),
        )


class PairsClaim(IntervalClaim):
    """A claim about each of several pairs of networks; the least favourable pair decides."""

    metric: str
    pairs: Pairs
    caveat: str = ""
    """Another way in which the networks of a pair differ."""

    def words(self, measure: str) -> str:
        """The test in words: what is measured, the pairs, and where each interval must lie."""
        pairs = ", ".join(f"{a} − {b}" for a, b in self.pairs)
        caveat = f" ({self.caveat})" if self.caveat else ""
        each = "each " if len(self.pairs) > 1 else ""
        return f"{measure}, {pairs}{caveat}: {each}interval {self.interval}"

    def pairs_run(self, evidence: Evidence) -> list[Pair]:
        """The pairs in which both networks have rows."""
        return [pair for pair in self.pairs if {*pair} <= {*evidence.evaluated}]

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

    Statistic: :func:`estimates.paired_difference` on held-out pictures, at the epochs that
    validation chose. Beside it stands the difference over the last five epochs of the training
    logs (:func:`estimates.epochs_difference`): ours on validation pictures, in which nothing is
    chosen, and the authors'. Each has its own least favourable pair, and is compared with the
    difference that Table 1 prints for it.
    """

    metric: Metric

    def judge(self, evidence: Evidence) -> Result:
        run, trainings = self.pairs_run(evidence), evidence.scatter(self.metric)
        differences = [
            estimates.paired_difference(evidence.held_out, [pair], self.metric, trainings)
            for pair in run
        ]
        ours = least_favourable(differences, self.sign)
        printed = self.in_table1(evidence, ours)
        # On pictures smaller than the paper's, only the IoU is comparable with the printed one.
        comparable = self.metric == "iou" or evidence.profile.scale == 1
        margin = evidence.margin(self.metric)
        found = verdict(ours, self.sign, margin=margin, printed=printed if comparable else math.nan)
        source = rows_of(evidence, ours) + all_means(differences, self.metric)
        if 0 < len(run) < len(self.pairs):
            source += f"; {len(run)} of {len(self.pairs)} pairs run"
            # One pair can refute a claim about all pairs, but only all of them can confirm it.
            if found == Verdict.HOLDS:
                found = Verdict.OPEN

        column = LOG_COLUMNS[self.metric]
        late = least_favourable(
            (estimates.epochs_difference(evidence.own_logs, p, column) for p in run), self.sign
        )
        theirs = least_favourable(
            (estimates.epochs_difference(evidence.authors, p, column) for p in self.pairs),
            self.sign,
        )
        seen = "–"
        if theirs is not None:
            print_of_theirs = self.in_table1(evidence, theirs)
            full_size = margin / evidence.distance_scale(self.metric)
            seen = SEEN[verdict(theirs, self.sign, margin=full_size, printed=print_of_theirs)]
            if len(self.pairs) > 1:
                source += f"; authors' logs: {theirs.of}, "
                source += f"printed {number(print_of_theirs, self.metric, '+')}"
        return Result(
            self.words(LABELS[self.metric]),
            found,
            self.metric,
            ours,
            p=p_value(ours, self.sign, len(run)),
            source=source,
            printed=printed,
            late=late,
            logs=theirs,
            logs_verdict=seen,
        )


class EqualEpochs(PairsClaim):
    """The networks of each pair differ in the claimed direction at equal epochs of our trainings.

    Statistic: :func:`estimates.epochs_difference` in validation loss. The authors' logs are shown
    beside ours. The paper prints no loss, and there is no margin for it.
    """

    metric: Literal["loss"]
    epochs: Epochs

    def judge(self, evidence: Evidence) -> Result:
        column, run = LOG_COLUMNS[self.metric], self.pairs_run(evidence)
        own, authors = (
            [estimates.epochs_difference(logs, pair, column, self.epochs) for pair in pairs]
            for logs, pairs in ((evidence.own_logs, run), (evidence.authors, self.pairs))
        )
        ours, theirs = (least_favourable(found, self.sign) for found in (own, authors))
        return Result(
            self.words(f"validation loss over the {self.epochs} of the epochs that both have"),
            verdict(ours, self.sign),
            self.metric,
            ours,
            p=p_value(ours, self.sign, len(run)),
            source=f"training logs: {ours.of}, {ours.sample()}" + all_means(own, self.metric)
            if ours
            else "no such pair of logs",
            logs=theirs,
            logs_verdict=SEEN[verdict(theirs, self.sign)] if theirs else "–",
        )


class NonInferiority(Claim):
    """Some networks are worse than the best other network by at most a margin of IoU.

    Statistic: the paired difference on held-out pictures between these networks, averaged, and
    that other network which is best on validation. Its interval must lie above -margin, and all
    eight networks must have rows.
    """

    networks: Annotated[list[Network], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0)]

    def judge(self, evidence: Evidence) -> Result:
        validation = evidence.results[evidence.results["split"] == evidence.splits[0]]
        means = validation.groupby("method")["iou"].mean()
        rivals = [name for name in evidence.evaluated if name not in self.networks]
        best = max(rivals, key=lambda name: means[name], default=None)
        pairs = [(name, best) for name in self.networks if best and name in evidence.evaluated]
        ours = estimates.paired_difference(evidence.held_out, pairs, "iou", evidence.scatter("iou"))

        # "Worse by at most the margin" is "above 0" once the margin is added.
        found, p = Verdict.OPEN, math.nan
        if ours is not None and len(evidence.evaluated) == len(config.THE_EIGHT):
            mean, low, high = (value + self.margin for value in (ours.mean, ours.low, ours.high))
            shifted = replace(ours, mean=mean, low=low, high=high)
            found, p = verdict(shifted, 1), shifted.p

        table = evidence.printed["table1"]
        best_printed = max(row["iou"] for name, row in table.items() if name not in self.networks)
        return Result(
            f"IoU, mean of {' and '.join(self.networks)} − the best of the others on "
            f"{evidence.splits[0]}, all eight run: interval above −{self.margin:g}",
            found,
            ours=ours,
            p=p,
            source=rows_of(evidence, ours),
            printed=float(np.mean([table[name]["iou"] - best_printed for name in self.networks])),
        )


def p_value(estimate: Estimate | None, sign: int, pairs: int) -> float:
    """The p-value of a claim about each of several pairs, from its least favourable estimate.

    All pairs must confirm the claim, so the least favourable one decides at its own p-value. Any of
    them can refute it, so against the claim the p-value is multiplied by their number (Bonferroni).
    """
    if estimate is None:
        return math.nan
    return estimate.p if sign * estimate.mean > 0 else min(1.0, pairs * estimate.p)


def all_means(differences: Sequence[Estimate | None], metric: str) -> str:
    """The means of all pairs as the end of a cell; empty for a single pair."""
    means = [number(each.mean, metric, "+") for each in differences if each is not None]
    return f"; all pairs: {', '.join(means)}" if len(means) > 1 else ""


def rows_of(evidence: Evidence, estimate: Estimate | None) -> str:
    """The rows that an estimate was made from, in words."""
    if estimate is None:
        return "no rows: these were not run"
    return f"{evidence.splits[-1]} rows: {estimate.of}, {estimate.sample()}"
