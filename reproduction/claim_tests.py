"""The tests that decide a claim: one class for each kind of test.

The fields of a class are those of a record in ``reports/claims.yml``. Its docstring defines the
statistic, and ``judge`` makes one row of the table of claims.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nseg_lib import config
from nseg_lib.config import Strict
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.evaluation.tables import number
from reproduction import estimates
from reproduction.estimates import (
    Epochs,
    Estimate,
    Pair,
    Verdict,
    least_favourable,
    p_value,
    verdict,
    verdict_of_pairs,
)  # fmt: skip
from reproduction.evidence import Evidence
from reproduction.listings import MIN_PICTURES, categories
from reproduction.paper import LOG_COLUMNS
from reproduction.profiles import ModelName

SEEN = {verdict: str(verdict) for verdict in Verdict} | {
    Verdict.HOLDS: "yes",
    Verdict.SMALLER: f"no, {Verdict.SMALLER}",
    Verdict.FAILS: "no, the opposite",
}
"""The words for a verdict on the authors' logs. One training of each network cannot show that a
claim holds in general, so they only say whether the difference was seen."""

PICTURE_LABELS = {
    "iou": "IoU",
    "precision": "precision",
    "recovered": "recovered share of the missing IoU",
    "stroke": "stroke IoU",
    "clutter": "gradient round the object",
    "size": "object size",
}
"""Column of :meth:`Evidence.per_picture` → its words in the table."""


NetworkPair = Annotated[tuple[ModelName, ModelName], Field(strict=False)]
Pairs = Annotated[list[NetworkPair], Field(min_length=1)]
Estimates = list[Estimate | None]
Metric = Literal["iou", "boundary_iou_1px", "pixel_accuracy", "hausdorff_region"]


@dataclass(frozen=True)
class Result:
    """What the test of one claim found."""

    test: str
    """What is tested, in words."""
    asked: str
    """What must hold of it, in words, such as "interval above 0"."""
    verdict: Verdict = Verdict.OPEN
    remark: str = ""
    """What restricts the verdict."""
    metric: str = "iou"
    """Of the evaluation or the training logs, or ``correlation``."""
    ours: Estimate | None = None
    """The estimate that decides."""
    words: str = ""
    """What is said in its place."""
    p: float = math.nan
    """Its two-sided p-value; NaN if there is no test of 0."""
    source: str = "no rows: these were not run"
    """What it was made from."""
    printed: float = math.nan
    """The same difference in the paper's Table 1."""
    late: Estimate | None = None
    """The same over the last five epochs of our training logs, on validation."""
    logs: Estimate | None = None
    """The same in the authors' training logs."""
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
        pairs = [(network, "identity") for network in evidence.evaluated]
        gains = paired_differences(evidence, pairs, self.metric, shared=False)
        ours = least_favourable(gains, self.sign)
        found = verdict(ours, self.sign, margin=evidence.margin(self.metric))
        some = found == Verdict.HOLDS and len(gains) < len(config.THE_EIGHT)
        measure = LABELS[self.metric]
        return Result(
            f"{measure} less that of the stroke unchanged, of the network that gains least",
            f"interval {self.interval}", found, f"for the {len(gains)} run" if some else "",
            self.metric, ours, p=p_value(ours, self.sign, len(gains)),
            source=rows_of(evidence, ours),
        )  # fmt: skip


class PairsClaim(IntervalClaim):
    """A claim about each of several pairs of networks; the least favourable pair decides."""

    metric: str
    pairs: Pairs
    caveat: str = ""
    """Another way in which the networks of a pair differ."""

    def words(self, measure: str) -> tuple[str, str]:
        """``test`` and ``asked`` of the result."""
        pairs = ", ".join(f"{a} − {b}" for a, b in self.pairs)
        caveat = f" ({self.caveat})" if self.caveat else ""
        each = "each " if len(self.pairs) > 1 else ""
        return f"{measure}, {pairs}{caveat}", f"{each}interval {self.interval}"

    def pairs_run(self, evidence: Evidence) -> list[Pair]:
        """The pairs in which both networks have rows."""
        return [pair for pair in self.pairs if {*pair} <= {*evidence.evaluated}]

    def in_logs(self, evidence: Evidence, epochs: Epochs) -> tuple[Estimates, Estimates]:
        """The differences of the pairs in our own training logs, and in the authors'."""
        column = LOG_COLUMNS[self.metric]
        both = (evidence.own_logs, self.pairs_run(evidence)), (evidence.authors, self.pairs)
        own, theirs = (
            [estimates.epochs_difference(logs, pair, column, epochs) for pair in pairs]
            for logs, pairs in both
        )
        return own, theirs

    def in_table1(self, evidence: Evidence, estimate: Estimate | None) -> float:
        """The difference in Table 1 of an estimate's pair, or the least favourable one if None."""
        table = {name: row[self.metric] for name, row in evidence.printed["table1"].items()}
        printed = {f"{a} − {b}": float(table[a] - table[b]) for a, b in self.pairs}
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
        run = self.pairs_run(evidence)
        differences = paired_differences(evidence, run, self.metric)
        ours = least_favourable(differences, self.sign)
        printed = self.in_table1(evidence, ours)
        # On pictures smaller than the paper's, only the IoU is comparable with the printed one.
        comparable = self.metric == "iou" or evidence.profile.scale == 1
        margin = evidence.margin(self.metric)
        found = verdict_of_pairs(
            differences, self.sign, margin=margin, printed=printed if comparable else math.nan
        )
        source = rows_of(evidence, ours) + all_means(differences, self.metric)
        if 0 < len(run) < len(self.pairs):
            source += f"; {len(run)} of {len(self.pairs)} pairs run"
            # One pair can refute a claim about all pairs, but only all of them can confirm it.
            if found == Verdict.HOLDS:
                found = Verdict.OPEN

        own_logs, authors_logs = self.in_logs(evidence, "last five")
        late, theirs = (least_favourable(logs, self.sign) for logs in (own_logs, authors_logs))
        seen = "–"
        if theirs is not None:
            print_of_theirs = self.in_table1(evidence, theirs)
            full_size = margin / evidence.distance_scale(self.metric)
            judged = verdict_of_pairs(
                authors_logs, self.sign, margin=full_size, printed=print_of_theirs
            )
            seen = SEEN[judged]
            if len(self.pairs) > 1:
                source += f"; authors' logs: {theirs.of}, "
                source += f"printed {number(print_of_theirs, self.metric, '+')}"
        p = p_value(ours, self.sign, len(run))
        return Result(
            *self.words(LABELS[self.metric]), found, metric=self.metric, ours=ours, p=p,
            source=source, printed=printed, late=late, logs=theirs, logs_verdict=seen,
        )  # fmt: skip


class EqualEpochs(PairsClaim):
    """The networks of each pair differ in the claimed direction at equal epochs of our trainings.

    Statistic: :func:`estimates.epochs_difference` in validation loss. The authors' logs are shown
    beside ours. The paper prints no loss, and there is no margin for it.
    """

    metric: Literal["loss"]
    epochs: Epochs

    def judge(self, evidence: Evidence) -> Result:
        own, authors = self.in_logs(evidence, self.epochs)
        ours, theirs = (least_favourable(found, self.sign) for found in (own, authors))
        source = "no such pair of logs"
        if ours:
            source = f"training logs: {ours.of}, {ours.sample()}" + all_means(own, self.metric)
        return Result(
            *self.words(f"validation loss over the {self.epochs} of the epochs that both have"),
            verdict(ours, self.sign), metric=self.metric, ours=ours,
            p=p_value(ours, self.sign, len(own)), source=source, logs=theirs,
            logs_verdict=SEEN[verdict(theirs, self.sign)] if theirs else "–",
        )  # fmt: skip


class NonInferiority(Claim):
    """Some networks are worse than the best other network by at most a margin of IoU.

    Statistic: the paired difference on held-out pictures between these networks, averaged, and
    that other network which is best on validation. Its interval must lie above -margin, and all
    eight networks must have rows.
    """

    networks: Annotated[list[ModelName], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0)]

    def judge(self, evidence: Evidence) -> Result:
        validation = evidence.results[evidence.results["split"] == evidence.splits[0]]
        means = validation.groupby("method")["iou"].mean()
        rivals = [name for name in evidence.evaluated if name not in self.networks]
        best = max(rivals, key=lambda name: means[name], default=None)
        pairs = [(name, best) for name in self.networks if best and name in evidence.evaluated]
        trainings = evidence.scatter("iou")
        ours = estimates.paired_difference(evidence.held_out, pairs, "iou", trainings)

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
            f"{evidence.splits[0]}, all eight run",
            f"interval above −{self.margin:g}", found, ours=ours, p=p,
            source=rows_of(evidence, ours),
            printed=float(np.mean([table[name]["iou"] - best_printed for name in self.networks])),
        )  # fmt: skip


class RankCorrelation(IntervalClaim):
    """A quality of the predictions rises, or falls, with a property of the pictures.

    Statistic: :func:`estimates.rank_correlation` over held-out pictures, averaged over all networks
    (:meth:`Evidence.per_picture`).
    """

    variable: Literal["iou", "precision", "recovered"]
    condition: Literal["stroke", "clutter", "size"]
    given: Literal["stroke"] | None = None
    """If given, the correlation is partial: at equal stroke IoU."""

    def judge(self, evidence: Evidence) -> Result:
        variable, condition = PICTURE_LABELS[self.variable], PICTURE_LABELS[self.condition]
        partial = ", at equal strokes (partial)" if self.given else ""
        words = f"rank correlation of {variable} with {condition}{partial}"
        asked = f"interval {self.interval}"
        pictures = evidence.per_picture.dropna(subset=[self.condition, self.variable])
        ours = estimates.rank_correlation(pictures, self.variable, self.condition, self.given)
        if ours is None:
            source = "no rows of networks with these pictures' measurements"
            return Result(words, asked, source=source)
        ranked = pictures.sort_values(self.condition, kind="stable")
        third = len(ranked) // 3
        low, high = (part[self.variable].mean() for part in (ranked[:third], ranked[-third:]))
        return Result(
            words, asked, verdict(ours, self.sign), metric="correlation", ours=ours, p=ours.p,
            source=f"{evidence.splits[-1]} rows, mean of {len(evidence.evaluated)} models, "
            f"{ours.sample()}. Mean {variable} in the third of the pictures with the lowest "
            f"{condition}: {low:.3f}, with the highest: {high:.3f}",
        )  # fmt: skip


class Latency(Claim):
    """A network answers within a given time, 95 times in 100, on a GPU, which the paper had.

    ``benchmarks/bench_latency.py`` measured one thread of a processor. This is shown, for this
    network and for the slowest, and decides nothing.
    """

    network: ModelName
    seconds: Annotated[float, Field(gt=0)]

    def judge(self, evidence: Evidence) -> Result:
        words = f"95th percentile of the time of {self.network} at 640x480 on a GPU"
        asked = f"within {self.seconds:g} s"
        if not evidence.latency:
            return Result(words, asked, source="benchmarks/bench_latency.py was not run")
        networks, device = evidence.latency["models"], evidence.latency["device"]
        slowest = max(networks, key=lambda name: networks[name]["median"])
        times = [f"{name} {networks[name]['p95']:.2f} s" for name in (self.network, slowest)]
        return Result(
            words, asked, Verdict.UNTESTED,
            words=f"95 % within, on a processor ({device}): {', '.join(times)}",
            source="benchmarks/results/latency.json",
        )  # fmt: skip


class GainInEachCategory(Claim):
    """The networks improve on the stroke in each supercategory of COCO with enough pictures.

    Statistic: :func:`reproduction.listings.categories` on held-out pictures. All intervals must lie
    above 0; the row shows the one that reaches lowest.
    """

    def judge(self, evidence: Evidence) -> Result:
        words = f"IoU minus the stroke's in each supercategory of {MIN_PICTURES} pictures or more"
        asked = "all intervals above 0"
        if not evidence.evaluated:
            return Result(words, asked)
        found = categories(evidence.held_out, evidence.evaluated)
        judged = found[found["n"] >= MIN_PICTURES]
        if judged.empty:
            return Result(words, asked, source="no category with so many pictures")
        row = judged.iloc[int(judged["low"].argmin())]
        lowest = Estimate(row["difference"], row["low"], row["high"], int(row["n"]))
        return Result(
            words, asked, verdict(lowest, 1),
            f"in the {len(judged)} of {len(found)} supercategories with enough pictures, all "
            "trained on", ours=lowest, p=lowest.p,
            source=f"{evidence.splits[-1]} rows of {len(evidence.evaluated)} models; shown is "
            f"{row['supercategory']}, {lowest.sample()}; above 0 in {(judged['low'] > 0).sum()} of "
            f"{len(judged)}, the other supercategories have too few pictures",
        )  # fmt: skip


def paired_differences(
    evidence: Evidence, pairs: Sequence[Pair], metric: str, *, shared: bool = True
) -> Estimates:
    """The paired difference of each pair on held-out pictures."""
    trainings = evidence.scatter(metric, shared=shared)
    return [
        estimates.paired_difference(evidence.held_out, [pair], metric, trainings) for pair in pairs
    ]


def all_means(differences: Estimates, metric: str) -> str:
    """The means of all pairs as the end of a cell; empty for a single pair."""
    means = [number(each.mean, metric, "+") for each in differences if each is not None]
    return f"; all pairs: {', '.join(means)}" if len(means) > 1 else ""


def rows_of(evidence: Evidence, estimate: Estimate | None) -> str:
    """The rows that an estimate was made from, in words."""
    if estimate is None:
        return "no rows: these were not run"
    return f"{evidence.splits[-1]} rows: {estimate.of}, {estimate.sample()}"
