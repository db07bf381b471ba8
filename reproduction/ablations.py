"""What each ablation changes beside the network it departs from, on the split that chose nothing.

An ablation is no model of the paper: it asks whether a choice of the paper's, or of its released
code, matters. What differs is taken from the two configurations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from nseg_lib import config
from nseg_lib.evaluation.metrics import DISTANCES
from nseg_lib.evaluation.tables import LABELS, number
from reproduction import effects
from reproduction.artefacts import Table, grouped
from reproduction.effects import DOES_NOT, HOLDS, Pair
from reproduction.evidence import Evidence
from reproduction.findings import room, show
from reproduction.table1 import NOT_RUN

PAIRS: tuple[Pair, ...] = (
    ("blockres16-128_bce-dice-bound", "tiny16-128_bce-dice-bound"),
    ("blockres16-128_bce-dice-bound", "res16-128_bce-dice-bound"),
    ("tiny16-128_bce-dice-rgb", "tiny16-128_bce-dice"),
    ("tiny16-128_bce-dice-kervadec", "tiny16-128_bce-dice-bound"),
    ("tiny16-128_bce-dice-frozen", "tiny16-128_bce-dice"),
)
"""An ablation and the network of the paper's that it is compared with."""

METRICS = ("iou", "boundary_iou_1px", "hausdorff_region")
"""What an ablation is judged by."""

_SAID = {HOLDS: "better", DOES_NOT: "worse"}


def ablations_table(e: Evidence) -> Table:
    """A row per pair, identity first: what was changed, both means, and the paired differences."""
    means = e.results[e.results["split"] == e.splits[-1]].groupby("method")["iou"].mean()
    judged = "IoU, " + {"val": "validation", "test": "test"}[e.splits[-1]]
    rows, numbers = [_row(judged, "identity", "–", "–", means)], []
    for pair in PAIRS:
        row = _row(judged, *pair, "; ".join(departures(*pair)), means)
        plain: dict[str, Any] = {"method": pair[0], "compared_with": pair[1]}
        for name in METRICS:
            effect = effects.compare(e, [pair], name)
            sign = -1 if name in DISTANCES else 1
            said = effects.decide(effect, sign, room=room(e, effect, name))
            verdict = NOT_RUN if effect is None else _SAID.get(said, said)
            row |= {(LABELS[name], "difference [95 %]"): show(effect, name)}
            row |= {(LABELS[name], "verdict"): verdict}
            if effect is not None:
                plain |= {name: effect.mean, f"{name}_low": effect.low, f"{name}_high": effect.high}
        rows.append(row)
        numbers.append(plain)
    empty = {(LABELS[name], column): "–" for name in METRICS for column in _COLUMNS}
    columns = ["method", "compared_with", *(f"{n}{end}" for n in METRICS for end in _ENDS)]
    frame = pd.DataFrame(numbers).reindex(columns=columns).round(6)
    return Table("Ablations.", grouped([rows[0] | empty, *rows[1:]]), frame, _NOTES)


_COLUMNS = ("difference [95 %]", "verdict")
_ENDS = ("", "_low", "_high")


def _row(
    judged: str, method: str, base: str, changed: str, means: pd.Series
) -> dict[tuple[str, str], str]:
    return {
        ("", "method"): method,
        ("", "compared with"): base,
        ("", "what differs"): changed,
        (judged, "its own"): number(float(means.get(method, float("nan"))), "iou"),
        (judged, "of the other"): number(float(means.get(base, float("nan"))), "iou"),
    }


def departures(ablation: str, base: str) -> Iterator[str]:
    """What differs, such as ``inputs: rgb, not gray_sobel``."""
    configs = [config.load(name).model_dump() for name in (ablation, base)]
    own, other = pd.json_normalize(configs).to_dict("records")
    for key, value in own.items():
        if key != "name" and value != other[key]:
            yield f"{str(key).rpartition('.')[2]}: {value}, not {other[key]}"


_NOTES = (
    "No models of the paper. blockres has the residual blocks that the paper's text describes; "
    "tiny has no residual; res has what the released code calls one, the stroke added to the "
    "logits. rgb sees red, green and blue with the stroke, not grey and its gradient. Kervadec's "
    "loss (2019) has the weight of the paper's own. redraw: false keeps the strokes of the first "
    "epoch; where no training waits five epochs in vain, the patience plays no part.",
    "Differences are paired over the pictures that chose nothing, with a bootstrap interval. "
    "Better, worse: the interval clears 0, by the tolerance of reports/paper.yml where a network "
    "has fewer than three seeds, which few differences are as large as; all else cannot be told.",
)
