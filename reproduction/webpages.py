"""Web pages that need nothing but themselves: executed notebooks, and the frame of all pages."""

from __future__ import annotations

import re
from pathlib import Path

from nseg_lib.files import write_atomic
from reproduction.words import render

_CHAPTER = re.compile(r"\]\((?:\.\./notebooks/|\./)?(\d\d_\w+)\.ipynb(#[\w-]+)?\)")
_CODE = re.compile(r"(^```.*?^```|^~~~.*?^~~~|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\w)", re.DOTALL)


def export_html(executed: Path, target: Path) -> None:
    """Write an executed notebook as one HTML file without scripts or anything from elsewhere.

    Formulas become MathML, which browsers draw by themselves; pictures are in the file. Links
    between chapters lead to their pages, as the executed notebooks lie beside them.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(_CHAPTER.sub(r"](\1.html\2)", cell.source))
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    seconds = notebook.metadata.get("seconds")
    day, night = (
        HtmlFormatter(style=style).get_style_defs(".highlight")
        for style in ("default", "github-dark")
    )
    page = render(
        "notebook.html", title=executed.stem.replace("_", " "), body=body, colours=day, night=night,
        minutes="" if seconds is None else f"ran for {seconds:.0f} s",
    )  # fmt: skip
    write_atomic(target, page)


def with_mathml(markdown: str) -> str:
    """Replace ``$…$`` and ``$$…$$`` outside code by MathML; what cannot be read stays as it is."""
    from latex2mathml.converter import convert

    def replace(found: re.Match[str]) -> str:
        display = found[1] is not None
        try:
            return convert(found[1] or found[2], display="block" if display else "inline")
        except Exception:  # the converter has no error of its own; the formula stays readable
            return found[0]

    pieces = _CODE.split(markdown)
    return "".join(p if i % 2 else _MATH.sub(replace, p) for i, p in enumerate(pieces))
