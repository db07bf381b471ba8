"""The drawing widget in headless Chromium, through JupyterLab.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import base64
import io
import json
import os
import time
from pathlib import Path

import browser
import nbclient
import nbformat
import numpy as np
import pytest
from browser import ARTEFACTS, SET_UP, Canvas, Lab, iou, labels
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib.data.coco import rle_to_mask
from nseg_lib.strokes.drawing import rasterize

pytestmark = browser.NEEDED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def server(folder):
    browser.write_notebook(folder / "draw.ipynb", SET_UP, "canvas")
    with browser.jupyterlab(folder) as url:
        yield url


@pytest.fixture(scope="module")
def context(chromium, server):
    context = browser.new_context(chromium, has_touch=True)
    yield context
    assert context.refused == [], "no other host is asked"
    context.close()


@pytest.fixture(scope="module")
def lab(context, server):
    lab = Lab(context, server, "draw.ipynb")
    lab.errors = []
    lab.page.on("pageerror", lambda error: lab.errors.append(str(error)))
    lab.command("notebook:run-all-cells")
    lab.page.wait_for_selector(".nseg-stage")
    return lab


@pytest.fixture
def canvas(lab):
    """The canvas with a fresh picture, and nobody's settings."""
    lab.kernel(
        "canvas.session = None; canvas.refiner = Grower()\n"
        "canvas.brush, canvas.view, canvas.opacity = 'object', 'both', 0.6\n"
        "canvas.load(PICTURE); canvas.radius = 12; seen.clear()"
    )
    drawing = Canvas(lab.page)
    lab.page.wait_for_function(
        "() => { const d = document.querySelector('.nseg').dataset;"
        " return d.strokes === '0' && d.revision === '1' && d.answered === '1' }"
    )
    drawing.stage.scroll_into_view_if_needed()
    yield drawing
    assert lab.errors == []


STATE = "{'strokes': canvas.strokes, 'mask': mask_to_rle(canvas.mask), 'seen': seen}"


def test_the_browser_paints_what_python_rasterises(lab, canvas):
    canvas.draw((100, 100), (220, 140), (180, 300))
    canvas.press("]")
    canvas.press("]")
    canvas.draw((300, 200), (500, 260))
    canvas.press("2")
    canvas.draw((150, 60), (150, 260))
    canvas.press("3")
    canvas.page.mouse.wheel(0, 400)  # smaller
    canvas.draw((90, 130), (560, 260), steps=15)
    canvas.press("1")
    radius = canvas.root.locator("[aria-label^='Brush radius']")
    radius.fill("800")
    canvas.draw((480, 60))
    canvas.wait()
    found = lab.kernel("", STATE)
    radii = [stroke["points"][0][2] for stroke in found["strokes"]]
    assert [stroke["kind"] for stroke in found["strokes"]] == [
        "object", "object", "background", "erase", "object",
    ]  # fmt: skip
    assert radii[0] == 12 < radii[1]
    assert radii[3] < radii[1] < radii[4]
    painted = labels(canvas.painted())
    drawn = rasterize(found["strokes"], *painted.shape)
    assert painted.shape == (480, 512)
    assert iou(painted == 1, drawn.object) > 0.98
    assert iou(painted == 2, drawn.background) > 0.98


def test_zoomed_and_on_a_fine_screen_it_is_the_same(lab, context):
    """Twice the pixels a point, zoomed in and moved: the same vectors, the same mask."""
    session = context.new_cdp_session(lab.page)
    metrics = {"width": 1280, "height": 900, "deviceScaleFactor": 2, "mobile": False}
    session.send("Emulation.setDeviceMetricsOverride", metrics)
    lab.kernel("canvas.load(PICTURE[:300, :400]); canvas.radius = 9")
    canvas = Canvas(lab.page)
    canvas.wait()
    try:
        canvas.press("+")
        canvas.press("+")
        canvas.page.keyboard.down(" ")
        canvas.draw((200, 150), (220, 160))  # moves the picture
        canvas.page.keyboard.up(" ")
        canvas.draw((150, 100), (200, 180), (240, 120))
        state = canvas.wait(2)
        assert state["strokes"] == 1
        strokes = lab.kernel("", "canvas.strokes")
        painted = labels(canvas.painted()) == 1
        drawn = rasterize(strokes, 300, 400).object
        assert painted.shape == (600, 800)
        assert iou(painted, drawn.repeat(2, axis=0).repeat(2, axis=1)) > 0.95
        doubled = [{**s, "points": (2 * np.array(s["points"])).tolist()} for s in strokes]
        assert iou(painted, rasterize(doubled, 600, 800).object) > 0.98
        lab.page.screenshot(path=ARTEFACTS / "fine-screen.png")
    finally:
        session.send("Emulation.clearDeviceMetricsOverride")


def test_undo_redo_and_clear_have_no_end(lab, canvas):
    for row in range(6):
        canvas.draw((100, 60 + 50 * row), (300, 60 + 50 * row), steps=2)
    before = labels(canvas.painted())
    for _ in range(6):
        canvas.press("z")
    assert canvas.state()["strokes"] == 0
    assert not labels(canvas.painted()).any()
    assert canvas.root.locator("[data-do='undo']").is_disabled()
    for _ in range(3):
        canvas.press("Shift+Z")
    for _ in range(3):
        canvas.press("Control+Y")
    assert (labels(canvas.painted()) == before).all()
    canvas.do("clear")
    assert canvas.state()["strokes"] == 0
    canvas.do("undo")
    assert (labels(canvas.painted()) == before).all()
    canvas.do("undo")
    canvas.draw((400, 400), (450, 420))  # a new stroke ends what could be redone
    assert canvas.root.locator("[data-do='redo']").is_disabled()
    canvas.wait()
    assert len(lab.kernel("", "canvas.strokes")) == 6


def test_the_mask_follows_and_strokes_correct_it(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    first = lab.kernel("", STATE)
    mask = rle_to_mask(first["mask"])
    drawn = rasterize(first["strokes"], 480, 512).object
    assert (mask & drawn).sum() == drawn.sum() < mask.sum()
    cover = canvas.page.evaluate(
        """() => {
            const canvas = document.querySelector(".nseg-mask");
            const rgba = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            // Green is the mask; what is black is its outline's shade, and lies outside.
            return [...rgba.data].filter((v, i) => i % 4 === 1 && v > 100).length;
        }"""
    )
    assert cover == mask.sum()
    canvas.press("2")
    canvas.draw((220, 130), (220, 220))
    canvas.press("1")
    canvas.draw((400, 300), (420, 320))
    canvas.wait(4)
    found = lab.kernel("", STATE)
    corrected = rle_to_mask(found["mask"])
    assert found["strokes"][1]["correction"] is found["strokes"][2]["correction"] is True
    assert not corrected[rasterize(found["strokes"], 480, 512).background].any()
    assert corrected[rasterize(found["strokes"][2:], 480, 512).object].all()
    assert "takes no corrections" in canvas.root.locator(".nseg-note").inner_text()
    for view in ("stroke", "mask", "cut-out"):
        canvas.do(view)
        assert canvas.state()["view"] == view
        lab.page.screenshot(path=ARTEFACTS / f"view-{view}.png")
    assert lab.kernel("", "canvas.view") == "cut-out"


def test_results_are_saved_and_strokes_open_again(lab, canvas, folder):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    found = lab.kernel("canvas.name = 'flag.png'", STATE)
    mask = rle_to_mask(found["mask"])
    saved = {}
    for what in ("mask", "cutout", "rle", "polygon", "strokes"):
        canvas.do("save")
        with lab.page.expect_download() as download:
            canvas.root.locator(f"[data-export='{what}']").click()
        saved[what] = folder / download.value.suggested_filename
        download.value.save_as(saved[what])
        if what in ("rle", "polygon"):
            coco = COCO(str(saved[what]))
            assert iou(coco.annToMask(coco.loadAnns([1])[0]) > 0, mask) > 0.999
    assert ((np.asarray(Image.open(saved["mask"])) > 0) == mask).all()
    cutout = np.asarray(Image.open(saved["cutout"]))
    assert ((cutout[..., 3] > 0) == mask).all()
    canvas.do("clear")
    canvas.wait()
    canvas.root.locator("input[type=file]").set_input_files(saved["strokes"])
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '1'")
    canvas.wait()
    assert lab.kernel("", STATE)["strokes"] == found["strokes"]


def test_the_drawing_survives_a_reload_of_the_page(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    before = labels(canvas.painted())
    lab.command("docmanager:save")
    lab.open()
    lab.page.wait_for_selector(".nseg-stage")
    canvas.wait(2)
    assert (labels(canvas.painted()) == before).all()
    canvas.draw((150, 250), (300, 300))
    assert canvas.wait(3)["strokes"] == 2


def test_painting_never_waits_for_a_busy_kernel(lab, canvas):
    lab.start("time.sleep(5)")
    begun = time.monotonic()
    for row in range(3):
        y = 100 + 80 * row
        canvas.page.mouse.move(*canvas.at(100, y))
        canvas.page.mouse.down()
        canvas.page.mouse.move(*canvas.at(300, y), steps=5)
        assert labels(canvas.painted())[y, 200] == 1  # before the pen is lifted
        canvas.page.mouse.up()
    drawn_in = time.monotonic() - begun
    assert drawn_in < 4.5, "the strokes were to be drawn while the kernel is busy"
    assert canvas.state()["strokes"] == 3
    note = canvas.root.locator(".nseg-note")
    note.filter(has_text="the kernel is busy").wait_for()
    lab.finish()
    canvas.wait(4)
    assert note.inner_text() == ""
    found = lab.kernel("", STATE)
    assert len(found["strokes"]) == 3
    assert found["seen"][-1] == 3
    assert (rle_to_mask(found["mask"]) & rasterize(found["strokes"], 480, 512).object).any()


def test_a_stale_answer_is_dropped(lab, canvas, tmp_path):
    """While the model takes its time over one stroke, another is drawn."""
    lab.kernel(
        "from pathlib import Path\n"
        "class Slow(Grower):\n"
        "    def refine(self, image, stroke):\n"
        f"        while not Path({str(tmp_path / 'go')!r}).exists():\n"
        "            time.sleep(0.1)\n"
        "        return super().refine(image, stroke)\n"
        "canvas.refiner = Slow()"
    )
    canvas.draw((100, 100), (200, 100))
    lab.page.wait_for_timeout(500)
    canvas.draw((100, 200), (200, 200))
    canvas.draw((100, 300), (200, 300))
    (tmp_path / "go").touch()
    state = canvas.wait(4)
    assert state["dropped"] >= 1
    found = lab.kernel("", STATE)
    assert found["seen"] == [1, 3]  # the second never needed a mask of its own
    assert rle_to_mask(found["mask"])[300, 150]


def test_fingers_draw_pinch_and_pens_press(lab, canvas, context):
    session = context.new_cdp_session(lab.page)

    def touch(kind, *points):
        places = [dict(zip("xy", canvas.at(*p), strict=True)) | {"id": i} for i, p in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (0, (100, 100)))
    for step in range(1, 6):
        touch("touchMove", (0, (100 + 20 * step, 100)))
    touch("touchEnd")
    state = canvas.wait(2)
    assert state["strokes"] == 1
    assert labels(canvas.painted())[100, 150] == 1

    size = canvas.page.locator(".nseg-picture").bounding_box()["width"]
    touch("touchStart", (0, (200, 200)))
    touch("touchStart", (0, (200, 200)), (1, (260, 200)))
    for step in range(1, 5):
        x, y = canvas.at(200, 200)
        places = [{"x": x - 6, "y": y, "id": 0}, {"x": x + 90 + 10 * step, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": places})
    touch("touchEnd")
    assert canvas.page.locator(".nseg-picture").bounding_box()["width"] > 1.2 * size
    assert canvas.state()["strokes"] == 1  # two fingers draw nothing
    canvas.do("fit")

    def pen(kind, point, force):
        x, y = canvas.at(*point)
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        session.send("Input.dispatchMouseEvent", event | {"pointerType": "pen", "force": force})

    pen("mousePressed", (100, 300), 0.1)
    for step in range(1, 9):
        pen("mouseMoved", (100 + 20 * step, 300), 0.1 + 0.1 * step)
    pen("mouseReleased", (260, 300), 0)
    canvas.wait(3)
    radii = [r for _, _, r in lab.kernel("", "canvas.strokes[1]['points']")]
    assert radii[0] < 5 < 9 < max(radii) <= 12


def test_jupyters_shortcuts_do_not_act_on_the_canvas(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    cells = lab.page.locator(".jp-Notebook .jp-Cell").count()
    for key in ("d", "d", "x", "b", "z", "Enter", "Shift+Enter"):
        canvas.press(key)
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert canvas.state()["strokes"] == 0  # z undid the stroke
    canvas.press("?")
    assert canvas.root.locator(".nseg-help").is_visible()
    lab.page.screenshot(path=ARTEFACTS / "help.png")
    canvas.press("Escape")
    assert canvas.root.locator(".nseg-help").is_hidden()


def encoded(image, kind, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def give(canvas, how, name, data):
    """Drop or paste a file, with the event that the browser would send."""
    canvas.page.evaluate(
        """([how, name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
            const carried = { dataTransfer: data, clipboardData: data };
            const kind = how === "drop" ? DragEvent : ClipboardEvent;
            const event = new kind(how, { bubbles: true, cancelable: true, ...carried });
            document.querySelector(".nseg-stage").dispatchEvent(event);
        }""",
        [how, name, base64.b64encode(data).decode()],
    )


def test_pictures_are_uploaded_dropped_and_pasted(lab, canvas, tmp_path):
    status = canvas.root.locator(".nseg-status")
    big = np.kron(photographs.coffee(), np.ones((7, 7, 1), np.uint8))[:2600]
    assert big.shape[0] * big.shape[1] > 10_900_000
    (tmp_path / "phone.jpg").write_bytes(encoded(big, "JPEG"))
    canvas.root.locator("input[type=file]").set_input_files(tmp_path / "phone.jpg")
    status.filter(has_text=f"{big.shape[1]} × {big.shape[0]}").wait_for()
    canvas.draw((1500, 1000), (2500, 1400))
    canvas.wait(2)
    shape, strokes = lab.kernel("", "[canvas.mask.shape, canvas.strokes]")
    assert shape == list(big.shape[:2])
    painted = labels(canvas.painted()) == 1
    drawn = Image.fromarray(rasterize(strokes, *shape).object)
    scaled = np.asarray(drawn.resize(painted.shape[::-1], Image.Resampling.NEAREST))
    assert iou(painted, scaled) > 0.98
    lab.page.screenshot(path=ARTEFACTS / "phone.png")

    give(canvas, "drop", "cat.png", encoded(photographs.chelsea(), "PNG"))
    status.filter(has_text="451 × 300").wait_for()
    give(canvas, "paste", "grey.png", encoded(photographs.camera()[:200], "PNG"))
    status.filter(has_text="512 × 200").wait_for()
    give(canvas, "drop", "broken.jpg", b"\xff\xd8 not much of a picture")
    note = canvas.root.locator(".nseg-note", has_text="broken.jpg: not a readable picture")
    note.wait_for()
    assert "512 × 200" in status.inner_text()  # what was there stays
    lab.page.screenshot(path=ARTEFACTS / "broken.png")


ODD = {
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "a row": np.full((1, 5000, 3), 90, np.uint8),
    "a column": np.full((5000, 1), 90, np.uint8),
    "clear": np.full((60, 80, 4), (200, 90, 40, 0), np.uint8),
    "16 bits": np.linspace(0, 65535, 4800).reshape(60, 80).astype(np.uint16),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_shown_and_drawn_on(canvas, name):
    height, width = ODD[name].shape[:2]
    give(canvas, "drop", f"{name}.png", encoded(ODD[name], "PNG"))
    canvas.root.locator(".nseg-status", has_text=f"{width} × {height}").wait_for()
    canvas.wait(1)
    canvas.draw((width / 2, height / 2))
    assert canvas.wait(2)["strokes"] == 1
    assert canvas.root.locator(".nseg-note").inner_text() == ""
    assert (labels(canvas.painted()) == 1).any()
    canvas.page.screenshot(path=ARTEFACTS / f"odd-{name.replace(' ', '-')}.png")


def test_a_drawing_of_very_many_points_does_not_hang(lab, canvas):
    lab.kernel(
        "walk = np.random.default_rng(0).normal(0, 2, (200, 50, 2)).cumsum(1) + 200\n"
        "points = np.concatenate([walk, np.full((200, 50, 1), 3.0)], 2).tolist()\n"
        "canvas.strokes = [{'kind': 'object', 'points': each} for each in points]"
    )
    begun = time.monotonic()
    canvas.wait(2)
    canvas.draw((100, 100), (300, 300))
    canvas.wait(3)
    canvas.press("z")
    assert canvas.wait(4)["strokes"] == 200
    assert time.monotonic() - begun < 20


def test_an_empty_canvas_takes_a_file_or_the_clipboard(lab, canvas, context, tmp_path):
    lab.kernel("canvas._show(None, 'nothing', [])")
    empty = canvas.root.locator(".nseg-empty")
    empty.wait_for()
    lab.page.screenshot(path=ARTEFACTS / "empty.png")
    (tmp_path / "cat.png").write_bytes(encoded(photographs.chelsea(), "PNG"))
    with lab.page.expect_file_chooser() as chooser:
        empty.get_by_role("button").click()
    chooser.value.set_files(tmp_path / "cat.png")
    status = canvas.root.locator(".nseg-status")
    status.filter(has_text="451 × 300").wait_for()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.page.evaluate(
        """async () => {
            const size = { width: 300, height: 200 };
            const picture = Object.assign(document.createElement("canvas"), size);
            const blob = await new Promise((done) => picture.toBlob(done, "image/png"));
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }"""
    )
    cells = lab.page.locator(".jp-Notebook .jp-Cell").count()
    canvas.press("Control+V")
    status.filter(has_text="300 × 200").wait_for()
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_keys_pressed_while_a_picture_opens_change_none(lab, canvas, folder):
    pictures = folder / "quick"
    pictures.mkdir()
    for name, left in (("one", 0), ("two", 100)):
        photo = photographs.coffee()[:300, left : left + 400]
        Image.fromarray(photo).save(pictures / f"{name}.png")
    lab.kernel(f"canvas.session = FolderSession({str(pictures)!r})")
    place = canvas.root.locator(".nseg-place")
    for number in (1, 2):
        place.filter(has_text=f"{number} of 2").wait_for()
        canvas.wait()
        canvas.draw((100, 100 * number), (200, 100 * number))
        canvas.wait(2)
        canvas.press("n" if number == 1 else "p")
    place.filter(has_text="1 of 2").wait_for()
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '1'")
    canvas.wait()
    saved = (pictures / "annotations.json").read_text()
    canvas.draw((100, 150), (200, 150))  # something to undo
    canvas.wait(2)
    lab.page.evaluate(
        "() => { const decode = window.createImageBitmap, held = [];"
        " window.createImageBitmap = (...a) =>"
        " new Promise((go) => held.push(go)).then(() => decode(...a));"
        " window.letGo = () => { window.createImageBitmap = decode; held.forEach((go) => go()) } }"
    )
    canvas.press("n")
    place.filter(has_text="2 of 2").wait_for()
    for key in ("z", "Delete", "Backspace"):
        canvas.press(key)
    lab.page.evaluate("() => window.letGo()")
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.answered === '1'")
    lab.kernel("")
    first, second = json.loads((pictures / "annotations.json").read_text())["annotations"]
    assert second == json.loads(saved)["annotations"][1], "what was saved of the second picture"
    assert len(first["strokes"]) == 2
    canvas.press("Backspace")
    canvas.wait(2)
    lab.kernel("")
    assert len(json.loads((pictures / "annotations.json").read_text())["annotations"]) == 1


def test_a_picture_holds_several_objects(lab, canvas, folder):
    pictures = folder / "objects"
    pictures.mkdir()
    Image.fromarray(photographs.coffee()).save(pictures / "coffee.png")
    lab.kernel(f"canvas.session = FolderSession({str(pictures)!r}, category='cup')")
    place, category = (canvas.root.locator(f".nseg-{name}") for name in ("place", "category"))
    place.filter(has_text="1 of 1 · 0 done").wait_for()
    canvas.wait()
    assert category.input_value() == "cup"
    canvas.press("+")  # zoomed in, which is to stay
    width = canvas.page.locator(".nseg-picture").bounding_box()["width"]
    canvas.draw((250, 100), (330, 120))
    canvas.press("a")
    place.filter(has_text="new").wait_for()
    canvas.wait()
    assert canvas.state()["strokes"] == 0
    assert not labels(canvas.painted()).any()
    assert canvas.root.locator("[data-do='new-object']").is_disabled()
    category.fill("spoon")  # these keys are no shortcuts: n and p would leave the picture
    canvas.page.keyboard.press("Enter")
    canvas.draw((350, 300), (330, 320))
    place.filter(has_text="2 of 2").wait_for()
    canvas.wait()
    lab.page.screenshot(path=ARTEFACTS / "objects.png")
    canvas.press("Shift+O")
    place.filter(has_text="1 of 2").wait_for()
    canvas.wait()
    assert labels(canvas.painted())[100, 250] == 1
    assert category.input_value() == "cup"
    assert canvas.page.locator(".nseg-picture").bounding_box()["width"] == width
    violet = canvas.page.evaluate(
        """() => {
            const context = document.querySelector(".nseg-mask").getContext("2d");
            const [r, g, b, alpha] = context.getImageData(340, 310, 1, 1).data;
            return alpha > 0 && b > r && r > g;
        }"""
    )
    assert violet  # the other object is in sight
    canvas.press("Delete")
    canvas.press("z")  # and back
    canvas.press("Delete")
    canvas.do("previous-object")
    place.filter(has_text="1 of 1").nth(1).wait_for(state="attached")
    coco = COCO(str(pictures / "annotations.json"))
    (left,) = coco.loadAnns(coco.getAnnIds())
    assert coco.loadCats(left["category_id"])[0]["name"] == "spoon"


def test_a_still_picture_is_kept_in_the_notebook_and_hidden_while_the_canvas_lives(
    lab, canvas, folder
):
    still = lab.page.locator(".jp-OutputArea-child .jp-RenderedImage img")
    assert still.count() == 1
    assert still.is_hidden()
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    lab.kernel("")  # the still follows the answer
    lab.page.wait_for_timeout(500)
    lab.command("docmanager:save")
    outputs = json.loads((folder / "draw.ipynb").read_text())["cells"][1]["outputs"]
    (kept,) = (o["data"]["image/jpeg"] for o in outputs if "image/jpeg" in o.get("data", {}))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(kept)))).astype(int)
    changed = np.abs(shown - photographs.astronaut()[:480, :640]).sum(axis=2) > 60
    mask = rle_to_mask(lab.kernel("", STATE)["mask"])
    assert changed[mask].mean() > 0.7
    assert changed[~mask].mean() < 0.05


@pytest.fixture(scope="module")
def executed(folder):
    """A notebook with a drawing, run by another kernel, as of another day."""
    drawn = "canvas.strokes = [{'kind': 'object', 'points': [[150, 150, 20], [300, 200, 20]]}]"
    path = browser.write_notebook(folder / "executed.ipynb", SET_UP + drawn, "canvas")
    notebook = nbformat.read(path, 4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    return notebook


@pytest.mark.parametrize("kernel", ["no kernel", "a new kernel"])
def test_a_saved_notebook_shows_the_still_picture(context, server, folder, executed, kernel):
    """Opened another day: with no kernel at all, and with one that knows nothing."""
    path, notebook = folder / f"{kernel.replace(' ', '-')}.ipynb", executed.copy()
    if kernel == "no kernel":
        notebook.metadata = {"kernelspec": {"name": "gone", "display_name": "Gone"}}
    nbformat.write(notebook, path)
    page = context.new_page()
    try:
        page.goto(f"{server}/doc/tree/{path.name}?token={browser.TOKEN}")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        if kernel == "no kernel":
            page.locator(".jp-Dialog button", has_text="No Kernel").click()
        still = page.locator(".jp-OutputArea-child .jp-RenderedImage img")
        still.wait_for()
        size = still.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert size == [512, 480]
        assert page.locator(".nseg").count() == 0
        assert "run this cell to draw" in page.locator(".jp-OutputArea").last.inner_text()
        page.wait_for_timeout(1500)
        assert still.is_visible()
    finally:
        page.close()


def test_a_strip_of_screenshots_for_the_readme(lab, canvas):
    """A thin line, another, two lines on what is not meant, and the cut-out, in both themes, with
    the package's own network. ``NSEG_STRIP`` names where the strip is written."""
    lab.kernel(
        "from nseg_lib import Refiner\n"
        "canvas.refiner = Refiner.from_pretrained()\n"
        "canvas.load(data.astronaut()[:400]); canvas.radius = 5"
    )
    lab.page.set_viewport_size({"width": 950, "height": 800})
    theme = "name => jupyterapp.commands.execute('apputils:change-theme', { theme: name })"
    shots = []

    def shoot(revision):
        canvas.wait(revision)
        lab.page.mouse.move(5, 5)
        lab.page.wait_for_timeout(300)
        shots.append(Image.open(io.BytesIO(canvas.root.screenshot())).convert("RGB"))

    try:
        canvas.wait(1)
        canvas.stage.scroll_into_view_if_needed()
        canvas.draw((222, 60), (228, 160))
        shoot(2)
        canvas.draw((150, 300), (190, 370), (260, 340))
        shoot(3)
        lab.page.evaluate(theme, "JupyterLab Dark")
        lab.page.wait_for_timeout(1000)  # its styles come, and move what is on the page
        canvas.stage.scroll_into_view_if_needed()
        canvas.press("2")
        canvas.draw((30, 150), (80, 230))
        canvas.wait(4)
        canvas.draw((120, 30), (150, 110))
        shoot(5)
        canvas.do("cut-out")
        shoot(5)
        dark, light = (np.asarray(shots[i])[3, 300].mean() for i in (2, 0))
        assert dark < 80 < 200 < light
    finally:
        lab.page.evaluate(theme, "JupyterLab Light")
        lab.page.set_viewport_size({"width": 1280, "height": 900})
    width, height = shots[0].size
    strip = Image.new("RGB", (2 * width + 12, 2 * height + 12), "white")
    for number, shot in enumerate(shots):
        strip.paste(shot, ((number % 2) * (width + 12), (number // 2) * (height + 12)))
    path = Path(os.environ.get("NSEG_STRIP", ARTEFACTS / "draw.jpg"))
    strip.save(path, quality=84, optimize=True)
    assert path.stat().st_size < 400_000
