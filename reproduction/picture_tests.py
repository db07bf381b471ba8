"""The tests of claims about kinds of picture and about speed: one class for each kind of test.

They are used as those of :mod:`reproduction.claim_tests`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reproduction import estimates
from reproduction.claim_tests import Claim, IntervalClaim, Network, Result
from reproduction.estimates import Estimate
from reproduction.evidence import Evidence
from reproduction.listings import MIN_PICTURES, categories
from reproduction.verdicts import Verdict, verdict

PICTURE_LABELS = {
    "iou": "IoU",
    "precision": "precision",
    "recovered": "recovered share of the missing IoU",
    "stroke": "stroke IoU",
    "clutter": "gradient round the object",
    "size": "object size",
}
"""Column of :meth:`Evidence.per_picture` → its words in the table."""


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
            return Result(words, source="no rows of networks with these pictures' measurements")
        ranked = pictures.dropna(subset=[self.condition, self.variable])
        ranked = ranked.sort_values(self.condition, kind="stable")
        third = len(ranked) // 3
        low, high = (part[self.variable].mean() for part in (ranked[:third], ranked[-third:]))
        return Result(
            words,
            verdict(ours, self.sign),
            ours=ours,
            p=ours.p,
            source=f"{evidence.splits[-1]} rows, mean of {len(evidence.evaluated)} models, "
            f"{ours.sample()}. Mean {variable} in the third of the pictures with the lowest "
            f"{condition}: {low:.3f}, with the highest: {high:.3f}",
        )


class Latency(Claim):
    """A network answers within a given time, 95 times in 100, on the paper's kind of machine.

    The paper had a GPU. What ``benchmarks/bench_latency.py`` measured is the time on one thread of
    a processor, so it is shown, for this network and for the slowest, and decides nothing.
    """

    network: Network
    seconds: Annotated[float, Field(gt=0)]

    def judge(self, evidence: Evidence) -> Result:
        words = f"95th percentile of the time of {self.network} at 640x480 on a GPU: within "
        words += f"{self.seconds:g} s"
        if not evidence.latency:
            return Result(words, source="benchmarks/bench_latency.py was not run")
        networks, device = evidence.latency["models"], evidence.latency["device"]
        slowest = max(networks, key=lambda name: networks[name]["median"])
        times = [f"{name} {networks[name]['p95']:.2f} s" for name in (self.network, slowest)]
        return Result(
            words,
            Verdict.UNTESTED,
            words=f"95 % within, on a processor ({device}): {', '.join(times)}",
            source="benchmarks/results/latency.json",
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
        row = judged.iloc[int(judged["low"].argmin())]
        lowest = Estimate(row["difference"], row["low"], row["high"], int(row["n"]))
        return Result(
            words,
            f"{verdict(lowest, 1)}, in the {len(judged)} of {len(found)} supercategories with "
            "enough pictures, all trained on",
            ours=lowest,
            p=lowest.p,
            source=f"{evidence.splits[-1]} rows of {len(evidence.evaluated)} models; shown is "
            f"{row['supercategory']}, {lowest.sample()}; above 0 in {(judged['low'] > 0).sum()} of "
            f"{len(judged)}, the other supercategories have too few pictures",
        )
