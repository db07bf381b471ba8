"""Summaries as text, and the paper's Tables 1 and 2 beside ours.

The rounding is the same in both and follows from the metric: four decimals for what lies in
[0, 1], two for pixels, as in the paper. The reference (identity) is always the first row, so that
no table shows a method without what it was given.
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
from nseg_lib.models import ModelSize
from nseg_lib.paper import setting_note
from nseg_lib.provenance import write_atomic, write_sidecar
from nseg_lib.summaries import IOU_MARGIN, read_results, summarise

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
        table[column] = [_number(value, column, absent="") for value in table[column]]
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
        cells = [name, str(row["n"]), *(_mean(row, metric) for metric in metrics)]
        if row["method"] == reference:
            cells += ["–", "–"]
        else:
            cells += [_difference(row, difference), f"{100 * row['made_worse']:.1f} %"]
        lines.append([*cells, str(row["empty_predictions"]), _number(row["seconds"], "seconds")])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _reference_first(summary: pd.DataFrame, reference: str) -> pd.DataFrame:
    is_reference = summary["method"] == reference
    if not is_reference.any():
        raise ValueError(f"the summary has no row '{reference}'; every table shows it first")
    return pd.concat([summary[is_reference], summary[~is_reference]])


def _mean(row: dict[Any, Any], name: str) -> str:
    mean, spread = _number(row[name], name), row[f"{name}_std"]
    return mean if math.isnan(spread) else f"{mean} ± {_number(spread, name)}"


def _difference(row: dict[Any, Any], name: str) -> str:
    parts = (_number(row[f"{name}_{part}"], name, "+") for part in ("difference", "low", "high"))
    return "{} [{}, {}]".format(*parts)


def _number(value: float, column: str, sign: str = "-", *, absent: str = "–") -> str:
    if math.isnan(value):
        return absent
    rounded = round(value, decimals(column)) + 0.0  # no "-0.00"
    return f"{rounded:{sign}.{decimals(column)}f}"


# --- the paper's tables ---------------------------------------------------------------------------

PAPER_METRICS = ("pixel_accuracy", "iou", "boundary_iou_1px", "hausdorff_region")
"""What the paper's Table 1 reports, in its order: its "Boundary IoU" is the overlap of one-pixel
boundaries, its "Hausdorff Distance" that between all mask pixels."""

NOT_RUN = "not run here"


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


def table1(
    results: pd.DataFrame, printed: Mapping[str, Mapping[str, float]], commands: Mapping[str, str]
) -> Table:
    """Table 1: paper beside ours, identity and the classical methods first.

    Args:
        results: from :func:`read_rows`, with a split ``val`` and perhaps ``test``.
        printed: the paper's, ``paper.numbers()["table1"]``.
        commands: model → the command that trains it, for those that are not in ``results``.
    """
    val, logit, test = _summaries(results)
    models = [*printed, *(m for m in val if m not in printed and m not in BASELINES)]
    rows, numbers = [], []
    for method in [*BASELINES, *models]:
        paper, ours = printed.get(method, {}), val.get(method)
        row: dict[tuple[str, str], str] = {("", "method"): method}
        for name in PAPER_METRICS:
            row[LABELS[name], "paper"] = _number(paper.get(name, math.nan), name)
            row[LABELS[name], "ours"] = _mean(ours, name) if ours else "–"
        if not ours:
            row[LABELS["iou"], "ours"] = NOT_RUN
        row |= _against_identity("validation", ours, method)
        row["validation", "IoU, logit > .5"] = _mean(logit[method], "iou") if ours else "–"
        if test:
            judged = test.get(method)
            row["test", "IoU"] = _mean(judged, "iou") if judged else "–"
            row |= _against_identity("test", judged, method)
        rows.append(row)
        for split, summary in (("val", ours), ("test", test.get(method))):
            if summary or split == "val":
                known = {f"paper_{k}": v for k, v in paper.items()} if split == "val" else {}
                numbers.append({"method": method, "split": split, **known, **(summary or {})})
    return Table(
        "Table 1. Paper and ours, by method.",
        _frame(rows),
        pd.DataFrame(numbers).round(6),
        (
            *_notes1(results, val, test),
            *(f"{m}: {NOT_RUN}; {commands[m]}" for m in models if m not in val),
        ),
    )


def _summaries(results: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Method → its row of a summary: validation, validation by the logit rule, test."""
    wanted = [("val", "probability"), ("val", "logit")]
    if "test" in set(results["split"]):
        wanted.append(("test", "probability"))
    found = []
    for split, rule in wanted:
        summary = summarise(results, split=split, rule=rule)
        found.append({row["method"]: row for row in summary.to_dict("records")})
    return found[0], found[1], found[2] if len(found) > 2 else {}


def _against_identity(group: str, row: Any, method: str) -> dict[tuple[str, str], str]:
    judged = row is not None and method != "identity"
    return {
        (group, "Δ IoU to identity [95 %]"): _difference(row, "iou") if judged else "–",
        (group, "made worse"): f"{100 * row['made_worse']:.0f} %" if judged else "–",
    }


def _notes1(
    results: pd.DataFrame, val: Mapping[str, Any], test: Mapping[str, Any]
) -> tuple[str, ...]:
    size = f"{results['width'].median():.0f}x{results['height'].median():.0f}"
    counts = f"{val['identity']['n']} validation"
    if test:
        counts += f" and {test['identity']['n']} untouched test"
    seeds = sorted({int(row["seeds"]) for m, row in val.items() if m not in BASELINES})
    trained = f"Seeds a model: {' or '.join(map(str, seeds))}. " if seeds else ""
    return (
        f"Ours: {counts} pictures, one object and one frozen stroke each, {size} in the median "
        f"where the paper's are 640x480: distances in pixels shrink with that. {trained}A mask is "
        "where the probability is above .5; the released code took logit > .5, the column of that "
        "name. "
        "Validation pictures also chose each model's epoch, in the paper as here; test pictures "
        "chose nothing.",
        "identity is the stroke unchanged; the paper has no such row. Δ is the mean of the "
        "per-picture differences to it with a bootstrap interval over pictures; made worse is the "
        f"share of pictures whose IoU falls by more than {IOU_MARGIN}.",
    )


def table2(sizes: Sequence[ModelSize], printed: Mapping[str, float]) -> Table:
    """Table 2: the paper's sizes beside weights and training checkpoint.

    Args:
        sizes: of each model, :func:`nseg_lib.models.size`.
        printed: the paper's "MB", ``paper.numbers()["table2"]``.
    """
    rows, numbers = [], []
    for size in sizes:
        paper = printed.get(size.name, math.nan)
        mib = {"weights": size.weight_bytes / 2**20, "checkpoint": size.checkpoint_bytes / 2**20}
        rows.append(
            {
                ("", "method"): size.name,
                ("", "parameters"): f"{size.parameters:,}",
                ("paper", "MB"): "–" if math.isnan(paper) else f"{paper:.2f}",
                ("ours, MiB", "weights"): f"{mib['weights']:.2f}",
                ("ours, MiB", "with Adam's moments"): f"{mib['checkpoint']:.2f}",
                ("", "GFLOP at 640x480"): f"{size.gflop:.1f}",
            }
        )
        numbers.append(
            {
                "method": size.name,
                "parameters": size.parameters,
                "paper_mb": paper,
                "weights_mib": mib["weights"],
                "checkpoint_mib": mib["checkpoint"],
                "gflop_640x480": size.gflop,
            }
        )
    note = (
        "The paper's MB are MiB of a training checkpoint: the weights and Adam's two moments, "
        "three times what a user has to load, and some overhead."
    )
    return Table("Table 2. Size of each model.", _frame(rows), pd.DataFrame(numbers), (note,))


def _frame(rows: Sequence[Mapping[tuple[str, str], str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame.columns = pd.MultiIndex.from_tuples(list(rows[0]))
    return frame


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
    note = setting_note(profile)
    shown = replace(table, notes=(note, *table.notes)) if note else table
    numbers = table.numbers.assign(setting=note or "the paper's")
    stem = Path(stem)
    for suffix, text in (
        (".csv", numbers.round(6).to_csv(index=False, lineterminator="\n")),
        (".md", _as_markdown(shown)),
        (".tex", _as_latex(shown)),
    ):
        write_atomic(stem.with_name(stem.name + suffix), text)
    seconds = time.perf_counter() - _BEGAN
    write_sidecar(stem, config, inputs, seconds, profile=profile, setting=note or "the paper's")
    return shown


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
_TEX |= {"±": r"$\pm$", "Δ": r"$\Delta$", "−": "$-$", "…": r"\ldots{}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
