"""The page of a report: every table and figure, and no link that leads nowhere."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbformat import v4

from nseg_lib.provenance import PROJECT
from reproduction import profiles
from reproduction.claim_rows import claim_rows, counted
from reproduction.exhibits import EXHIBITS
from reproduction.page import write_page
from reproduction.words import render

CODE = "print('hello')"
TEXT = "Of $x^2$; next: [03](03_unet.ipynb#a-b), [no](x.ipynb). It costs $5 or $6, `$a$`."


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed report of a profile with one executed notebook; Figure 3 is not made yet."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "workflow" / "profiles", root / "workflow" / "profiles")
    report = root / "reports" / "half"
    for folder in ("tables", "figures"):
        shutil.copytree(PROJECT / "reports" / "half" / folder, report / folder)
    for name in ("paper.yml", "limitations.md"):
        shutil.copy(PROJECT / "reports" / name, root / "reports")
    for path in (report / "figures").glob("figure3.*"):
        path.unlink()
    output = v4.new_output("stream", text="hello there")
    cells = [v4.new_markdown_cell(TEXT), v4.new_code_cell(CODE, outputs=[output])]
    executed = report / "notebooks" / "02_strokes.ipynb"
    executed.parent.mkdir()
    nbformat.write(v4.new_notebook(cells=cells), executed)
    record = {"finished": "2030-05-03T09:30:00+00:00", "seconds": 61.2, "device": "a machine"}
    record |= {"commit": "0123456789", "dirty": True, "python": "3.12", "packages": {"torch": "9"}}
    executed.with_name(f"{executed.name}.json").write_text(json.dumps(record))
    write_page(root, profiles.load(root, "half"))
    return report


def test_every_exhibit_has_its_words() -> None:
    printed = yaml.safe_load((PROJECT / "reports" / "paper.yml").read_text())
    words = yaml.safe_load(render("captions.yml", printed=printed, numbers={}))
    assert list(words["exhibits"]) == [exhibit.name for exhibit in EXHIBITS]
    for name, caption in words["exhibits"].items():
        assert caption.keys() - {"paper"} == {"label", "title", "text"}, name
    assert not words["facts"]


def test_the_page_shows_every_exhibit_and_leads_nowhere_else(out: Path) -> None:
    page = (out / "index.html").read_text()
    for label in ("Table 1", "Table 2", *(f"Figure {k}" for k in range(1, 8))):
        assert f"<h2>{label}. " in page
    for exhibit in EXHIBITS:
        assert f'<section id="{exhibit.name}">' in page
    assert ">identity: the stroke unchanged</td>" in page
    assert ' class="number" data-label="IoU: paper">0.861</td>' in page
    assert "Not the paper&#39;s setting" in page
    assert "mean 579.4, median 640" in page
    assert page.count("Not made yet: chapter 06_two_residuals makes it.") == 1
    assert "3 May 2030, 09:30 UTC" in page
    for cell in ("61", "2030-05-03 09:30", "a machine", "01234567 +"):
        assert f">{cell}</td>" in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) > 20
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page
        elif not link.startswith("http"):  # of the limitations, in words
            assert (out / link).is_file(), link
    assert re.findall(r"(?:src|url)\W{1,2}\s*(?:https?:)?//", page) == []
    assert "<script" not in page


def test_the_claims_are_one_row_per_statement_with_a_short_reason(out: Path) -> None:
    rows = claim_rows(out / "tables" / "claims.csv")
    every = [row for first in rows for row in (first, *first.secondary)]
    assert len(every) == len(pd.read_csv(out / "tables" / "claims.csv"))
    assert all(len(row.reason.split()) <= 8 for row in every)
    assert all("test" in row.details and "made from" in row.details for row in every)
    # Counted as claimed: depth is said to hurt, and the paper's numbers say so.
    depth = next(row for row in rows if "depth hurts" in row.claim)
    assert depth.paper == "+0.0077"
    assert depth.picture is not None
    _, printed = depth.picture.marks
    assert printed.dot > depth.axis.zero == 50
    line = counted(rows)
    assert line.startswith(f"Of {len(rows)} claims, ")
    assert sum(map(int, re.findall(r"\d+", line)[1:])) == len(rows)
    page = (out / "index.html").read_text()
    assert line in page
    assert page.count('class="claim" role="row"') == len(rows)


def test_the_claims_are_made_from_their_results_alone(out: Path, tmp_path: Path) -> None:
    results = pd.read_csv(out / "tables" / "claims.csv", dtype={"section": str})
    results.loc[results["claim"] == "depth", ["ours_mean", "ours_low", "ours_high"]] = 0.3, 0.1, 0.4
    results.to_csv(tmp_path / "claims.csv", index=False)
    depth = next(row for row in claim_rows(tmp_path / "claims.csv") if "depth hurts" in row.claim)
    assert depth.ours == "-0.3000 [-0.4000, -0.1000] IoU", "counted as claimed"
    assert depth.picture is not None
    ours = depth.picture.marks[0]
    assert ours.low < 5, "the lowest of all ends"
    assert ours.low < ours.dot < ours.high < 50
    first = "difference, first network less second [95 %]"
    assert depth.details[first] == "+0.3000 [+0.1000, +0.4000]"


def test_beside_the_page_lies_a_text_with_its_figures_and_tables(out: Path) -> None:
    text = (out / "README.md").read_text()
    assert "**Not the paper's setting" in text
    assert "- **0.7903** IoU of the stroke unchanged, on 146 test pictures" in text
    assert "## Figure 1. Widths and heights of the pictures\n\n![" in text
    assert "Not made yet: chapter 06_two_residuals makes it." in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {"tables/claims.md", "tables/table1.md", "figures/spread.png"} <= {*links}
    for link in links:
        assert (out / link).is_file(), link


def test_an_executed_notebook_is_a_page_without_anything_from_elsewhere(out: Path) -> None:
    page = (out / "notebooks" / "02_strokes.html").read_text()
    assert "hello there" in page
    assert "<msup>" in page
    assert 'href="03_unet.html#a-b"' in page
    assert 'href="x.ipynb"' in page
    assert "It costs $5 or $6" in page
    assert "<code>$a$</code>" in page
    assert "<script" not in page
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", page) == []
