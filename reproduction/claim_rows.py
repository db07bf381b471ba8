"""The claims as the page shows them: one row per statement of the paper, its details folded.

Everything is read from the report's ``tables/claims.csv``, the results of
:func:`reproduction.claims.judge`. Nothing is judged here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nseg_lib.evaluation.tables import number
from reproduction.claims import how_tested, interval, read_judged
from reproduction.estimates import Verdict
from reproduction.forest import PANELS
from reproduction.forest_rows import Axis, ForestRow, Mark

PLURAL = {
    Verdict.HOLDS: ("holds", "hold"),
    Verdict.FAILS: ("does not hold", "do not hold"),
    Verdict.SMALLER: ("is not as large as printed", "are not as large as printed"),
    Verdict.TOO_SMALL: ("is too small to matter", "are too small to matter"),
    Verdict.NOT_EACH: ("is too small in one pair alone", "are too small in one pair alone"),
    Verdict.OPEN: ("cannot be told", "cannot be told"),
    Verdict.UNTESTED: ("was not tested", "were not tested"),
}
"""Verdict → its words in the line that counts, for one claim and for several."""

REASONS = {
    Verdict.FAILS: "interval on the other side of 0",
    Verdict.SMALLER: "interval leaves out the printed difference",
    Verdict.NOT_EACH: "another pair reaches beyond the margin",
    Verdict.OPEN: "interval on both sides of 0",
    Verdict.UNTESTED: "no GPU was there",
}
"""Verdict → why, in at most eight words, where nothing closer can be said."""


@dataclass(frozen=True)
class Row:
    """One claim: what the paper says, what was found, and how it was tested."""

    claim: str
    section: str
    paper: str
    """The difference that the paper's Table 1 prints; a dash where it prints none. It is counted in
    the direction of the claim, as ``ours`` and the picture are."""
    ours: str
    kind: Verdict
    logs: str
    """The verdict on the authors' logs; a dash where they say nothing."""
    reason: str
    axis: Axis
    picture: ForestRow | None
    """Its marks on the axis, which has 0 in its middle."""
    details: dict[str, str]
    """Heading → text: the test, its p-values and sources."""
    secondary: list[Row]
    """The same statement in other metrics, or asked more sharply."""


def claim_rows(table: Path) -> list[Row]:
    """The rows of a report's ``tables/claims.csv``, a primary claim each."""
    judged = read_judged(table)
    # One scale for all claims of a metric, so that their pictures can be compared; what is added to
    # the stroke, of which the paper prints nothing, is far larger and has a scale of its own.
    reach: dict[tuple[str, bool], float] = {}
    for found in judged:
        ends = (abs(found[name]) for name in ("ours_low", "ours_high", "printed", "margin"))
        scale = found["metric"], math.isnan(found["printed"])
        reach[scale] = max([reach.get(scale, 0.0), *(end for end in ends if not math.isnan(end))])
    rows: list[Row] = []
    for found in judged:
        end = reach[found["metric"], math.isnan(found["printed"])]
        row = _row(found, Axis([-end, end]))
        if found["role"] == "primary":
            rows.append(row)
        else:
            rows[-1].secondary.append(row)
    return rows


def counted(rows: list[Row]) -> str:
    """How many claims have which verdict, in one line."""
    counts = Counter(row.kind for row in rows)
    parts = [f"{counts[v]} {PLURAL[v][counts[v] > 1]}" for v in PLURAL if counts[v]]
    return f"Of {len(rows)} claims, {', '.join(parts[:-1])} and {parts[-1]}."


def _row(found: Mapping[Any, Any], axis: Axis) -> Row:
    sign, metric, kind = found["sign"], found["metric"], Verdict(found["verdict"])
    there, as_claimed = not math.isnan(found["ours_mean"]), interval(found, "ours", sign)
    details = {": ".join(filter(None, name)): cell for name, cell in how_tested(found).items()}
    if there:
        first = {"difference, first network less second [95 %]": interval(found, "ours")}
        details = first | details
    picture, printed = None, sign * found["printed"]
    if there:
        dot, *ends = (axis.at(sign * found[f"ours_{value}"]) for value in ("mean", "low", "high"))
        marks = [Mark("ours", dot, min(ends), max(ends))]
        if not math.isnan(printed):
            marks.append(Mark("printed", axis.at(printed), None, None))
        margin = None if math.isnan(found["margin"]) else axis.band(found["margin"])
        primary = found["role"] == "primary"
        picture = ForestRow(found["statement"], primary, kind, marks, None, margin, as_claimed)
    shows = number(found["ours_smallest_effect"], metric)
    details |= {"smallest effect that would show": shows}
    return Row(
        claim=found["statement"], section=found["section"],
        paper=number(printed, metric, "+"),
        ours=found["instead"] or (f"{as_claimed} {PANELS[metric]}" if there else "–"),
        kind=kind, logs=found["logs"], reason=_reason(kind, found),
        axis=axis, picture=picture,
        details={name: cell for name, cell in details.items() if cell != "–"}, secondary=[],
    )  # fmt: skip


def _reason(kind: Verdict, found: Mapping[Any, Any]) -> str:
    """Why a claim has its verdict, in at most eight words."""
    if kind == Verdict.HOLDS:
        return str(found["asked"]).replace("below", "above")  # counted as claimed
    if kind == Verdict.TOO_SMALL:
        return f"interval within ±{found['margin']:g}"
    if kind != Verdict.OPEN:
        return REASONS[kind]
    if found["remark"]:  # Holm's correction took it back
        return str(found["remark"])
    if math.isnan(found["ours_mean"]):
        return "the trainings that it needs were not run"
    if "−" in found["asked"]:  # a bar other than 0
        return str(found["asked"]).replace("above", "reaches below")
    if found["ours_smallest_effect"] > abs(found["printed"]):
        return "too few trainings for the printed difference"
    return REASONS[kind]
