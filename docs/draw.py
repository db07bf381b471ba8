"""The strip of screenshots of the guides: the canvas after each step, with the package's network.

    python docs/draw.py

brushes over NASA's public-domain portrait in a headless browser, as a visitor of the canvas does,
and writes ``docs/draw.jpg`` again. Run it after a change of how the canvas looks, and look at the
picture: the guide describes its panels. It needs the extras ``course`` and ``dev`` (``make setup``)
and the system's package ``chromium``. It takes about a minute.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from skimage import data

from nseg_lib.files import write_atomic

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import browser

STRIP = Path(__file__).with_name("draw.jpg")
GAP = 12  # pixels between two panels
MOST_BYTES = 200_000

# Strokes with the canvas's own brush, through points (x, y) in pixels of the portrait.
FACE = ((240, 85), (205, 140))
SUIT = ((110, 330), (200, 340), (300, 330))
FLAG = ((22, 165), (62, 245))
WALL = ((120, 30), (150, 110))


def shots(page: Any) -> list[Image.Image]:
    """Screenshots of the canvas after each step of a drawing, each with its newest mask."""
    canvas = browser.Canvas(page)
    taken = []

    def shoot() -> None:
        page.mouse.move(2, 2)  # the brush's ring is not to lie on the picture
        page.wait_for_timeout(500)  # the mask is painted, and buttons have changed their colour
        taken.append(Image.open(io.BytesIO(canvas.root.screenshot())).convert("RGB"))

    # Each stroke is another revision, the picture itself is 1. The first stroke waits until the
    # network is loaded, so it is undone.
    canvas.wait(1)
    canvas.draw(*WALL)
    canvas.wait(2)
    canvas.press("z")
    canvas.wait(3)
    canvas.draw(*FACE)
    canvas.wait(4)
    shoot()
    canvas.draw(*SUIT)
    canvas.wait(5)
    shoot()
    page.emulate_media(color_scheme="dark")
    canvas.do("background")
    canvas.draw(*FLAG)
    canvas.wait(6)
    canvas.draw(*WALL)
    canvas.wait(7)
    shoot()
    canvas.do("cut-out")
    shoot()
    return taken


def joined(panels: list[Image.Image]) -> Image.Image:
    """Four panels of one size, two in a row."""
    width, height = panels[0].size
    strip = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for number, panel in enumerate(panels):
        row, column = divmod(number, 2)
        strip.paste(panel, (column * (width + GAP), row * (height + GAP)))
    return strip


def main() -> None:
    if browser.find_chromium() is None:
        raise SystemExit("no Chromium on this machine; install the system's package 'chromium'")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        portrait = folder / "portrait.png"
        Image.fromarray(data.astronaut()[:380]).save(portrait)
        command = [sys.executable, "-m", "nseg_lib.cli", "draw", str(portrait), "--no-browser"]
        chromium = playwright.chromium.launch(
            executable_path=browser.find_chromium(), args=browser.FLAGS
        )
        with browser.serving(command, folder) as (_, address):
            # Just wide enough for all tools in one row.
            size = {"width": 850, "height": 650}
            context = browser.new_context(chromium, viewport=size, bypass_csp=True)
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector(".nseg-stage")
            strip = joined(shots(page))
        chromium.close()
    file = io.BytesIO()
    strip.save(file, "JPEG", quality=48, optimize=True, progressive=True)
    if file.tell() > MOST_BYTES:
        raise SystemExit(f"{STRIP.name} would have {file.tell():,} bytes; {MOST_BYTES:,} at most")
    write_atomic(STRIP, file.getvalue())
    print(f"{STRIP}: {strip.width} × {strip.height}, {file.tell():,} bytes")


if __name__ == "__main__":
    main()
