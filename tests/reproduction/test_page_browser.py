"""The page of a report in a real browser: it fits a laptop and a phone, and all can read it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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


def test_a_claim_opens_by_the_keyboard(chromium: Any, address: str) -> None:
    page = chromium.new_page()
    page.goto(address)
    fold = page.locator(".claim details").first
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.get_by_text("made from").first.is_visible()
