"""The project's web pages in a real browser: they fit a phone, and all can read them.

One small executed chapter stands in for the course. Needs ``pip install '.[site]'``, as ``make
site`` does; CI installs it.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import pytest
from accessibility import faults
from browser import NEEDED
from nbformat import v4
from PIL import Image

from nseg_lib.provenance import PROJECT

pytest.importorskip("mkdocs_jupyter", reason="pip install '.[site]' brings MkDocs")
pytestmark = NEEDED

CODE = """total = 0.5  # a comment
for name in ("a", "b"):
    if name is not None:
        total += len(name)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, made by ``docs/site.py`` of the project's own texts."""
    root = tmp_path_factory.mktemp("project")
    for name in ("nseg_lib", "reproduction", "reports", "data"):
        (root / name).symlink_to(PROJECT / name)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / name, root)
    shutil.copytree(PROJECT / "docs", root / "docs")
    # A chapter with a code cell, three panels side by side, and a small picture.
    outputs = []
    for width in (1068, 300):
        png = io.BytesIO()
        Image.new("RGB", (width, 300), "grey").save(png, "png")
        picture = {"image/png": base64.b64encode(png.getvalue()).decode()}
        notes = {"image/png": {"alt": f"{width} pixels of grey."}}
        outputs.append(v4.new_output("display_data", picture, metadata=notes))
    for place, shown in (("notebooks", []), ("site/executed", outputs)):
        text = v4.new_markdown_cell("# One chapter\n\nSee [this one](00_one.ipynb).")
        cells = [text, v4.new_code_cell(CODE, outputs=shown)]
        (root / place).mkdir(parents=True)
        nbformat.write(v4.new_notebook(cells=cells), root / place / "00_one.ipynb")
    command = [sys.executable, "docs/site.py"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # --strict: no link leads nowhere
    return root / "site" / "html"


PAGES = ("index", "course/00_one", "guides/refine", "models", "api/networks", "tables/table1b")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_all_can_read_them(chromium: Any, site: Path, scheme: str) -> None:
    view = {"width": 390, "height": 844}
    context = chromium.new_context(viewport=view, color_scheme=scheme, offline=True)
    for name in PAGES:
        page = context.new_page()
        page.goto((site / f"{name}.html").as_uri())
        page.wait_for_function(
            "!document.querySelector('.md-typeset table:not([class])')"
            " || document.querySelector('.md-typeset__scrollwrap')"
        )
        whole = "e => e.scrollWidth <= e.clientWidth"
        assert page.locator("html").evaluate(whole), name
        assert faults(page) == [], name
        page.close()
    context.close()


def test_a_class_gets_notebooks_without_outputs_to_save(site: Path) -> None:
    assert '<a download href="00_one.ipynb"' in (site / "class" / "index.html").read_text()
    handed_out = nbformat.read(site / "class" / "00_one.ipynb", as_version=4)
    assert [cell.get("outputs", []) for cell in handed_out.cells] == [[], []]


def test_the_librarys_pages_have_no_roles_of_sphinx(site: Path) -> None:
    pages = {path.stem: path.read_text() for path in (site / "api").glob("*.html")}
    assert "make_stroke</code> seeds" in pages["strokes"]
    assert [name for name, text in pages.items() if re.search(r":[a-z]+:\s?<code>", text)] == []


def test_no_link_leads_nowhere(site: Path) -> None:
    lost = []
    for page in site.rglob("*.html"):
        for link in re.findall(r'<a [^>]*href="([^"#:?]+)["#?]', page.read_text()):
            if page.name != "404.html" and not (page.parent / unquote(link)).exists():
                lost.append((page.name, link))
    assert lost == []


def test_panels_keep_their_size_on_a_phone(chromium: Any, site: Path) -> None:
    for width, shown in ((390, 1068), (1366, 800)):
        page = chromium.new_page(viewport={"width": width, "height": 844})
        page.goto((site / "course/00_one.html").as_uri())
        wide, small = page.locator(".jp-OutputArea-output img").all()
        assert abs(wide.bounding_box()["width"] - shown) < 30
        assert small.bounding_box()["width"] == 300
        box = wide.locator("..")
        assert box.evaluate("e => e.scrollWidth > e.clientWidth") == (width == 390)
        assert box.get_attribute("tabindex") == "0", "reached by the keyboard"
        page.goto((site / "models.html").as_uri())
        failures = page.locator("article img").first
        assert failures.bounding_box()["width"] == 792
        page.close()
