"""Writing a table or figure of a report: its files, and the sidecar with its provenance."""

from __future__ import annotations

import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from nseg_lib.course.look import styled
from nseg_lib.evaluation.tables import markdown
from nseg_lib.files import write_atomic
from nseg_lib.provenance import write_sidecar
from reproduction.paper import setting_note

PAPERS_SETTING = "the paper's"
"""The ``setting`` in the files of a table or figure that has no note about its setting."""


@dataclass(frozen=True)
class Table:
    """A table of the paper beside ours; a notebook shows it as HTML."""

    caption: str
    """In plain words; it goes into the LaTeX file without escaping."""
    text: pd.DataFrame
    """For readers: every cell is a text, numbers are rounded; columns are (group, column) pairs."""
    numbers: pd.DataFrame
    """For programs: plain columns of numbers, written with six decimals."""
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """The table as HTML for a notebook, each interval on its own line."""
        look: list[Any] = [
            {"selector": "caption", "props": "text-align: left; font-weight: bold"},
            {"selector": "th, td", "props": "font-size: 11px !important; padding: 3px 4px"},
            {"selector": "th", "props": "text-align: center !important"},
            {"selector": "td", "props": "white-space: pre; text-align: right"},
        ]
        style = self.text.style.hide(axis="index").set_table_styles(look)
        style.format(lambda cell: str(cell).replace(" [", "\n["), escape="html")
        style.format_index(escape="html", axis="columns").set_caption(html.escape(self.caption))
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f'<div style="overflow-x: auto">{style.to_html()}</div><small>{notes}</small>'

    def in_setting(self, note: str) -> Table:
        """The same table with ``note`` as its first note; unchanged if ``note`` is empty."""
        return replace(self, notes=(note, *self.notes)) if note else self


def grouped(rows: Sequence[Mapping[tuple[str, str], str]]) -> pd.DataFrame:
    """The ``text`` of a :class:`Table` from its rows, each a mapping of (group, column) to text."""
    frame = pd.DataFrame(rows)
    frame.columns = pd.MultiIndex.from_tuples(list(rows[0]))
    return frame


def table_texts(table: Table, profile: str | None) -> dict[str, str]:
    """The files of a table, suffix → text. A profile other than ``paper`` is noted in each.

    Args:
        profile: ``None`` for a table that is the same in every profile.
    """
    note = setting_note(profile)
    numbers = table.numbers.assign(setting=note or PAPERS_SETTING)
    return {
        ".csv": figure_text(numbers),
        ".md": _as_markdown(table.in_setting(note)),
        ".tex": _as_latex(table.in_setting(note)),
    }


def save_table(
    table: Table,
    stem: Path,
    *,
    profile: str | None = None,
    inputs: Sequence[Path] = (),
    seconds: float | None = None,
) -> Table:
    """Write ``<stem>.csv``, ``.md`` and ``.tex`` and the sidecar ``<stem>.json``.

    Args:
        profile: whose rows the table shows; ``None`` if it is the same in every profile.
        inputs: files and folders that the table was made from, for the sidecar.
        seconds: wall time that making the table took. A notebook leaves it out: its executed copy
            has the time of every cell.

    Returns:
        The table, with a note about its setting if the profile is not ``paper``.
    """
    note = setting_note(profile)
    for suffix, text in table_texts(table, profile).items():
        write_atomic(stem.with_name(stem.name + suffix), text)
    write_sidecar(stem, None, inputs, seconds, profile=profile, setting=note or PAPERS_SETTING)
    return table.in_setting(note)


def _as_markdown(table: Table) -> str:
    """The table as Markdown, between caption and notes. Cells are not padded, for short diffs."""
    columns = [": ".join(filter(None, column)) for column in table.text.columns]
    body = markdown(columns, table.text.to_numpy().tolist(), numbers=True)
    return f"**{table.caption}**\n\n{body}\n" + "".join(f"{note}\n\n" for note in table.notes)


PDFLATEX = {"--": "-{}-", "Δ": r"$\Delta$", "−": "$-$", "<": "$<$", ">": "$>$"}
"""Text that pdfLaTeX misprints or refuses → how to write it for every LaTeX engine."""


def _as_latex(table: Table) -> str:
    """The table as a LaTeX ``table``, notes below; it needs the packages booktabs and graphicx."""
    style = table.text.style.hide(axis="index").format(escape="latex")
    style.format_index(escape="latex", axis="columns")
    align = "l" + "r" * (len(table.text.columns) - 1)
    cells = style.to_latex(hrules=True, column_format=align, multicol_align="c").rstrip()
    below = pd.DataFrame(table.notes).style.format(escape="latex")
    below.hide(axis="index").hide(axis="columns")
    notes = below.to_latex(column_format=r"@{}p{\linewidth}@{}")
    text = (
        "\\begin{table}\n"
        f"\\caption{{{table.caption}}}\n"
        f"\\resizebox{{\\linewidth}}{{!}}{{%\n{cells}}}\n"
        f"\\par\\smallskip\\footnotesize\n{notes}"
        "\\end{table}\n"
    )
    for character, written in PDFLATEX.items():
        text = text.replace(character, written)
    return text


@styled
def save_figure(
    fig: Figure,
    stem: Path,
    data: pd.DataFrame,
    *,
    profile: str | None = None,
    inputs: Sequence[Path] = (),
    seconds: float | None = None,
    credit: str = "",
) -> Path:
    """Write ``<stem>.png`` (150 dpi), ``.pdf``, ``.csv`` and the sidecar ``<stem>.json``.

    If the profile is not ``paper``, a line on the figure says so
    (:func:`reproduction.paper.setting_note`). Different versions of matplotlib draw different
    bytes, so the sidecar keeps the hashes of the three files: they tell which drawing belongs to
    which numbers.

    Args:
        data: the numbers that the figure shows; ``nseg verify`` makes them again.
        profile, inputs, seconds: as :func:`save_table` has them.
        credit: of a photograph in it, see :meth:`nseg_lib.data.coco.Split.credit`.

    Returns:
        The PNG's path.
    """
    note = setting_note(profile)
    if credit:
        _line_above(fig, f"Photograph: {credit}", fontsize=6, color="#555555")
    if note:
        _line_above(fig, note, fontsize=7, style="italic", color="#a04000")
    # Draw all files in memory first, so that an error in drawing leaves no file behind.
    drawn = {".csv": figure_text(data).encode()}
    for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=suffix[1:], bbox_inches="tight", metadata=metadata)
        drawn[suffix] = buffer.getvalue()
    for suffix, content in drawn.items():
        write_atomic(stem.with_name(stem.name + suffix), content)
    hashes = {suffix: hashlib.sha256(content).hexdigest() for suffix, content in drawn.items()}
    write_sidecar(
        stem, None, inputs, seconds, profile=profile, setting=note or PAPERS_SETTING, files=hashes
    )
    return stem.with_name(stem.name + ".png")


def figure_text(data: pd.DataFrame) -> str:
    """Numbers as CSV text, to six decimals."""
    return data.round(6).to_csv(index=False, lineterminator="\n")


def _line_above(fig: Figure, line: str, **style: Any) -> None:
    """Write a line above the figure, unless it is there; below, it could cover a legend."""
    if line not in (text.get_text() for text in fig.texts):
        fig.draw_without_rendering()  # computes the layout
        top = fig.get_tightbbox().y1 / fig.get_figheight()
        fig.text(0.5, top + 0.01, line, ha="center", va="bottom", **style)
