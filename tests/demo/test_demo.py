"""The page without Python, in headless Chromium: its masks are those of Python."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import browser
import numpy as np
import pytest
from browser import ARTEFACTS, Canvas
from PIL import Image
from skimage import data as photographs

from nseg_lib.arrays import Mask, sureness, unsure
from nseg_lib.data.masks import STROKES_FORMAT, parse_strokes
from nseg_lib.data.outputs import cutout
from nseg_lib.demo.build import build
from nseg_lib.networks.weights import PRETRAINED, shipped
from nseg_lib.refine import Refiner
from nseg_lib.strokes.drawing import within
from nseg_lib.widget.answers import mask_of, replay
from nseg_lib.widget.results import editable_outline

pytestmark = [
    browser.NEEDED,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm fetches onnxruntime-web"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served as any static files are; its address."""
    out = tmp_path_factory.mktemp("site")
    try:
        build(out, shipped(PRETRAINED[0]), print)
    except ValueError as error:
        if "npm could not fetch" in str(error):
            pytest.skip(str(error))
        raise

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(out))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


IMAGE = photographs.astronaut()[:400]


@contextlib.contextmanager
def visit(chromium, site: str, folder: Path, **options) -> Iterator[Canvas]:
    """The page with a picture; neither an error nor another host may come of the visit."""
    # The tests evaluate strings.
    context = browser.new_context(chromium, bypass_csp=True, **options)
    page, failures = context.new_page(), []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda m: failures.append(m.text) if m.type == "error" else None)
    page.goto(site)
    page.wait_for_selector(".nseg-stage")
    canvas = Canvas(page)
    Image.fromarray(IMAGE).save(folder / "photo.png")
    with page.expect_file_chooser() as chooser:
        canvas.root.locator(".nseg-empty").get_by_role("button").click()
    chooser.value.set_files(folder / "photo.png")
    canvas.shows("status", "512 × 400")
    yield canvas
    assert failures == []
    assert context.refused == [], "no other host is asked"
    context.close()


def mask_of_page(canvas: Canvas, folder: Path) -> Mask:
    shown = Image.open(io.BytesIO(canvas.save("mask", folder).read_bytes()))
    mask: Mask = np.asarray(shown.convert("L")) > 0
    return mask


def test_a_finger_draws_a_box_and_puts_the_outline_right(site, chromium, tmp_path: Path) -> None:
    with visit(chromium, site, tmp_path, **browser.PHONE) as canvas:
        canvas.do("box")
        canvas.finger((150, 10), (300, 200), (440, 395))
        canvas.do("object")
        canvas.finger((225, 60), (215, 180), (200, 330))
        canvas.wait(3)
        drawn = canvas.pixels("mask")[..., 3] > 0
        assert drawn.any()
        assert not drawn[:, : 140 * drawn.shape[1] // 512].any(), "only in the box"
        browser.put_right_by_touch(canvas)


def test_a_key_asks_for_more_and_for_less(canvas, tmp_path: Path) -> None:
    canvas.draw((180, 250), (240, 330))
    canvas.wait(2)
    refiner, masks = Refiner.from_pretrained(), []
    for revision, said in ((2, ""), (3, "more was asked for"), (4, "less was asked for"), (5, "")):
        if revision > 2:
            canvas.press("e")
            canvas.wait(revision)
        canvas.shows("status", said or "% sure")
        assert said or "asked for" not in canvas.root.locator(".nseg-status").inner_text()
        strokes = json.loads(canvas.save("strokes", tmp_path).read_bytes())["strokes"]
        masks.append(mask_of_page(canvas, tmp_path))
        # A stroke that leaves room for several answers lets small differences grow.
        assert (masks[-1] != mask_of(refiner, IMAGE, strokes)[0]).mean() < 0.03
    first, more, less, again = masks
    assert less.sum() < first.sum() < more.sum()
    assert (again == first).all()
    canvas.press("z")
    canvas.wait(6)
    assert (mask_of_page(canvas, tmp_path) == less).all()


def test_an_outline_encloses_its_mask(canvas) -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random((9, 14)) > 0.4, np.ones((1, 1), bool), rng.random((30, 20)) > 0.8):
        height, width = mask.shape
        rings = canvas.page.evaluate(
            "async (given) => (await import('/results.js')).outline(...given)",
            [mask.ravel().astype(int).tolist(), width, height],
        )
        assert (within([np.array(ring)[:, :2] for ring in rings], height, width) == mask).all()
        assert all(sum(radius == 1 for _, _, radius in ring) >= 3 for ring in rings)


@pytest.fixture
def canvas(site, chromium, tmp_path: Path) -> Iterator[Canvas]:
    with visit(chromium, site, tmp_path) as found:
        yield found


def test_masks_in_the_browser_are_python_s(canvas, tmp_path: Path) -> None:
    image = IMAGE
    refiner, before = Refiner.from_pretrained(), None
    steps = [
        (
            "left",
            [(225, 60), (215, 180), (150, 330)],
        ),  # the person whole: a part leaves room to doubt
        ("left", [(200, 300), (240, 390)]),
        ("right", [(60, 100), (60, 300)]),
        ("box", [(70, 5), (420, 395)]),
    ]
    for revision, (button, points) in enumerate(steps, 2):
        if button == "box":
            canvas.press("4")
        canvas.draw(*points, button=button if button == "right" else "left")
        canvas.wait(revision)
        saved = json.loads(canvas.save("strokes", tmp_path).read_bytes())
        strokes = saved["strokes"]
        assert len(strokes) == revision - 1
        assert saved.get("steps", [1]) == list(range(1, revision))
        mask = mask_of_page(canvas, tmp_path)
        before, _, probability = mask_of(refiner, image, strokes, before, with_probability=True)
        assert probability is not None
        assert (mask != before).mean() < 0.001, button
        canvas.shows("status", f"{round(100 * sureness(probability, before))} % sure")
    # So is what the page hatches.
    canvas.press("u")
    canvas.shows("note", "Not sure where hatched")
    hatched, theirs = canvas.hatched(), unsure(probability)
    assert (hatched & ~theirs).sum() < 0.02 * hatched.sum()
    assert 0.3 * theirs.sum() < hatched.sum() < 0.5 * theirs.sum()
    canvas.page.screenshot(path=ARTEFACTS / "demo.png")
    cut = np.asarray(Image.open(canvas.save("cutout", tmp_path)))
    expected = cutout(image, mask)
    assert cut.shape == expected.shape
    assert (cut != expected).any(axis=2).mean() < 0.001
    canvas.press("z")
    canvas.wait(6)
    assert canvas.state()["strokes"] == 3
    # What was saved becomes the same mask again, here and in Python.
    three = mask_of_page(canvas, tmp_path)
    path = canvas.save("strokes", tmp_path)
    canvas.page.reload()
    with canvas.page.expect_file_chooser() as chooser:
        canvas.root.locator(".nseg-empty").get_by_role("button").click()
    chooser.value.set_files(tmp_path / "photo.png")
    canvas.shows("status", "512 × 400")
    canvas.root.locator("input[type=file]").set_input_files(path)
    canvas.wait(2)
    assert (mask_of_page(canvas, tmp_path) == three).all()
    drawn = parse_strokes(path.read_bytes(), 400, 512)
    assert (replay(refiner, image, *drawn) != three).mean() < 0.001
    # An outline that was put right by hand is the mask, here too.
    bright = mask & (image[..., 0] > 99)
    rings = [{"kind": "outline", "points": points} for points in editable_outline(bright)]
    drawing = {"format": STROKES_FORMAT, "width": 512, "height": 400, "strokes": rings}
    (tmp_path / "outline.json").write_text(json.dumps(drawing))
    canvas.root.locator("input[type=file]").set_input_files(tmp_path / "outline.json")
    canvas.wait(3)
    assert (mask_of_page(canvas, tmp_path) == bright).all()
