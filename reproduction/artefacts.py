"""How a table or figure of the report is written: its files, and the record beside them."""

from __future__ import annotations

import hashlib
import html
import io
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from nseg_lib.course.look import styled
from nseg_lib.files import write_atomic
from nseg_lib.provenance import write_sidecar
from reproduction import paper
from reproduction.paper import setting_note

_BEGAN = time.perf_counter()


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


def grouped(rows: Sequence[Mapping[tuple[str, str], str]]) -> pd.DataFrame:
    """Rows of (group, column) → text as the ``text`` of a :class:`Table`."""
    frame = pd.DataFrame(rows)
    frame.columns = pd.MultiIndex.from_tuples(list(rows[0]))
    return frame


def table_texts(table: Table, name: str, profile: str) -> dict[str, str]:
    """The files of a table: suffix → text, each with a note where it is not the paper's setting.

    Args:
        name: of the table, such as ``table1``; see :func:`reproduction.paper.setting_note`.
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


def save_table(
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
    for suffix, text in table_texts(table, stem.name, profile).items():
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


@styled
def save_figure(
    fig: Figure,
    stem: str | Path,
    data: pd.DataFrame,
    *,
    profile: str,
    inputs: Sequence[str | Path] = (),
    config: Any = None,
    credit: str = "",
) -> Path:
    """Write ``<stem>.png`` (150 dpi), ``.pdf``, ``.csv`` and the sidecar ``<stem>.json``.

    A figure that depends on a profile other than the paper's first gets a line that says so, see
    :func:`reproduction.paper.setting_note`. The sidecar holds the hashes of the three files: which
    picture was drawn from which numbers stays known, though no two versions of matplotlib draw
    the same bytes.

    Args:
        data: the numbers that the figure shows; ``nseg verify`` makes them again.
        inputs: files and folders that the figure was made from, for the sidecar.
        config: settings that made it, JSON data or a configuration.
        credit: of a photograph in it, see :meth:`nseg_lib.data.coco.Split.credit`.

    Returns:
        The PNG's path. The sidecar's ``seconds`` count from the start of the chapter (the import
        of this module).
    """
    stem = Path(stem)
    note = paper.setting_note(profile, stem.name)
    if credit:
        _line_above(fig, f"Photograph: {credit}", fontsize=6, color="#555555")
    if note:
        _line_above(fig, note, fontsize=7, style="italic", color="#a04000")
    drawn = {".csv": figure_text(data).encode()}
    for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=suffix[1:], bbox_inches="tight", metadata=metadata)
        drawn[suffix] = buffer.getvalue()
    for suffix, content in drawn.items():
        write_atomic(stem.with_name(stem.name + suffix), content)
    write_sidecar(
        stem, config, inputs, time.perf_counter() - _BEGAN,
        profile=profile, setting=note or "the paper's",
        files={suffix: hashlib.sha256(content).hexdigest() for suffix, content in drawn.items()},
    )  # fmt: skip
    return stem.with_name(stem.name + ".png")


def figure_text(data: pd.DataFrame) -> str:
    """A figure's numbers as CSV text, to six decimals."""
    return data.round(6).to_csv(index=False, lineterminator="\n")


def _line_above(fig: Figure, line: str, **style: Any) -> None:
    """Write a line above all that is drawn, once. Below, it would meet a legend when trimmed."""
    if line not in (text.get_text() for text in fig.texts):
        fig.draw_without_rendering()  # lays out
        top = fig.get_tightbbox().y1 / fig.get_figheight()
        fig.text(0.5, top + 0.01, line, ha="center", va="bottom", **style)
