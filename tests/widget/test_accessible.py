"""The page of ``nseg draw`` on a laptop and a phone, light and dark: axe finds nothing to mend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from accessibility import faults
from browser import FLAGS, NEEDED, environment, find_chromium, serving
from PIL import Image

pytestmark = NEEDED


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("draw")
    photo = folder / "photo.png"
    Image.fromarray(np.full((120, 160, 3), 128, np.uint8)).save(photo)
    command = [sys.executable, "-m", "reproduction.commands", "draw", str(photo), "--no-browser"]
    with serving([*command, "--no-model"], folder, env=environment(folder)) as (_, found):
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_all_can_use_the_drawing_page(address: str, scheme: str, width: int, height: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        view: Any = {"width": width, "height": height}
        page = started.new_context(viewport=view, color_scheme=scheme).new_page()
        page.goto(address)
        page.locator("canvas").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert faults(page) == []
        started.close()
