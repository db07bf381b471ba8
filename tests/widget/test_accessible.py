"""The page of ``nseg draw`` on a laptop and a phone, light and dark: axe finds nothing to mend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from accessibility import faults
from browser import NEEDED, Canvas, environment, serving
from PIL import Image

pytestmark = NEEDED


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("draw")
    (folder / "photos").mkdir()
    for name in ("one", "two"):
        picture = np.full((120, 160, 3), 128, np.uint8)
        Image.fromarray(picture).save(folder / "photos" / f"{name}.png")
    command = [sys.executable, "-m", "reproduction.commands", "draw", str(folder / "photos")]
    command += ["--no-browser", "--no-model", "--category", "cat", "--category", "dog"]
    with serving(command, folder, env=environment(folder)) as (_, found):
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_all_can_use_the_drawing_page(
    chromium: Any, address: str, scheme: str, width: int, height: int
) -> None:
    view: Any = {"width": width, "height": height}
    context = chromium.new_context(viewport=view, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.locator("canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults(page) == []
    canvas = Canvas(page)
    canvas.wait(1)
    canvas.draw((40, 40), (90, 60))
    canvas.wait()
    for key in ("u", "6", "l", "?"):  # the hatching, the outline's points, the list, the keys
        canvas.press(key)
        assert faults(page) == [], key
    context.close()
