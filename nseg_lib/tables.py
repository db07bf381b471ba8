"""Summaries as text, and how a table of the report is written.

The rounding is the same in both and follows from the metric: four decimals for what lies in
[0, 1], two for pixels, as in the paper. The reference (identity) is always the first row, so that
no table shows a method without what it was given. What the report's tables hold is decided in
:mod:`nseg_lib.paper_tables` and :mod:`nseg_lib.claims`.
"""

from __future__ import annotations

import html
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib.baselines import BASELINES
from nseg_lib.config import names
from nseg_lib.metrics import DISTANCES, METRICS
from nseg_lib.paper import setting_note
from nseg_lib.provenance import write_atomic, write_sidecar
from nseg_lib.summaries import read_results

LABELS = {
    "pixel_accuracy": "pixel acc.",
    "iou": "IoU",
    "boundary_iou_1px": "1-px boundary IoU",
    "boundary_iou": "Boundary IoU (2 %)",
    "hausdorff_contour": "Hausdorff, contour (px)",
    "hausdorff_region": "Hausdorff, region (px)",
    "hd95": "HD95 (px)",
}
"""What tables and figures call the metrics."""

_BEGAN = time.perf_counter()


def decimals(column: str) -> int:
    """Decimals of a column of a summary: 2 for pixels, 3 for seconds, 4 for all else."""
    if column.startswith(DISTANCES):
        return 2
    return 3 if column == "seconds" else 4


def to_csv(summary: pd.DataFrame, *, reference: str = "identity") -> str:
    """A summary as CSV text, each column with its own :func:`decimals`.

    Args:
        summary: from :func:`nseg_lib.summaries.summarise`.

    Returns:
        UTF-8 text with a header; a standard deviation over one seed is an empty cell.

    Raises:
        ValueError: ``summary`` has no row of the reference.
    """
    table = _reference_first(summary, reference).copy()
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
        summary: from :func:`nseg_lib.summaries.summarise`.
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
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for row in table.to_dict("records"):
        name = str(row["method"]).replace("|", "\\|")
        cells = [name, str(row["n"]), *(mean_cell(row, metric) for metric in metrics)]
        if row["method"] == reference:
            cells += ["–", "–"]
        else:
            cells += [difference_cell(row, difference), f"{100 * row['made_worse']:.1f} %"]
        lines.append([*cells, str(row["empty_predictions"]), number(row["seconds"], "seconds")])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


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


# --- tables of the report -------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table of the paper beside ours; a notebook shows it as HTML."""

    caption: str
    text: pd.DataFrame
    """What people read: rounded, every cell a text; columns are (group, column) pairs."""
    numbers: pd.DataFrame
    """What programs read: one plain column each, unrounded to six digits."""
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        body = self.text.to_html(index=False, border=0, classes="nseg").replace(" [", "<br>[")
        look = (
            "<style>.nseg td, .nseg th {font-size: 11px !important; padding: 3px 4px !important} "
            ".nseg td {white-space: nowrap} .nseg th {text-align: center}</style>"
        )
        title = f"<p><b>{html.escape(self.caption)}</b></p>"
        return f'{look}{title}<div style="overflow-x: auto">{body}</div><small>{notes}</small>'


def read_rows(folder: str | Path) -> pd.DataFrame:
    """All results of a folder: ``baselines.csv`` and a file for each model and seed.

    Methods come in the order of the tables: baselines, the paper's eight, others.

    Raises:
        ValueError: no ``baselines.csv``, without which no table can show the identity row, or a
            file that is none of results.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if Path(folder) / "baselines.csv" not in files:
        raise ValueError(f"{folder}: no baselines.csv; 'make reproduce' evaluates into this folder")
    results = pd.concat([read_results(path) for path in files], ignore_index=True)
    order = {name: place for place, name in enumerate((*BASELINES, *names()))}
    place = results["method"].map(lambda name: order.get(name, len(order)))
    return results.iloc[place.argsort(kind="stable")].reset_index(drop=True)


def grouped(rows: Sequence[Mapping[tuple[str, str], str]]) -> pd.DataFrame:
    """Rows of (group, column) → text as the ``text`` of a :class:`Table`."""
    frame = pd.DataFrame(rows)
    frame.columns = pd.MultiIndex.from_tuples(list(rows[0]))
    return frame


def texts(table: Table, name: str, profile: str) -> dict[str, str]:
    """The files of a table: suffix → text, each with a note where it is not the paper's setting.

    Args:
        name: of the table, such as ``table1``; see :func:`nseg_lib.paper.setting_note`.
    """
    note = setting_note(profile, name)
    shown = replace(table, notes=(note, *table.notes)) if note else table
    numbers = table.numbers.assign(setting=note or SETTING)
    return {
        ".csv": numbers.round(6).to_csv(index=False, lineterminator="\n"),
        ".md": _as_markdown(shown),
        ".tex": _as_latex(shown),
    }


SETTING = "the paper's"
"""What a table or figure without a note says of its setting."""


def save(
    table: Table,
    stem: str | Path,
    *,
    profile: str,
    inputs: Sequence[str | Path] = (),
    config: Any = None,
) -> Table:
    """Write ``<stem>.csv``, ``.md`` and ``.tex`` and the sidecar ``<stem>.json``.

    Args:
        inputs: files and folders that the table was made from, for the sidecar.
        config: settings that made it, JSON data or a configuration.

    Returns:
        The table with a first note that says where its profile is not the paper's setting.
    """
    stem = Path(stem)
    note = setting_note(profile, stem.name)
    for suffix, text in texts(table, stem.name, profile).items():
        write_atomic(stem.with_name(stem.name + suffix), text)
    seconds = time.perf_counter() - _BEGAN
    write_sidecar(stem, config, inputs, seconds, profile=profile, setting=note or SETTING)
    return replace(table, notes=(note, *table.notes)) if note else table


def _as_markdown(table: Table) -> str:
    columns = [": ".join(filter(None, column)) for column in table.text.columns]
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *table.text.to_numpy().tolist()]
    body = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"**{table.caption}**\n\n{body}\n" + "".join(f"{note}\n\n" for note in table.notes)


def _as_latex(table: Table) -> str:
    """A ``table`` for a document that loads booktabs and graphicx."""
    groups = [[*run] for _, run in itertools.groupby(table.text.columns, key=lambda c: c[0])]
    top = " & ".join(
        rf"\multicolumn{{{len(run)}}}{{c}}{{{_tex(run[0][0])}}}"
        if run[0][0]
        else " &" * (len(run) - 1)
        for run in groups
    )
    lines = [
        r"\begin{table}",
        rf"\caption{{{_tex(table.caption)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.text.columns) - 1)}}}",
        r"\toprule",
        rf"{top} \\",
        " & ".join(_tex(column[1]) for column in table.text.columns) + r" \\",
        r"\midrule",
        *(" & ".join(map(_tex, cells)) + r" \\" for cells in table.text.to_numpy().tolist()),
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\smallskip\footnotesize {_tex(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_TEX = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "<": "$<$", ">": "$>$", "–": "--"}
_TEX |= {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "^": r"\^{}", "~": r"\~{}"}
_TEX |= {"±": r"$\pm$", "Δ": r"$\Delta$", "−": "$-$", "…": r"\ldots{}"}


def _tex(text: str) -> str:
    text = "".join(_TEX.get(character, character) for character in text.replace("--", "-\0-"))
    return text.replace("\0", "{}")  # two hyphens of an option would become a dash
