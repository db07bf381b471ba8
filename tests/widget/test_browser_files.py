"""Files in headless Chromium, through JupyterLab: pictures, results, folders, saved notebooks.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import base64
import io
import json
import re

import browser
import nbclient
import nbformat
import numpy as np
import pytest
from browser import ARTEFACTS, SET_UP, iou
from drawing import encoded
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib.strokes.drawing import rasterize

pytestmark = browser.NEEDED


def drop(canvas, name, data):
    """Drop a file, with the event that the browser would send."""
    canvas.page.evaluate(
        """([name, bytes]) => {
            const dataTransfer = new DataTransfer();
            const content = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
            dataTransfer.items.add(new File([content], name));
            const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer });
            document.querySelector(".nseg-stage").dispatchEvent(event);
        }""",
        [name, base64.b64encode(data).decode()],
    )


def test_an_empty_canvas_takes_a_file_what_is_dropped_and_the_clipboard(
    lab, canvas, context, tmp_path
):
    lab.kernel("canvas._show(None, 'nothing', [])")
    empty = canvas.root.locator(".nseg-empty")
    empty.wait_for()
    lab.page.screenshot(path=ARTEFACTS / "empty.png")
    big = np.kron(photographs.coffee(), np.ones((7, 7, 1), np.uint8))[:2600]
    assert big.shape[0] * big.shape[1] > 10_900_000
    (tmp_path / "phone.jpg").write_bytes(encoded(big, "JPEG"))
    with lab.page.expect_file_chooser() as chooser:
        empty.get_by_role("button").click()
    chooser.value.set_files(tmp_path / "phone.jpg")
    canvas.shows("status", f"{big.shape[1]} × {big.shape[0]}")
    canvas.draw((1500, 1000), (2500, 1400))
    canvas.wait(2)
    strokes, mask, _ = lab.drawn()
    assert mask.shape == big.shape[:2]
    painted = canvas.painted() == 1
    drawn = Image.fromarray(rasterize(strokes, *mask.shape).object)
    scaled = np.asarray(drawn.resize(painted.shape[::-1], Image.Resampling.NEAREST))
    assert iou(painted, scaled) > 0.98
    lab.page.screenshot(path=ARTEFACTS / "phone.png")

    drop(canvas, "cat.png", encoded(photographs.chelsea()))
    canvas.shows("status", "451 × 300")
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
    canvas.shows("status", "300 × 200")
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    drop(canvas, "broken.jpg", b"\xff\xd8 not much of a picture")
    canvas.shows("note", "broken.jpg: not a readable picture")
    canvas.shows("status", "300 × 200")  # what was there stays
    lab.page.screenshot(path=ARTEFACTS / "broken.png")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1)])
def test_odd_pictures_are_shown_and_drawn_on(canvas, height, width):
    drop(canvas, "odd.png", encoded(np.full((height, width), 90, np.uint8)))
    canvas.shows("status", f"{width} × {height}")
    canvas.wait(1)
    canvas.draw((width / 2, height / 2))
    assert canvas.wait(2)["strokes"] == 1
    assert canvas.root.locator(".nseg-note[data-level='error']").count() == 0
    assert (canvas.painted() == 1).any()


def window(mask):
    """The rows and columns that a mask reaches over."""
    ends = ((found[0], found[-1] + 1) for found in map(np.flatnonzero, (mask.any(1), mask.any(0))))
    return tuple(slice(*each) for each in ends)


def test_results_are_saved_and_strokes_open_again(lab, canvas, tmp_path):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    strokes, mask, _ = lab.drawn("canvas.name = 'flag.png'")
    kinds = ("mask", "cutout", "rle", "polygon", "strokes")
    saved = {what: canvas.save(what, tmp_path / what) for what in kinds}
    assert saved["mask"].name == "flag_mask.png"
    assert ((np.asarray(Image.open(saved["mask"])) > 0) == mask).all()
    assert ((np.asarray(Image.open(saved["cutout"]))[..., 3] > 127) == mask[window(mask)]).all()
    for what in ("rle", "polygon"):
        assert COCO(str(saved[what])).loadAnns([1])[0]["area"] == mask.sum()
    canvas.do("clear")
    canvas.wait()
    canvas.root.locator("input[type=file]").set_input_files(saved["strokes"])
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '1'")
    canvas.wait()
    assert lab.drawn()[0] == strokes


# --- folders --------------------------------------------------------------------------------------


def open_folder(lab, canvas, folder, **pictures):
    """Write pictures into a folder and show it in the canvas."""
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    lab.kernel(f"canvas.session = FolderSession({str(folder)!r}, category='cup')")
    canvas.shows("place", f"1 of {len(pictures)} · 0 done")
    canvas.wait()


def annotations(folder):
    return json.loads((folder / "annotations.json").read_text())["annotations"]


def test_keys_pressed_while_a_picture_opens_change_none(lab, canvas, tmp_path):
    photo = photographs.coffee()[:300]
    open_folder(lab, canvas, tmp_path, one=photo[:, :400], two=photo[:, 100:500])
    for number in (1, 2):
        canvas.shows("place", f"{number} of 2")
        canvas.wait()
        canvas.draw((100, 100 * number), (200, 100 * number))
        canvas.wait(2)
        canvas.press("n" if number == 1 else "p")
    canvas.shows("place", "1 of 2")
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '1'")
    canvas.wait()
    saved = annotations(tmp_path)
    canvas.draw((100, 150), (200, 150))  # something to undo
    canvas.wait(2)
    lab.page.evaluate(
        "() => { const decode = window.createImageBitmap, held = [];"
        " window.createImageBitmap = (...a) =>"
        " new Promise((go) => held.push(go)).then(() => decode(...a));"
        " window.letGo = () => { window.createImageBitmap = decode; held.forEach((go) => go()) } }"
    )
    canvas.press("n")
    canvas.shows("place", "2 of 2")
    for key in ("z", "Delete", "Backspace"):
        canvas.press(key)
    lab.page.evaluate("() => window.letGo()")
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.answered === '1'")
    lab.kernel("")
    first, second = annotations(tmp_path)
    assert second == saved[1], "what was saved of the second picture"
    assert len(first["strokes"]) == 2
    canvas.press("Backspace")
    canvas.wait(2)
    lab.kernel("")
    assert len(annotations(tmp_path)) == 1


def test_a_picture_holds_several_objects(lab, canvas, tmp_path):
    open_folder(lab, canvas, tmp_path, coffee=photographs.coffee())
    category = canvas.root.locator(".nseg-category")
    assert category.input_value() == "cup"
    canvas.press("+")  # zoomed in, which is to stay
    width = canvas.page.locator(".nseg-picture").bounding_box()["width"]
    canvas.draw((250, 100), (330, 120))
    canvas.press("a")
    canvas.shows("place", "new")
    canvas.wait()
    assert canvas.state()["strokes"] == 0
    assert not canvas.painted().any()
    assert canvas.root.locator("[data-do='new-object']").is_disabled()
    category.fill("spoon")  # these keys are no shortcuts: n and p would leave the picture
    canvas.page.keyboard.press("Enter")
    canvas.draw((350, 300), (330, 320))
    canvas.shows("place", "2 of 2")
    canvas.wait()
    lab.page.screenshot(path=ARTEFACTS / "objects.png")
    canvas.press("Shift+O")
    canvas.shows("place", "1 of 2")
    canvas.wait()
    assert canvas.painted()[100, 250] == 1
    assert category.input_value() == "cup"
    assert canvas.page.locator(".nseg-picture").bounding_box()["width"] == width
    *colour, alpha = canvas.pixels("mask")[310, 340]
    assert alpha > 0, "the other object is in sight"
    dot = canvas.root.locator("[data-do^='label-']", has_text="spoon").locator("i")
    label = dot.evaluate("dot => getComputedStyle(dot).backgroundColor")
    wanted = list(map(int, re.findall(r"\d+", label)))
    assert np.abs(np.array(colour) - wanted).max() < 8, "in its label's colour"
    canvas.press("Delete")
    canvas.press("z")  # and back
    canvas.press("Delete")
    canvas.do("previous-object")
    canvas.root.locator(".nseg-place", has_text="1 of 1").nth(1).wait_for(state="attached")
    coco = COCO(str(tmp_path / "annotations.json"))
    (left,) = coco.loadAnns(coco.getAnnIds())
    assert coco.loadCats(left["category_id"])[0]["name"] == "spoon"


def test_a_click_takes_up_a_finished_object_with_its_strokes_and_its_undo(lab, canvas, tmp_path):
    photo = photographs.coffee()
    open_folder(lab, canvas, tmp_path, one=photo, two=photo[:, ::-1])
    canvas.draw((250, 100), (330, 120))
    canvas.draw((250, 140), (330, 160))
    canvas.wait(3)
    first = lab.drawn()[1]
    canvas.press("a")
    canvas.shows("place", "new")
    canvas.wait()
    canvas.draw((290, 90), (290, 300))  # across the first one, which keeps what it has
    canvas.shows("note", "stays with it")
    assert not (lab.drawn()[1] & first).any()
    canvas.press("n")
    canvas.shows("place", "2 of 2 · 1 done")
    canvas.wait()
    canvas.press("p")
    canvas.shows("place", "1 of 2")
    canvas.wait()
    for step in range(100):  # the other objects arrive after the picture
        canvas.page.mouse.move(*canvas.at(290 + step % 3, 250))
        if canvas.stage.evaluate("e => getComputedStyle(e).cursor") == "pointer":
            break
        canvas.page.wait_for_timeout(100)
    assert canvas.stage.evaluate("e => getComputedStyle(e).cursor") == "pointer"
    canvas.draw((291, 250))  # a click on the second
    canvas.root.locator(".nseg-place", has_text="2 of 2").wait_for()
    canvas.wait()
    category = canvas.root.locator(".nseg-category")
    category.fill("spoon")
    canvas.page.keyboard.press("Enter")
    canvas.draw((255, 100))  # a click on the first
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '2'")
    canvas.wait()
    assert category.input_value() == "cup"
    assert (lab.drawn()[1] == first).all()
    canvas.press("z")  # drawn before the picture was left
    lab.page.wait_for_function("document.querySelector('.nseg').dataset.strokes === '1'")
    canvas.wait()
    assert len(annotations(tmp_path)[0]["strokes"]) == 1
    canvas.press("Shift+Z")
    canvas.wait()
    assert (lab.drawn()[1] == first).all()
    canvas.draw((291, 250))
    canvas.root.locator(".nseg-place", has_text="2 of 2").wait_for()
    canvas.wait()
    canvas.press("Delete")
    canvas.wait()
    lab.kernel("")
    (left,) = annotations(tmp_path)
    assert len(left["strokes"]) == 2


# --- notebooks that are saved ---------------------------------------------------------------------


def test_the_drawing_survives_a_reload_of_the_page(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    before = canvas.painted()
    lab.command("docmanager:save")
    lab.open()
    lab.page.wait_for_selector(".nseg-stage")
    canvas.wait(2)
    assert (canvas.painted() == before).all()
    canvas.draw((150, 60), (300, 100))  # the picture's lower half may be below the window
    assert canvas.wait(3)["strokes"] == 2


def test_a_still_picture_is_kept_in_the_notebook_and_hidden_while_the_canvas_lives(
    lab, canvas, lab_folder
):
    still = lab.page.locator(".jp-OutputArea-child .jp-RenderedImage img")
    assert still.count() == 1
    assert still.is_hidden()
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    lab.kernel("")  # the still follows the answer
    lab.page.wait_for_timeout(500)
    lab.command("docmanager:save")
    outputs = json.loads((lab_folder / "draw.ipynb").read_text())["cells"][1]["outputs"]
    (kept,) = (o["data"]["image/jpeg"] for o in outputs if "image/jpeg" in o.get("data", {}))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(kept)))).astype(int)
    changed = np.abs(shown - photographs.astronaut()[:480, :640]).sum(axis=2) > 60
    _, mask, _ = lab.drawn()
    assert changed[mask].mean() > 0.7
    assert changed[~mask].mean() < 0.05


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook with a drawing, run by another kernel, as of another day."""
    drawn = "canvas.strokes = [{'kind': 'object', 'points': [[150, 150, 20], [300, 200, 20]]}]"
    path = tmp_path_factory.mktemp("executed") / "executed.ipynb"
    notebook = nbformat.read(browser.write_notebook(path, SET_UP + drawn, "canvas"), 4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    return notebook


@pytest.mark.parametrize("kernel", ["no kernel", "a new kernel"])
def test_a_saved_notebook_shows_the_still_picture(context, server, lab_folder, executed, kernel):
    """Opened another day: with no kernel at all, and with one that knows nothing."""
    path, notebook = lab_folder / f"{kernel.replace(' ', '-')}.ipynb", executed.copy()
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
