"""The claims as the page shows them: one row per statement of the paper, its details folded.

Everything is read from what the report holds: the tables ``claims`` and ``claim_tests``, and the
numbers of the figure ``forest``, which are counted in the direction of the claim. Nothing is judged
here.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reproduction.estimates import Verdict
from reproduction.table_files import read_table

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
    Verdict.HOLDS: "interval on the claimed side",
    Verdict.FAILS: "interval on the other side of 0",
    Verdict.SMALLER: "interval leaves out the printed difference",
    Verdict.TOO_SMALL: "interval within the margin",
    Verdict.NOT_EACH: "another pair reaches beyond the margin",
    Verdict.OPEN: "interval on both sides of 0",
    Verdict.UNTESTED: "no GPU was there",
}
"""Verdict → why, in at most eight words."""


@dataclass(frozen=True)
class Strip:
    """Where the parts of a row's picture stand, in percent of its width, 0 being in the middle."""

    dot: float
    low: float
    high: float
    printed: float | None
    margin: tuple[float, float] | None
    """The left end and the width of the band of what is too small to matter."""


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
    verdict: str
    logs: str
    """The verdict on the authors' logs; a dash where they say nothing."""
    reason: str
    strip: Strip | None
    details: dict[str, str]
    """Heading → text: the test, its p-values and sources."""
    secondary: list[Row]
    """The same statement in other metrics, or asked more sharply."""


def claim_rows(report: Path) -> list[Row]:
    """The rows of a report, a primary claim each; empty if the report lacks one of the files."""
    tables = [report / "tables" / f"{name}.md" for name in ("claims", "claim_tests")]
    figures = report / "figures" / "forest.csv"
    if not all(path.is_file() for path in (*tables, figures)):
        return []
    texts, tests = (read_table(path) for path in tables)
    numbers = pd.read_csv(report / "tables" / "claims.csv").to_dict("records")
    drawn = pd.read_csv(figures).set_index("claim")
    # One scale for all claims of a metric, so that their pictures can be compared; what is added to
    # the stroke, of which the paper prints nothing, is far larger and has a scale of its own.
    drawn["scale"] = drawn["panel"] + drawn["printed"].notna().map({True: ", printed", False: ""})
    ends = ["ours_low", "ours_high", "printed", "margin"]
    reach = drawn[ends].abs().max(axis=1).groupby(drawn["scale"]).max()
    figure = drawn.to_dict("index")
    rows: list[Row] = []
    for cells, tested, claim in zip(texts["rows"], tests["rows"], numbers, strict=True):
        text = dict(zip(texts["heads"], cells, strict=True))
        test = dict(zip(tests["heads"], tested, strict=True))
        found = figure.get(text["claim"])
        strip = None
        if found is not None:
            strip = _strip(found, reach[found["scale"]])
            test = {"difference, first network less second [95 %]": text["ours [95 %]"]} | test
            # Where the claim is that the difference is below 0, all is counted the other way round.
            if claim["ours_mean"] * found["ours"] < 0:
                text |= {name: _turned(text[name]) for name in ("paper", "ours [95 %]")}
        row = _row(text, test, str(claim["verdict"]), strip)
        if claim["role"] == "primary":
            rows.append(row)
        else:
            rows[-1].secondary.append(row)
    return rows


def counted(rows: list[Row]) -> str:
    """How many claims have which verdict, in one line."""
    counts = Counter(row.kind for row in rows)
    parts = [f"{counts[v]} {PLURAL[v][counts[v] > 1]}" for v in PLURAL if counts[v]]
    return f"Of {len(rows)} claims, {', '.join(parts[:-1])} and {parts[-1]}."


def _row(text: dict[str, str], test: dict[str, str], verdict: str, strip: Strip | None) -> Row:
    kind = next(v for v in Verdict if verdict.startswith(v))
    details = {name: test[name] for name in test if name not in ("claim", "role")}
    details |= {"smallest effect that would show": text["smallest effect"]}
    return Row(
        claim=text["claim"], section=text["§"], paper=text["paper"], ours=text["ours [95 %]"],
        kind=kind, verdict=verdict.partition(":")[0].partition(",")[0],
        logs=test["authors' logs, last five epochs: seen there"],
        reason=_reason(kind, verdict, text, test["test"], strip), strip=strip,
        details={name: cell for name, cell in details.items() if cell != "–"}, secondary=[],
    )  # fmt: skip


def _reason(kind: Verdict, said: str, text: dict[str, str], test: str, strip: Strip | None) -> str:
    """Why a claim has its verdict, in at most eight words."""
    if "not among" in said:  # Holm's correction took it back
        return f"not {said.rpartition('not ')[2]} tested together"
    if kind == Verdict.HOLDS and (asked := re.search(r"(each )?interval \S+ \S+$", test)):
        return asked[0].replace("below", "above")  # counted as claimed
    if kind == Verdict.TOO_SMALL:
        return f"interval {text['verdict'].partition(':')[0]}"
    if kind == Verdict.OPEN and (bar := re.search(r"interval above (−\S+)$", test)):
        return f"interval reaches below {bar[1]}"
    if kind == Verdict.OPEN and strip is None:
        return "the trainings that it needs were not run"
    if kind == Verdict.OPEN and "–" not in (text["paper"], text["smallest effect"]):
        shows, printed = float(text["smallest effect"]), abs(float(text["paper"]))
        return "too few trainings for the printed difference" if shows > printed else REASONS[kind]
    return REASONS[kind]


def _strip(found: dict[Any, Any], reach: float) -> Strip:
    def at(value: float) -> float:
        return round(50 + 48 * float(value) / float(reach), 2)

    printed, margin = found["printed"], found["margin"]
    dot, low, high = (at(found[name]) for name in ("ours", "ours_low", "ours_high"))
    band = None if pd.isna(margin) else (at(-margin), round(at(margin) - at(-margin), 2))
    return Strip(dot, low, high, None if pd.isna(printed) else at(printed), band)


def _turned(text: str) -> str:
    """A difference with its interval, counted the other way round."""
    text = re.sub(r"[+-](?=\d)", lambda sign: "+" if sign[0] == "-" else "-", text)
    return re.sub(r"\[([^,]+), ([^]]+)\]", r"[\2, \1]", text)
