"""The drawing widget as an app: through Voilà, and `nseg annotate`.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time

import browser
import numpy as np
import pytest
from browser import ARTEFACTS, SET_UP, Canvas, iou, labels
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib.data.coco import rle_to_mask
from nseg_lib.strokes.drawing import rasterize

pytestmark = browser.NEEDED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("apps")


@contextlib.contextmanager
def app(command, folder):
    """Run a command that serves an app; its address, once it says it."""
    env = browser.environment(folder) | {"PYTHONUNBUFFERED": "1"}
    with (folder / "app.log").open("w+") as log:
        server = subprocess.Popen(
            command, env=env, stdout=log, stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 150
            while not (found := re.search(r"http://127\.0\.0\.1:\S+", read(log))):
                assert server.poll() is None, read(log)
                assert time.monotonic() < deadline, read(log)
                time.sleep(0.3)
            yield found[0]
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def read(file):
    file.seek(0)
    return file.read()


@pytest.fixture
def visitor(chromium):
    """A page in a fresh profile, as of an older browser: it has no coalesced events."""
    context = browser.new_context(chromium)
    page = context.new_page()
    page.add_init_script("delete PointerEvent.prototype.getCoalescedEvents")
    yield page
    html = page.content()  # Voilà's template asks for web fonts, and does without
    assert all(url.replace("%5E", "^") in html for url in context.refused), context.refused
    context.close()


def visit(page, address):
    page.goto(address, timeout=120_000)
    page.wait_for_selector(".nseg-stage", timeout=120_000)
    canvas = Canvas(page)
    canvas.wait(1)
    return canvas


def test_voila_draws_and_refines_without_showing_code(visitor, folder):
    page = visitor
    notebook = browser.write_notebook(folder / "app.ipynb", SET_UP, "canvas")
    command = [sys.executable, "-m", "nseg_lib.cli", "draw", str(notebook), "--no-browser"]
    with app(command, folder) as address:
        page.goto(address.split("?")[0])
        assert page.locator(".nseg").count() == 0  # not without the token
        draw_in_voila(page, visit(page, address), folder)


def draw_in_voila(page, canvas, folder):
    assert "import numpy" not in page.inner_text("body")
    canvas.draw((150, 150), (300, 200))
    assert canvas.wait(2)["strokes"] == 1
    canvas.press("3")
    canvas.draw((200, 100), (200, 300))
    assert labels(canvas.painted())[166, 200] == 0
    canvas.press("z")
    assert canvas.wait(4)["strokes"] == 1
    assert "mask" in canvas.root.locator(".nseg-status").inner_text()
    assert labels(canvas.painted())[166, 200] == 1
    canvas.press("Shift+Z")
    assert labels(canvas.painted())[166, 200] == 0
    canvas.press("z")
    canvas.press("1")
    canvas.press("[")
    canvas.draw((400, 300), (420, 320))
    assert canvas.wait(7)["strokes"] == 2
    canvas.press("2")
    canvas.draw((220, 130), (220, 220))
    canvas.wait(8)
    assert "takes no corrections" in canvas.root.locator(".nseg-note").inner_text()
    assert page.locator(".jp-RenderedImage img:visible").count() == 0
    page.screenshot(path=ARTEFACTS / "voila.png")
    for what in ("mask", "strokes"):
        canvas.do("save")
        with page.expect_download() as download:
            canvas.root.locator(f"[data-export='{what}']").click()
        download.value.save_as(folder / what)
    strokes = json.loads((folder / "strokes").read_text())["strokes"]
    assert [s["kind"] for s in strokes] == ["object", "object", "background"]
    assert strokes[1]["points"][0][2] < strokes[0]["points"][0][2]
    mask = np.asarray(Image.open(folder / "mask")) > 0
    drawn = rasterize(strokes, *mask.shape)
    assert mask[drawn.object].all()
    assert not mask[drawn.background].any()
    canvas.do("clear")
    assert canvas.wait(9)["strokes"] == 0
    canvas.root.locator("input[type=file]").set_input_files(
        {
            "name": "again.json",
            "mimeType": "application/json",
            "buffer": (folder / "strokes").read_bytes(),
        }
    )
    page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '3'")


def test_nseg_annotate_fills_a_coco_file(visitor, folder, tmp_path):
    for name in ("one", "two"):
        Image.fromarray(photographs.chelsea()).save(tmp_path / f"{name}.png")
    command = [sys.executable, "-m", "nseg_lib.cli", "annotate", str(tmp_path), "--no-browser"]
    with app([*command, "--category", "cat"], folder) as address:
        canvas = visit(visitor, address)
        place = canvas.root.locator(".nseg-place")
        canvas.draw((150, 100), (300, 150))
        canvas.wait(2)
        assert canvas.root.locator(".nseg-note").inner_text() == ""  # there is a model
        canvas.do("next")
        place.filter(has_text="2 of 2 · 1 done").wait_for()
        canvas.wait(1)
        canvas.draw((200, 100), (200, 200))
        place.filter(has_text="2 done").wait_for()
        canvas.press("a")
        place.filter(has_text="new").wait_for()
        canvas.wait(1)
        canvas.draw((350, 100), (350, 200))
        place.filter(has_text="2 of 2").nth(1).wait_for(state="attached")
        visitor.screenshot(path=ARTEFACTS / "annotate.png")
    coco = COCO(str(tmp_path / "annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat"]
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["image_id"] for a in annotations] == [1, 2, 2]
    for annotation in annotations:
        mask, brushed = coco.annToMask(annotation) > 0, rasterize(annotation["strokes"], 300, 451)
        assert 0 < iou(mask, brushed.object) < 1  # the package's own network refined it


def test_nseg_annotate_does_without_a_model(visitor, folder, tmp_path):
    Image.fromarray(photographs.chelsea()).save(tmp_path / "one.png")
    command = [sys.executable, "-m", "nseg_lib.cli", "annotate", str(tmp_path), "--no-browser"]
    with app([*command, "--no-model"], folder) as address:
        canvas = visit(visitor, address)
        canvas.draw((150, 100), (300, 150))
        canvas.root.locator(".nseg-note", has_text="the mask is what you brush").wait_for()
        canvas.root.locator(".nseg-place", has_text="1 done").wait_for()
    (annotation,) = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    mask = rasterize(annotation["strokes"], 300, 451).object
    assert (rle_to_mask(annotation["segmentation"]) == mask).all()


def test_nseg_annotate_names_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "nseg_lib.cli", "annotate", str(tmp_path / "nowhere")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "nowhere: no such folder" in ended.stderr
    assert "Traceback" not in ended.stderr
