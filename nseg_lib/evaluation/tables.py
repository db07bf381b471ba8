"""Summaries as text, and how a table of the report is written.

The rounding is the same in both and follows from the metric: four decimals for what lies in
[0, 1], two for pixels, as in the paper. The reference (identity) is always the first row, so that
no table shows a method without what it was given. What the report's tables hold is decided in
:mod:`reproduction.table1` and :mod:`reproduction.claims`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from nseg_lib.evaluation.metrics import DISTANCES, LABELS, METRICS


def decimals(column: str) -> int:
    """Decimals of a column of a summary: 2 for pixels, 3 for seconds, 4 for all else."""
    if column.startswith(DISTANCES):
        return 2
    return 3 if column == "seconds" else 4


def to_csv(summary: pd.DataFrame, *, reference: str | None = "identity") -> str:
    """A summary as CSV text, each column with its own :func:`decimals`.

    Args:
        summary: from :func:`nseg_lib.evaluation.summary.summarise`.
        reference: is the first row; None: rows stay in their order.

    Returns:
        UTF-8 text with a header; a standard deviation over one seed is an empty cell.

    Raises:
        ValueError: ``summary`` has no row of the reference.
    """
    table = summary.copy() if reference is None else _reference_first(summary, reference)
    for column in map(str, table.select_dtypes("float").columns):
        table[column] = [number(value, column, absent="") for value in table[column]]
    return table.to_csv(index=False, lineterminator="\n")


def to_markdown(
    summary: pd.DataFrame,
    *,
    metrics: Sequence[str] = METRICS,
    difference: str = "iou",
    reference: str = "identity",
) -> str:
    """A summary as a Markdown table, one row per method.

    Args:
        summary: from :func:`nseg_lib.evaluation.summary.summarise`.
        metrics: which means to show, with ± their standard deviation over seeds where there is
            more than one.
        difference: the metric whose paired difference to the reference is shown with its 95 %
            interval.

    Returns:
        The table's text, ending in a line break.

    Raises:
        ValueError: an unknown metric, or ``summary`` has no row of the reference.
    """
    unknown = sorted({*metrics, difference} - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric '{unknown[0]}'; one of: {', '.join(METRICS)}")
    table = _reference_first(summary, reference)
    header = ["method", "n", *(LABELS[name] for name in metrics)]
    header += [f"Δ {LABELS[difference]} [95 %]", "made worse", "empty", "s per picture"]
    lines = []
    for row in table.to_dict("records"):
        cells = [str(row["method"]), str(row["n"]), *(mean_cell(row, name) for name in metrics)]
        if row["method"] == reference:
            cells += ["–", "–"]
        else:
            cells += [difference_cell(row, difference), f"{100 * row['made_worse']:.1f} %"]
        lines.append([*cells, str(row["empty_predictions"]), number(row["seconds"], "seconds")])
    return markdown(header, lines, numbers=True)


def markdown(
    header: Sequence[str], lines: Iterable[Sequence[str]], *, numbers: bool = False
) -> str:
    """Cells as a Markdown table, ending in a line break.

    Args:
        header, lines: cells of text; a ``|`` in one stays in its cell.
        numbers: align all columns but the first to the right.
    """
    rule = ["---", *(["---:" if numbers else "---"] * (len(header) - 1))]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in (header, rule, *lines))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


def _reference_first(summary: pd.DataFrame, reference: str) -> pd.DataFrame:
    is_reference = summary["method"] == reference
    if not is_reference.any():
        raise ValueError(f"the summary has no row '{reference}'; every table shows it first")
    return pd.concat([summary[is_reference], summary[~is_reference]])


def mean_cell(row: dict[Any, Any], name: str) -> str:
    """A metric's mean from a row of a summary, with ± its deviation over seeds if there are any."""
    mean, spread = number(row[name], name), row[f"{name}_std"]
    return mean if math.isnan(spread) else f"{mean} ± {number(spread, name)}"


def difference_cell(row: dict[Any, Any], name: str) -> str:
    """A metric's difference to the reference from a row of a summary, with its interval."""
    parts = (number(row[f"{name}_{part}"], name, "+") for part in ("difference", "low", "high"))
    return "{} [{}, {}]".format(*parts)


def number(value: float, column: str, sign: str = "-", *, absent: str = "–") -> str:
    """A value as its column's :func:`decimals` have it; ``absent`` for NaN.

    A difference (``sign`` ``+``) that is rounded to 0 keeps its sign: ``-0.0000`` is below 0.
    """
    if math.isnan(value):
        return absent
    rounded = round(value, decimals(column))
    if sign == "-":
        rounded += 0.0  # no "-0.00"
    return f"{rounded:{sign}.{decimals(column)}f}"
