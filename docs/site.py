"""Make the pages of the project's site: ``make site``.

Executed chapters, stripped ones for a class, guides, tables, model cards, the teacher's notes and
the library's docstrings go into ``site/pages``; MkDocs makes ``site/html`` of them. A chapter is
executed again when its code is not that of its executed copy. After a change of the library, remove
``site/executed``.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import yaml
from PIL import Image

from nseg_lib.provenance import project_root
from reproduction import notebooks, profiles
from reproduction.webpages import with_mathml

TEXTS = {
    "Guides": {
        "guides/refine.md": "docs/guides/refine.md",
        "guides/draw.md": "docs/guides/draw.md",
        "guides/train.md": "docs/guides/train.md",
        "guides/slurm.md": "docs/guides/slurm.md",
        "guides/many.md": "docs/guides/many.md",
        "contributing.md": "CONTRIBUTING.md",
        "onnx.md": "docs/onnx.md",
        "serve.md": "docs/serve.md",
    },
    "Background": {
        "guides/identity.md": "docs/guides/identity.md",
        "guides/refiner.md": "docs/guides/refiner.md",
        "models.md": "nseg_lib/weights/README.md",
        "data.md": "data/README.md",
        "limitations.md": "reports/limitations.md",
        "compare.md": "docs/compare.md",
        "performance.md": "docs/performance.md",
        "reliability.md": "docs/reliability.md",
        "changelog.md": "CHANGELOG.md",
    },
    "For teachers": {"teaching.md": "docs/teaching.md"},
}
"""Heading of the site → page → the file that has its text. A file that is missing is left out."""

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


def code_of(notebook: Any) -> list[Any]:
    """The code cells of a notebook, without the one that papermill put in."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def executed(root: Path, name: str, folder: Path) -> Any:
    """A chapter with its outputs; it is run where its code is not that of its executed copy."""
    source, target = root / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb"
    chapter = nbformat.read(source, as_version=4)
    ran = code_of(nbformat.read(target, as_version=4)) if target.exists() else []
    if [cell.source for cell in ran] != [cell.source for cell in code_of(chapter)]:
        print(f"running {name}", flush=True)
        declared = notebooks.read_parameters(notebooks.read_cells(source), name)
        given = {"out": str(folder.parent / "report")} if "out" in declared else {}
        where = {"cwd": source.parent, "failed": folder.parent / "failed"}
        notebooks.run(source, target, given, limit=SECONDS, say=lambda line: None, **where)
        ran = code_of(nbformat.read(target, as_version=4))
    for cell, of in zip(code_of(chapter), ran, strict=True):
        cell.outputs, cell.execution_count = of.outputs, of.execution_count
    return chapter


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
        notebook = executed(root, name, site / "executed")
        for cell in (c for c in notebook.cells if c.cell_type == "markdown"):
            # MkDocs looks at no link in a notebook: from here, another chapter is a page.
            cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb", r"](\1.html", cell.source)
            cell.source = with_mathml(cell.source)  # browsers draw it by themselves
        for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
            describe(output)
        nbformat.write(notebook, pages / "course" / f"{name}.ipynb")
        heading = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        chapters.append({heading: f"course/{name}.ipynb"})
        shutil.copy(root / "notebooks" / f"{name}.ipynb", pages / "class")
    files = sorted((pages / "class").iterdir())
    (pages / "class" / "index.md").write_text(
        "# Chapters without outputs\n\n"
        "For a class: notebooks to hand out and to work in, without any output. A click saves one; "
        "open it in JupyterLab, with nseg installed.\n\n"
        + "".join(f"- [{path.name}]({path.name}){{ download }}\n" for path in files)
    )

    # Guides, cards, notes and tables; a link to a file that is no page becomes plain words.
    texts = {
        page: source
        for group in TEXTS.values()
        for page, source in group.items()
        if (root / source).is_file()
    }
    tables = sorted((root / "reports" / "half" / "tables").glob("*.md"))
    texts |= {f"tables/{path.name}": path.relative_to(root).as_posix() for path in tables}
    at = {source: page for page, source in texts.items()}
    texts = {"index.md": "README.md"} | texts
    at |= {f"notebooks/{name}.ipynb": f"course/{name}.ipynb" for name in profiles.chapters(root)}
    for pattern in ("docs/*.jpg", "reports/refiner/worst/*.jpg", "reports/bench/*.png"):
        for picture in root.glob(pattern):
            shutil.copy(picture, pages / picture.name)
            at[picture.relative_to(root).as_posix()] = picture.name
    for page, source in texts.items():
        text = linked((root / source).read_text(encoding="utf-8"), source, page, at)
        if page.startswith("tables/"):
            text = f"# {Path(page).stem}\n\n{text}"
        (pages / page).parent.mkdir(exist_ok=True)
        (pages / page).write_text(text, encoding="utf-8")
    for heading, modules in API.items():
        body = "\n\n".join(f"::: {module}" for module in modules)
        (pages / "api" / f"{heading.lower()}.md").write_text(f"# {heading}\n\n{body}\n")
    for name in ("site.css", "site.js"):
        shutil.copy(root / "docs" / name, pages)
    groups = {name: [page for page in group if page in texts] for name, group in TEXTS.items()}
    nav: list[Any] = [{"nseg": "index.md"}, {"Course": chapters}]
    nav += [{"Chapters without outputs": "class/index.md"}]
    nav += [{name: group} for name, group in groups.items()]
    nav += [{"Tables": [page for page in texts if page.startswith("tables/")]}]
    nav += [{"Library": [f"api/{p.name}" for p in sorted((pages / "api").iterdir())]}]
    settings = (root / "docs" / "mkdocs.yml").read_text()
    (site / "mkdocs.yml").write_text(settings + yaml.safe_dump({"nav": nav}, sort_keys=False))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command += ["--config-file", str(site / "mkdocs.yml")]
    done = subprocess.run(command, env=quiet).returncode
    if not done:
        # Docstrings name things by roles of Sphinx, which are nothing to a reader; and what scrolls
        # must be reachable by the keyboard.
        for path in (site / "html").rglob("*.html"):
            text = path.read_text(encoding="utf-8")
            text = re.sub(r":(?:attr|class|data|exc|func|math|meth|mod):<code>~?", "<code>", text)
            for name in ("highlight-ipynb", "highlight"):
                text = text.replace(f'<div class="{name}', f'<div tabindex="0" class="{name}')
            path.write_text(text, encoding="utf-8")
        print(f"made {site / 'html' / 'index.html'}")
        print("its search needs a server: python -m http.server --directory site/html")
    return done


WIDE = 700
"""A picture wider than this, in pixels, has panels side by side, which a phone does not shrink."""


def describe(output: Any) -> None:
    """Give the picture of an output its description: ``alt``, which JupyterLab's pages drop.

    A wide picture gets the class ``panels``: on a phone it keeps its size and scrolls by itself.
    """
    data, notes = output.get("data", {}), output.get("metadata", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            alt = notes.get(kind, {}).get("alt", "The canvas: a picture with strokes and a mask.")
            width = Image.open(io.BytesIO(base64.b64decode(data[kind]))).width
            wide = ' class="panels"' if width > WIDE else ""
            picture = f"data:{kind};base64,{''.join(data[kind].split())}"
            data["text/html"] = f'<img{wide} alt="{html.escape(alt)}" src="{picture}">'
            del data[kind]


def linked(markdown: str, source: str, page: str, at: dict[str, str]) -> str:
    """The text of a page, with links to other pages of the site in place of those to files.

    Args:
        source: the file that the text is from, within the project.
        page: where it goes, within the site.
        at: file → page.
    """

    def replace(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        text = re.sub(pattern, replace, text)  # a picture that is a link
        if re.match(r"https?:|#|mailto:", target):
            return found[0]
        path, _, anchor = target.partition("#")
        there = at.get(os.path.normpath(os.path.join(os.path.dirname(source), path)))
        if there is None:
            return text
        way = os.path.relpath(there, os.path.dirname(page) or ".")
        # A picture that stands alone on its line is as wide as the page: on a phone, it scrolls.
        alone = mark and found.string[: found.start()].endswith("\n\n")
        panels = "{ .panels }" if alone else ""
        return f"{mark}[{text}]({way}{'#' + anchor if anchor else ''}){panels}"

    pattern = r"(!?)\[((?:!\[[^\]]*\]\([^)]*\)|[^\]])*)\]\(([^)\s]+)\)"
    return re.sub(pattern, replace, markdown)


if __name__ == "__main__":
    raise SystemExit(main())
