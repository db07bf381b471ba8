"""The table of the paper's claims, from ``reports/claims.yml`` and the rows of a report.

The file says what each claim is, which networks it is about and what must hold;
:mod:`reproduction.claim_tests` defines how each kind of test decides. When the tests were fixed,
and what was changed later, is in ``reports/limitations.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nseg_lib import config, parsing
from nseg_lib.config import ConfigError, Strict
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.evaluation.tables import number
from reproduction import claim_tests
from reproduction.artefacts import Table, grouped
from reproduction.claim_tests import Claim, Pairs
from reproduction.estimates import LEVEL, Estimate, Verdict, holm, interval_text
from reproduction.evidence import Evidence
from reproduction.words import notes

TESTS: dict[str, type[Claim]] = {
    "gain_over_stroke": claim_tests.GainOverStroke,
    "paired_difference": claim_tests.PairedDifference,
    "equal_epochs": claim_tests.EqualEpochs,
    "non_inferiority": claim_tests.NonInferiority,
    "rank_correlation": claim_tests.RankCorrelation,
    "latency": claim_tests.Latency,
    "gain_in_each_category": claim_tests.GainInEachCategory,
}
"""The kinds of test, by the name that ``reports/claims.yml`` gives them."""

VALUES = (
    "mean", "low", "high", "median", "n", "seeds", "seed_error", "seed_reach", "smallest_effect",
)  # fmt: skip
"""What the results keep of an :class:`Estimate`."""


class _File(Strict):
    pairs: dict[str, Pairs]
    claims: list[dict[str, Any]]


class Claims(NamedTuple):
    """What ``reports/claims.yml`` holds."""

    pairs: dict[str, Pairs]
    """Name → pairs of networks. Claims and the figure "spread" refer to pairs by these names."""
    claims: dict[str, Claim]
    """Id → claim, in the order of the table."""


def read_claims(path: Path) -> Claims:
    """Read ``reports/claims.yml``.

    Raises:
        ConfigError: a key or value is not allowed. The message names the file, the claim, the key
            and what is allowed.
    """
    file = config.parse(parsing.read_yaml(path.read_text("utf-8"), str(path)), str(path), _File)
    claims: dict[str, Claim] = {}
    for place, record in enumerate(file.claims, start=1):
        where = f"{path}: claim '{record.get('id', place)}'"
        test, pairs = record.get("test"), record.get("pairs")
        if test not in TESTS:
            raise ConfigError(f"{where}: 'test' must be one of {', '.join(TESTS)} (got {test!r})")
        if pairs is not None:  # replace the name by the pairs that it stands for
            if pairs not in file.pairs:
                allowed = "; ".join(file.pairs)
                raise ConfigError(f"{where}: 'pairs' must be one of: {allowed} (got {pairs!r})")
            record = {**record, "pairs": file.pairs[pairs]}
        claim = config.parse(record, where, TESTS[test])
        if claim.id in claims:
            raise ConfigError(f"{where}: 'id' is that of an earlier claim")
        claims[claim.id] = claim
    return Claims(file.pairs, claims)


@cache
def judge(evidence: Evidence) -> pd.DataFrame:
    """Test every claim, and correct the primary ones for being tested together.

    Returns:
        One row per claim: what its test found, in numbers and in words. ``tables/claims.csv`` holds
        it; both tables, the figure "forest" and the page are made from it. Differences are the
        first network less the second; times ``sign`` they are counted as the claim has them.
        ``ours_``, ``late_`` and ``logs_`` begin the values of the three estimates of
        :class:`reproduction.claim_tests.Result`, NaN where there is none. ``margin`` is NaN where
        no difference is too small to matter.
    """
    claims = read_claims(evidence.claims_file).claims
    results = {name: claim.judge(evidence) for name, claim in claims.items()}
    primary = {
        name: results[name].p
        for name, claim in claims.items()
        if claim.role == "primary" and not math.isnan(results[name].p)
    }
    corrected = holm(primary)
    rows = []
    for name, claim in claims.items():
        result, p = results[name], corrected.get(name, math.nan)
        said, remark = result.verdict, result.remark
        if said in (Verdict.HOLDS, Verdict.FAILS) and p > LEVEL:
            said, remark = Verdict.OPEN, f"corrected for {len(primary)} claims; alone: {said}"
        row: dict[str, Any] = {"claim": name, "role": claim.role, "metric": result.metric}
        row |= {"printed": result.printed, "sign": getattr(claim, "sign", 1)}
        row["margin"] = math.nan
        if result.metric in evidence.printed["too_small"]:
            row["margin"] = evidence.margin(result.metric)
        for source in ("ours", "late", "logs"):
            estimate = getattr(result, source)
            for value in VALUES:
                found = math.nan if estimate is None else float(getattr(estimate, value))
                row[f"{source}_{value}"] = found
        row |= {"p": result.p, "holm": p, "verdict": str(said), "remark": remark}
        row |= {"logs": result.logs_verdict, "statement": claim.claim, "section": claim.section}
        row |= {"test": result.test, "asked": result.asked, "instead": result.words}
        rows.append(row | {"made_from": result.source})
    return pd.DataFrame(rows)


def read_judged(table: Path) -> list[dict[Any, Any]]:
    """The rows of :func:`judge`, from a report's ``tables/claims.csv``."""
    frame = pd.read_csv(table, dtype={"section": str})
    words = frame.columns[frame.columns.get_loc("verdict") :]
    return frame.fillna(dict.fromkeys(words, "")).to_dict("records")


def claims_table(evidence: Evidence) -> Table:
    """Every claim of the paper with its numbers and its verdict."""
    judged = judge(evidence)
    text = []
    for row in judged.to_dict("records"):
        said, remark = row["verdict"], row["remark"]
        if said == Verdict.TOO_SMALL:
            said = f"within ±{row['margin']:g}: {said}"
        between = ": " if said == Verdict.OPEN else ", "
        cells = {
            "claim": row["statement"],
            "§": row["section"],
            "paper": number(row["printed"], row["metric"], "+"),
            "ours [95 %]": row["instead"] or interval(row, "ours"),
            "smallest effect": number(row["ours_smallest_effect"], row["metric"]),
            "verdict": said + between * bool(remark) + remark,
        }
        text.append({("", column): cell for column, cell in cells.items()})
    return Table("The paper's claims.", grouped(text), judged, notes("claims"))


def claim_tests_table(evidence: Evidence) -> Table:
    """How every claim was tested: the test in words, p-values, other estimates, and sources."""
    judged = judge(evidence)
    text = [
        {("", "claim"): row["statement"], ("", "role"): row["role"], **how_tested(row)}
        for row in judged.to_dict("records")
    ]
    scatters = {metric: evidence.scatter(metric) for metric in evidence.printed["too_small"]}
    margins = {metric: evidence.margin(metric) for metric in scatters}
    below = notes("claim_tests", scatters=scatters, margins=margins, labels=LABELS)
    numbers = judged[["claim", "role", "p", "holm"]]
    return Table("How the claims were tested.", grouped(text), numbers, below)


def how_tested(row: Mapping[Any, Any]) -> dict[tuple[str, str], str]:
    """(Group, column) → cell of how a claim was tested, from a row of :func:`judge`."""
    theirs = "authors' logs, last five epochs"
    return {
        ("", "test"): ": ".join(filter(None, (row["test"], row["asked"]))),
        ("p", "alone"): _p_text(row["p"]),
        ("p", "by Holm"): _p_text(row["holm"]),
        ("ours, last five epochs", "validation [95 %]"): interval(row, "late"),
        (theirs, "effect [95 %]"): interval(row, "logs"),
        (theirs, "seen there"): row["logs"],
        ("", "made from"): row["made_from"],
    }


def interval(row: Mapping[Any, Any], source: str, sign: int = 1) -> str:
    """An estimate of a row of :func:`judge` with its interval; ``–`` where there is none.

    Args:
        sign: that of the row, to count the difference as the claim has it.
    """
    mean, median, *ends = (sign * row[f"{source}_{x}"] for x in ("mean", "median", "low", "high"))
    if math.isnan(mean):
        return interval_text(None, row["metric"])
    return interval_text(Estimate(mean, min(ends), max(ends), 0, median=median), row["metric"])


def _p_text(p: float) -> str:
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
