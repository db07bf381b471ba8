"""Reading the tables of a report back from their Markdown files."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any


def read_table(path: Path) -> dict[str, Any]:
    """Read a table that :func:`reproduction.artefacts.save_table` wrote as Markdown.

    Returns:
        ``heads`` (of each column, as written), ``groups`` (name and span; empty if no column has
        one), ``columns`` (without their groups), ``rows`` and ``notes``.

    Raises:
        ValueError: the file holds no table.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = [_cells(line) for line in lines if line.startswith("|")]
    if len(cells) < 3:
        raise ValueError(f"{path}: holds no table of at least one row")
    # A column of a group is written "group: column"; neighbours of one group share its heading.
    heads = [head.rpartition(": ")[::2] for head in cells[0]]
    groups: list[tuple[str, int]] = []
    for group, columns in itertools.groupby(group for group, _ in heads):
        span = len([*columns])
        groups += [(group, span)] if group else [("", 1)] * span
    return {
        "heads": cells[0],
        "groups": groups if any(group for group, _ in groups) else [],
        "columns": [column for _, column in heads],
        "rows": cells[2:],
        # The caption, in bold, is left out: the section has a title already.
        "notes": [line for line in lines if line and not line.startswith(("|", "**"))],
    }


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip().replace(r"\|", "|") for cell in cells]
