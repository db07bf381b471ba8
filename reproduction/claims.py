"""The table of the paper's claims, from ``reports/claims.yml`` and the rows of a report.

The file says what each claim is, which networks it is about and what must hold;
:mod:`reproduction.claim_tests` defines how each kind of test decides. The tests were fixed before
any network was trained in the paper's setting; later changes are listed in
``reports/limitations.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib import config
from nseg_lib.config import ConfigError, Strict
from reproduction.artefacts import Table, grouped
from reproduction.claim_tests import TESTS, Claim, Pairs
from reproduction.evidence import Evidence


@dataclass(frozen=True)
class Claims:
    """What ``reports/claims.yml`` holds."""

    pairs: dict[str, Pairs]
    """Name → pairs of networks. Claims and the figure "spread" refer to pairs by these names."""
    claims: dict[str, Claim]
    """Id → claim, in the order of the table."""
    notes: list[str]
    """Shown below the table."""


class _File(Strict):
    pairs: dict[str, Pairs]
    claims: list[dict[str, Any]]
    notes: list[str]


def read_claims(path: Path) -> Claims:
    """Read ``reports/claims.yml``.

    Raises:
        ConfigError: the file is missing, or a key or value is not allowed. The message names the
            file, the claim, the key and what is allowed.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; the claims come with the project")
    file = config.parse(config.read_yaml(path.read_text("utf-8"), str(path)), str(path), _File)
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
    return Claims(file.pairs, claims, file.notes)


def claims_table(evidence: Evidence) -> Table:
    """Every claim of the paper with its verdict on the evidence."""
    file = read_claims(evidence.claims_file)
    results = [(claim, claim.judge(evidence)) for claim in file.claims.values()]
    theirs = "authors' logs, equal epochs"
    text = [
        {
            ("", "claim"): claim.claim,
            ("", "§"): claim.section,
            ("", "test"): result.test,
            ("", "in Table 1"): result.printed,
            ("ours", "effect [95 %]"): result.ours,
            ("ours", "verdict"): result.verdict,
            (theirs, "effect [95 %]"): result.logs,
            (theirs, "seen there"): result.logs_verdict,
            ("", "from"): result.source,
        }
        for claim, result in results
    ]
    parts = [f"{who}_{part}" for who in ("ours", "logs") for part in ("mean", "low", "high", "n")]
    numbers = pd.DataFrame(
        [
            {"claim": c.id, **r.numbers, "verdict": r.verdict, "logs": r.logs_verdict}
            for c, r in results
        ],
        columns=["claim", "printed", *parts, "verdict", "logs"],
    )
    return Table("The paper's claims.", grouped(text), numbers.round(6), tuple(file.notes))
