"""The table of the paper's claims, from ``reports/claims.yml`` and the rows of a report.

The file says what each claim is, which networks it is about and what must hold;
:mod:`reproduction.claim_tests` defines how each kind of test decides. When the tests were fixed,
and what was changed later, is in ``reports/limitations.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
from reproduction.claim_tests import Claim, Pairs, Result
from reproduction.estimates import LEVEL, Verdict, holm, interval_text
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


@dataclass(frozen=True)
class Judged:
    """A claim, what its test found, and its verdict among all claims."""

    claim: Claim
    result: Result
    verdict: str
    """As ``result`` has it, unless Holm's correction takes it back."""
    corrected: float
    """The p-value of a primary claim, corrected by Holm; NaN for others."""


@cache
def judge(evidence: Evidence) -> list[Judged]:
    """Test every claim, and correct the primary ones for being tested together."""
    claims = read_claims(evidence.claims_file).claims
    results = {name: claim.judge(evidence) for name, claim in claims.items()}
    primary = {
        name: results[name].p
        for name, claim in claims.items()
        if claim.role == "primary" and not math.isnan(results[name].p)
    }
    corrected = holm(primary)
    judged = []
    for name, claim in claims.items():
        found, p = results[name].verdict, corrected.get(name, math.nan)
        if found.startswith((Verdict.HOLDS, Verdict.FAILS)) and p > LEVEL:
            found = f"{Verdict.OPEN}: {found} by itself, but not among {len(primary)} claims"
        judged.append(Judged(claim, results[name], found, p))
    return judged


def claims_table(evidence: Evidence) -> Table:
    """Every claim of the paper with its numbers and its verdict."""
    judged = judge(evidence)
    text = []
    for each in judged:
        result, ours, metric = each.result, each.result.ours, each.result.metric
        said = each.verdict
        if said == Verdict.TOO_SMALL:
            said = f"within ±{evidence.margin(metric):g}: {said}"
        row = {
            "claim": each.claim.claim,
            "§": each.claim.section,
            "paper": number(result.printed, metric, "+"),
            "ours [95 %]": result.words or interval_text(ours, metric),
            "smallest effect": "–" if ours is None else number(ours.smallest_effect, metric),
            "verdict": said,
        }
        text.append({("", column): cell for column, cell in row.items()})
    return Table("The paper's claims.", grouped(text), _numbers(judged), notes("claims"))


def claim_tests_table(evidence: Evidence) -> Table:
    """How every claim was tested: the test in words, p-values, other estimates, and sources."""
    judged = judge(evidence)
    theirs = "authors' logs, last five epochs"
    text = []
    for each in judged:
        result, metric = each.result, each.result.metric
        text.append(
            {
                ("", "claim"): each.claim.claim,
                ("", "role"): each.claim.role,
                ("", "test"): result.test,
                ("p", "alone"): _p_text(result.p),
                ("p", "by Holm"): _p_text(each.corrected),
                ("ours, last five epochs", "validation [95 %]"): interval_text(result.late, metric),
                (theirs, "effect [95 %]"): interval_text(result.logs, metric),
                (theirs, "seen there"): result.logs_verdict,
                ("", "made from"): result.source,
            }
        )
    numbers = [
        {"claim": one.claim.id, "role": one.claim.role, "p": one.result.p, "holm": one.corrected}
        for one in judged
    ]
    scatters = {metric: evidence.scatter(metric) for metric in evidence.printed["too_small"]}
    margins = {metric: evidence.margin(metric) for metric in scatters}
    below = notes("claim_tests", scatters=scatters, margins=margins, labels=LABELS)
    return Table("How the claims were tested.", grouped(text), pd.DataFrame(numbers), below)


def _p_text(p: float) -> str:
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _numbers(judged: list[Judged]) -> pd.DataFrame:
    """What the table and the figure of the claims show, as plain columns."""
    rows = []
    for each in judged:
        claim, result = each.claim, each.result
        row: dict[str, Any] = {"claim": claim.id, "role": claim.role, "metric": result.metric}
        row["printed"] = result.printed
        for name, part in (("ours", result.ours), ("late", result.late), ("logs", result.logs)):
            for value in ("mean", "low", "high", "n", "seeds", "seed_error", "smallest_effect"):
                row[f"{name}_{value}"] = math.nan if part is None else float(getattr(part, value))
        rows.append(row | {"verdict": each.verdict, "logs": result.logs_verdict})
    return pd.DataFrame(rows).round(6)
