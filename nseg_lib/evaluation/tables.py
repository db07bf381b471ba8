"""Write a summary as CSV or Markdown, and round the numbers of all tables.

The rounding is the same in both and follows from the metric: four decimals for what lies in
[0, 1], two for pixels, as in the paper. A summary has identity in its first row, so that no table
shows a method without what it was given.
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


def to_csv(summary: pd.DataFrame) -> str:
    """A :func:`nseg_lib.evaluation.summary.summarise` as CSV text with a header.

    Each column has its own :func:`decimals`; a standard deviation over one seed is an empty cell.
    """
    table = summary.copy()
    for column in map(str, table.select_dtypes("float").columns):
        table[column] = [number(value, column, absent="") for value in table[column]]
    return table.to_csv(index=False, lineterminator="\n")


def to_markdown(summary: pd.DataFrame) -> str:
    """A :func:`nseg_lib.evaluation.summary.summarise` as a Markdown table.

    One row per method: its means, with ± their standard deviation over seeds where there is more
    than one, and the difference of its IoU to identity's.
    """
    header = ["method", "n", *(LABELS[name] for name in METRICS)]
    header += [f"Δ {LABELS['iou']} [95 %]", "made worse", "empty", "s per picture"]
    lines = []
    for row in summary.to_dict("records"):
        cells = [str(row["method"]), str(row["n"]), *(mean_cell(row, name) for name in METRICS)]
        if row["method"] == "identity":
            cells += ["–", "–"]
        else:
            cells += [difference_cell(row, "iou"), f"{100 * row['made_worse']:.1f} %"]
        lines.append([*cells, str(row["empty_predictions"]), number(row["seconds"], "seconds")])
    return markdown(header, lines, numbers=True)


def markdown(
    header: Sequence[str], lines: Iterable[Sequence[str]], *, numbers: bool = False
) -> str:
    """Cells as a Markdown table, ending in a line break; a ``|`` in one stays in its cell.

    Args:
        numbers: align all columns but the first to the right.
    """
    rule = ["---", *(["---:" if numbers else "---"] * (len(header) - 1))]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in (header, rule, *lines))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


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
