"""The table of ablations: networks that depart from a network of the paper in some setting.

An ablation shows whether a choice of the paper, or of its released code, matters. Each network is
compared with the one it departs from on held-out pictures; the column of differences is read from
their configurations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from nseg_lib import config
from nseg_lib.evaluation.metrics import DISTANCES, LABELS
from nseg_lib.evaluation.tables import number
from reproduction import estimates
from reproduction.artefacts import Table, grouped
from reproduction.estimates import Pair, Verdict, interval_text, verdict
from reproduction.evidence import Evidence
from reproduction.table1 import NOT_RUN
from reproduction.words import notes

PAIRS: tuple[Pair, ...] = (
    ("blockres16-128_bce-dice-bound", "tiny16-128_bce-dice-bound"),
    ("blockres16-128_bce-dice-bound", "res16-128_bce-dice-bound"),
    ("tiny16-128_bce-dice-rgb", "tiny16-128_bce-dice"),
    ("tiny16-128_bce-dice-kervadec", "tiny16-128_bce-dice-bound"),
    ("tiny16-128_bce-dice-frozen", "tiny16-128_bce-dice"),
    ("res16-128_bce-dice-bound-bf16", "res16-128_bce-dice-bound"),
)
"""Each ablation, and the network of the paper that it is compared with."""

METRICS = ("iou", "boundary_iou_1px", "hausdorff_region")
"""The metrics by which an ablation is judged."""

VERDICTS = {Verdict.HOLDS: "better", Verdict.FAILS: "worse"}
"""The words of this table for a verdict on the claim that the ablation is better; others stay."""


def ablations_table(evidence: Evidence) -> Table:
    """Make the table: identity, then for each pair what differs, both means and the differences."""
    held_out = evidence.held_out
    means = held_out.groupby("method")["iou"].mean()
    split = {"val": "validation", "test": "test"}[evidence.splits[-1]]
    rows, numbers = [], []
    for network, base in (("identity", "–"), *PAIRS):
        # Of the other, the same seeds count as in the difference.
        seeds = held_out[held_out["method"] == network]["seed"]
        others = held_out[(held_out["method"] == base) & held_out["seed"].isin(seeds)]
        row = {
            ("", "method"): network,
            ("", "compared with"): base,
            ("", "what differs"): "–",
            (f"IoU, {split}", "its own"): number(means.get(network, math.nan), "iou"),
            (f"IoU, {split}", "of the other"): number(others["iou"].mean(), "iou"),
        }
        values: dict[str, str | float] = {"method": network, "compared_with": base}
        for metric in METRICS:
            text, judged = "–", "–"
            if network != "identity":
                row["", "what differs"] = "; ".join(changed_settings(network, base))
                found = estimates.paired_difference(
                    evidence.held_out, [(network, base)], metric, evidence.scatter(metric)
                )
                sign = -1 if metric in DISTANCES else 1
                said = verdict(found, sign, margin=evidence.margin(metric))
                text = interval_text(found, metric)
                judged = NOT_RUN if found is None else VERDICTS.get(said, str(said))
                if found is not None:
                    values[metric] = found.mean
                    values |= {f"{metric}_low": found.low, f"{metric}_high": found.high}
            row[LABELS[metric], "difference [95 %]"] = text
            row[LABELS[metric], "verdict"] = judged
        rows.append(row)
        numbers.append(values)
    columns = ["method", "compared_with"]
    columns += [f"{metric}{part}" for metric in METRICS for part in ("", "_low", "_high")]
    frame = pd.DataFrame(numbers[1:], columns=columns).round(6)  # identity has no difference
    return Table("Ablations.", grouped(rows), frame, notes("ablations"))


def changed_settings(ablation: str, base: str) -> Iterator[str]:
    """The settings in which an ablation differs, such as ``inputs: rgb, not gray_sobel``."""
    configs = [config.load(name).model_dump() for name in (ablation, base)]
    own, other = pd.json_normalize(configs).to_dict("records")
    for key, value in own.items():
        if key != "name" and value != other[key]:
            yield f"{str(key).rpartition('.')[2]}: {value}, not {other[key]}"
