"""Fills in the templates of ``reproduction/templates``: pages, captions, notes below tables."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: str(name).endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, **values: Any) -> str:
    """Fill in a template of ``reproduction/templates``; a name it misses is an error."""
    text: str = _environment().get_template(template).render(**values)
    return text


def notes(table: str, **values: Any) -> tuple[str, ...]:
    """The notes below a table: the paragraphs of ``notes/<table>.md``, each on one line."""
    paragraphs = render(f"notes/{table}.md", **values).split("\n\n")
    return tuple(" ".join(text.split()) for text in paragraphs if text.strip())
