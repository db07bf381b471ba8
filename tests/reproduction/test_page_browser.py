"""The page of a report in a real browser: it fits a laptop and a phone, and all can read it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from accessibility import faults
from browser import NEEDED

from nseg_lib.provenance import PROJECT
from reproduction import profiles
from reproduction.page import write_page

pytestmark = NEEDED
SIZES = {"laptop": (1366, 768), "phone": (390, 844)}

SIDEWAYS = """() => [...document.querySelectorAll('*')].filter(e => {
    if (e === document.documentElement) return e.scrollWidth > e.clientWidth;
    const scrolls = ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
    return scrolls && e.clientWidth && e.scrollWidth > e.clientWidth + 1;
}).map(e => e.tagName.toLowerCase() + ' in ' + (e.closest('section')?.id ?? 'the page'))"""
"""What of a page can be scrolled sideways."""

WRITTEN = """id => [...document.querySelectorAll(`#${id} *`)]
    .filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.data?.trim()))
    .map(e => parseFloat(getComputedStyle(e).fontSize))"""
"""The sizes of the letters that are seen in a section."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the committed report."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "workflow" / "profiles", root / "workflow" / "profiles")
    for folder in ("tables", "figures"):
        place = Path("reports", "half", folder)
        shutil.copytree(PROJECT / place, root / place)
    for name in ("paper.yml", "limitations.md"):
        shutil.copy(PROJECT / "reports" / name, root / "reports")
    return write_page(root, profiles.load(root, "half")).as_uri()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_and_all_can_read_it(
    chromium: Any, address: str, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    view = {"width": width, "height": height}
    context = chromium.new_context(viewport=view, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.goto(address)
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate(SIDEWAYS) == []
    assert faults(page) == []
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_forest_can_be_read_and_stands_alone_on_a_phone(
    chromium: Any, address: str, size: str
) -> None:
    width, height = SIZES[size]
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.goto(address)
    for section in ("forest", "table1b"):
        assert min(page.evaluate(WRITTEN, section)) >= 11
    drawn = pd.read_csv(PROJECT / "reports" / "half" / "figures" / "forest.csv")
    rows = page.locator("#forest .row:has(.name)")
    assert rows.count() == len(drawn)
    for row, shown in zip(drawn.to_dict("records"), rows.all(), strict=True):
        assert row["verdict"] in shown.inner_text()
        said = shown.get_by_role("img").get_attribute("aria-label")
        assert f"{row['ours']:+.4f} [{row['ours_low']:+.4f}, {row['ours_high']:+.4f}]" in said
        # The dot lies on the side of 0 that the number says, and no mark leaves the picture.
        places = [shown.locator(f"i.{name}").bounding_box()["x"] for name in ("dot.ours", "zero")]
        assert (places[0] > places[1] - 5) if row["ours"] > 0 else (places[0] < places[1] + 5)
        frame = shown.get_by_role("img").bounding_box()
        for mark in shown.locator(".line").all():
            box = mark.bounding_box()
            assert frame["x"] <= box["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    row = page.locator("#table1b tbody tr").nth(4)
    name, picture = (row.locator(part).bounding_box() for part in ("td:first-child", ".drawn"))
    more = row.locator(".more").first
    if size == "phone":
        assert picture["width"] > 340
        assert picture["y"] >= name["y"] + name["height"]
        assert not more.is_visible()
        page.get_by_text("show all numbers").click()
    else:
        assert picture["x"] > name["x"] + name["width"]
        assert picture["width"] > 280
    assert more.is_visible()
    page.close()


def test_a_claim_opens_by_the_keyboard(chromium: Any, address: str) -> None:
    page = chromium.new_page()
    page.goto(address)
    fold = page.locator(".claim details").first
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.get_by_text("made from").first.is_visible()
