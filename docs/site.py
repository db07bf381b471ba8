"""Make the pages of the course's site: ``make site``.

Executed chapters, stripped ones for a class, tables, model cards, the teacher's notes and the
library's docstrings go into ``site/pages``; MkDocs makes ``site/html`` of them. A chapter is
executed again when its notebook is younger than its executed copy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from nseg_lib.provenance import project_root
from reproduction import notebooks, profiles
from reproduction.webpages import with_mathml

API = {
    "Refining": ["nseg_lib.refine", "nseg_lib.prompt"],
    "Strokes": ["nseg_lib.strokes.recipes", "nseg_lib.strokes.drawing"],
    "Networks": ["nseg_lib.networks.unet", "nseg_lib.networks.residual"],
    "Attention": ["nseg_lib.networks.attention", "nseg_lib.networks.inputs"],
    "Training": ["nseg_lib.training.losses", "nseg_lib.training.unet"],
    "Metrics": ["nseg_lib.evaluation.metrics", "nseg_lib.evaluation.summary"],
    "Data": ["nseg_lib.data.coco", "nseg_lib.data.masks"],
}
"""Page → the modules whose docstrings it shows."""

SECONDS = 600
"""Limit of a chapter."""

STYLE = """.md-grid { max-width: 70rem; }
.md-typeset table:not([class]) { display: block; overflow-x: auto; }
.jupyter-wrapper img { max-width: 100%; height: auto; }
.jupyter-wrapper .jp-RenderedHTMLCommon table { display: block; overflow-x: auto; }
"""
"""Pictures shrink to the page; a wide table scrolls within itself and not the page."""


def execute(root: Path, name: str, folder: Path) -> Path:
    """The executed copy of a chapter, made anew where the chapter is younger."""
    source, target = root / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        print(f"running {name}", flush=True)
        declared = notebooks.read_parameters(notebooks.read_cells(source), name)
        given = {"out": str(folder.parent / "report")} if "out" in declared else {}
        where = {"cwd": source.parent, "failed": folder.parent / "failed"}
        notebooks.run(source, target, given, limit=SECONDS, say=lambda line: None, **where)
    return target


def main() -> int:
    root = project_root()
    site, pages = root / "site", root / "site" / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    for folder in ("course", "class", "tables", "api"):
        (pages / folder).mkdir(parents=True)
    (site / "executed").mkdir(exist_ok=True)

    # The chapters with their outputs, and without them for a class.
    chapters = []
    for name in profiles.chapters(root):
        notebook = nbformat.read(execute(root, name, site / "executed"), as_version=4)
        for cell in (c for c in notebook.cells if c.cell_type == "markdown"):
            cell.source = with_mathml(cell.source)  # browsers draw it by themselves
        nbformat.write(notebook, pages / "course" / f"{name}.ipynb")
        heading = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        chapters.append({heading: f"course/{name}.ipynb"})
        shutil.copy(root / "notebooks" / f"{name}.ipynb", pages / "class" / f"{name}.ipynb.txt")
    files = sorted((pages / "class").iterdir())
    (pages / "class" / "index.md").write_text(
        "# Chapters without outputs\n\n"
        "For a class. Save a file and remove `.txt` from its name.\n\n"
        + "".join(f"- [{path.name.removesuffix('.txt')}]({path.name})\n" for path in files)
    )

    # Tables, cards, notes and docstrings. Links that lead out of the site become plain words.
    for table in sorted((root / "reports" / "half" / "tables").glob("*.md")):
        text = f"# {table.stem}\n\n{words(table.read_text())}"
        (pages / "tables" / table.name).write_text(text)
    texts = {"models.md": "nseg_lib/weights/README.md", "teaching.md": "docs/teaching.md"}
    for name, source in texts.items():
        (pages / name).write_text(words((root / source).read_text()))
    for heading, modules in API.items():
        body = "\n\n".join(f"::: {module}" for module in modules)
        (pages / "api" / f"{heading.lower()}.md").write_text(f"# {heading}\n\n{body}\n")
    (pages / "wide.css").write_text(STYLE)
    (pages / "index.md").write_text(
        "# nseg\n\n"
        "A course in coarse-mask refinement: a person brushes roughly over an object, and a small "
        "network makes a precise mask of it.\n\n"
        "[Begin with the canvas](course/00_draw_first.ipynb){ .md-button .md-button--primary } "
        "[For teachers](teaching.md){ .md-button }\n\n"
        "The pages show executed chapters. To draw and to run cells, install the project and open "
        "`notebooks/` in JupyterLab.\n"
    )
    nav = [{"nseg": "index.md"}, {"Course": chapters}, {"For teachers": "teaching.md"}]
    nav += [{"Chapters without outputs": "class/index.md"}, {"Models": "models.md"}]
    nav += [{"Tables": [f"tables/{p.name}" for p in sorted((pages / "tables").iterdir())]}]
    nav += [{"Library": [f"api/{p.name}" for p in sorted((pages / "api").iterdir())]}]
    settings = (root / "docs" / "mkdocs.yml").read_text()
    (site / "mkdocs.yml").write_text(settings + yaml.safe_dump({"nav": nav}, sort_keys=False))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run([*command, "--config-file", str(site / "mkdocs.yml")]).returncode
    if not done:
        print(f"made {site / 'html' / 'index.html'}")
    return done


def words(markdown: str) -> str:
    """Markdown without links to files of the repository; those to the web and to headings stay."""
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)[^)]*\)", r"\1", markdown)


if __name__ == "__main__":
    raise SystemExit(main())
