"""Drawing in headless Chromium, through JupyterLab: what the hand does, and what the kernel has.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import time

import browser
import numpy as np
from browser import ARTEFACTS, Canvas, iou

from nseg_lib.strokes.drawing import rasterize

pytestmark = browser.NEEDED


def test_the_browser_paints_what_python_rasterises(lab, canvas):
    canvas.draw((100, 100), (220, 140), (180, 300))
    canvas.press("]", "]")
    canvas.draw((300, 200), (500, 260))
    canvas.press("2")
    canvas.draw((150, 60), (150, 260))
    canvas.press("3", *4 * ["["])
    canvas.draw((90, 130), (560, 260), steps=15)
    canvas.press("1")
    canvas.root.locator("[aria-label^='Brush radius']").fill("800")
    canvas.draw((480, 60))
    canvas.wait()
    strokes, _, _ = lab.drawn()
    kinds = ["object", "object", "background", "erase", "object"]
    assert [stroke["kind"] for stroke in strokes] == kinds
    radii = [stroke["points"][0][2] for stroke in strokes]
    assert radii[0] == 12 < radii[1]
    assert radii[3] < radii[1] < radii[4]
    painted = canvas.painted()
    drawn = rasterize(strokes, *painted.shape)
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
        canvas.press("+", "+")
        canvas.draw((200, 150), (220, 160), held=" ")  # moves the picture
        canvas.draw((150, 100), (200, 180), (240, 120))
        assert canvas.wait(2)["strokes"] == 1
        strokes, painted = lab.drawn()[0], canvas.painted() == 1
        doubled = [{**s, "points": (2 * np.array(s["points"])).tolist()} for s in strokes]
        assert iou(painted, rasterize(doubled, 600, 800).object) > 0.98
        lab.page.screenshot(path=ARTEFACTS / "fine-screen.png")
    finally:
        session.send("Emulation.clearDeviceMetricsOverride")


def test_a_pen_that_rests_shows_the_mask_to_come(lab, canvas):
    canvas.draw((100, 100), (200, 120))
    canvas.wait(2)
    canvas.page.mouse.move(*canvas.at(300, 300))
    canvas.page.mouse.down()
    canvas.page.mouse.move(*canvas.at(400, 320), steps=6)
    lab.page.wait_for_function(
        """() => document.querySelector(".nseg-mask").getContext("2d")
            .getImageData(305, 301, 1, 1).data[3] > 0"""
    )
    assert canvas.state()["revision"] == 2, "nothing is sent yet"
    canvas.page.mouse.up()
    assert canvas.wait(3)["strokes"] == 2


def test_undo_redo_and_clear_have_no_end(lab, canvas):
    for row in range(6):
        canvas.draw((100, 60 + 50 * row), (300, 60 + 50 * row), steps=2)
    before = canvas.painted()
    canvas.press(*6 * ["z"])
    assert canvas.state()["strokes"] == 0
    assert not canvas.painted().any()
    assert canvas.root.locator("[data-do='undo']").is_disabled()
    canvas.press(*("Shift+Z", "Control+Y") * 3)
    assert (canvas.painted() == before).all()
    canvas.do("clear")
    assert canvas.state()["strokes"] == 0
    canvas.do("undo")
    assert (canvas.painted() == before).all()
    canvas.do("undo")
    canvas.draw((400, 400), (450, 420))  # a new stroke ends what could be redone
    assert canvas.root.locator("[data-do='redo']").is_disabled()
    canvas.wait()
    assert len(lab.drawn()[0]) == 6


def test_the_mask_follows_and_strokes_correct_it(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    strokes, mask, _ = lab.drawn()
    drawn = rasterize(strokes, 480, 512).object
    assert (mask & drawn).sum() == drawn.sum() < mask.sum()
    # Green is the mask; what is black is its outline's shade, and lies outside.
    assert (canvas.pixels("mask")[..., 1] > 100).sum() == mask.sum()
    canvas.press("2")
    canvas.draw((220, 130), (220, 220))
    canvas.press("1")
    canvas.draw((400, 300), (420, 320))
    canvas.wait(4)
    strokes, corrected, _ = lab.drawn()
    assert strokes[1]["correction"] is strokes[2]["correction"] is True
    assert not corrected[rasterize(strokes, 480, 512).background].any()
    assert corrected[rasterize(strokes[2:], 480, 512).object].all()
    canvas.shows("note", "takes no corrections")
    for view in ("stroke", "mask", "cut-out"):
        canvas.do(view)
        assert canvas.state()["view"] == view
        lab.page.screenshot(path=ARTEFACTS / f"view-{view}.png")
    assert lab.kernel("", "canvas.view") == "cut-out"


def test_the_right_button_and_alt_draw_background(lab, canvas):
    canvas.draw((100, 100), (300, 100), button="right")
    canvas.draw((100, 200), (300, 200), held="Alt")
    canvas.draw((100, 300), (300, 300))
    canvas.wait(4)
    kinds = [stroke["kind"] for stroke in lab.drawn()[0]]
    assert kinds == ["background", "background", "object"]
    assert lab.page.locator(".lm-Menu").count() == 0, "no menu opens"


def test_boxes_and_extreme_points_mix_with_strokes_and_are_undone_one_by_one(lab, canvas):
    canvas.draw((60, 80), (300, 260), held="Shift")
    canvas.wait(2)
    inside = np.zeros((480, 512), bool)
    inside[80:260, 60:300] = True
    assert iou(lab.drawn()[1], inside) > 0.98, "without more, all that is in the box"
    canvas.shows("note", "sees no box")
    canvas.draw((40, 150), (200, 200))
    canvas.wait(3)
    strokes, mask, _ = lab.drawn()
    assert [stroke["kind"] for stroke in strokes] == ["box", "object"]
    line = rasterize(strokes, 480, 512).object
    assert mask[line & inside].all()
    assert not mask[~inside].any()
    canvas.press("4")
    canvas.draw((400, 400))  # a click with the box takes it away
    canvas.wait(4)
    assert lab.drawn()[1][150, 45]
    assert not canvas.root.locator(".nseg-box").is_visible()
    canvas.press(*3 * ["z"])
    canvas.wait(7)
    canvas.do("extreme")
    for x, y in ((100, 200), (200, 120), (320, 210)):
        canvas.draw((x, y))
    canvas.shows("status", "extreme points: 3 of 4")
    canvas.press("z")
    canvas.shows("status", "extreme points: 2 of 4")
    assert canvas.state()["revision"] == 7, "nothing is asked yet"
    for x, y in ((320, 210), (210, 300)):
        canvas.draw((x, y))
    canvas.wait(8)
    strokes, mask, _ = lab.drawn()
    assert [stroke["kind"] for stroke in strokes] == 4 * ["object"] + ["box"]
    (left, top, _), (right, bottom, _) = strokes[-1]["points"]
    assert np.allclose((left, top, right, bottom), (99, 119, 321, 301), atol=1.5)
    assert mask[200, 101]
    assert mask[119:302].sum() == mask.sum()
    lab.page.screenshot(path=ARTEFACTS / "box.png")
    canvas.press("z")
    canvas.wait(9)
    canvas.shows("status", "a click counts as a disc")
    assert [stroke["kind"] for stroke in lab.drawn()[0]] == 3 * ["object"]


def test_the_keyboard_alone_sets_the_brush_down_and_saves(lab, canvas):
    canvas.stage.focus()
    canvas.press("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowUp")
    assert canvas.root.locator(".nseg-ring").is_visible()
    canvas.press("Enter")
    canvas.wait(2)
    ((stroke,), mask, _) = lab.drawn()
    ((x, y, _),) = stroke["points"]
    assert (x, y) != (256, 240)
    assert x < 250 > y
    assert mask[int(y), int(x)]
    canvas.press("2", "ArrowRight", "Enter")
    canvas.wait(3)
    assert lab.drawn()[0][1]["kind"] == "background"
    save = canvas.root.locator("[data-do='save']")
    save.focus()
    canvas.page.keyboard.press("Enter")
    for _ in range(4):
        canvas.page.keyboard.press("ArrowDown")
    with canvas.page.expect_download() as download:
        canvas.page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith("_strokes.json")


def test_an_outline_is_put_right_point_by_point(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    canvas.wait(2)
    _, whole, _ = lab.drawn()
    canvas.press("6")
    corners = canvas.root.locator(".nseg-sketch rect")
    corners.first.wait_for(state="attached")
    first = corners.count()
    left, top = min(canvas.corners())
    canvas.draw((left, top), (left - 40, top))
    canvas.wait(3)
    strokes, mask, _ = lab.drawn()
    assert [stroke["kind"] for stroke in strokes] == ["object", "outline"]
    assert mask[int(top), int(left) - 20]
    assert not whole[int(top), int(left) - 20]
    assert (mask != whole)[:, int(left) + 60 :].sum() == 0, "only beside the point that was moved"
    lab.page.screenshot(path=ARTEFACTS / "outline.png")
    canvas.draw(min(canvas.corners()), button="right")
    canvas.wait(4)
    assert corners.count() == first - 1
    assert not lab.drawn()[1][int(top), int(left) - 20]
    canvas.press(".", "ArrowUp", "ArrowUp")  # the second while the first one is on its way
    canvas.wait(6)
    canvas.press(*4 * ["z"])
    canvas.wait(10)
    assert (lab.drawn()[1] == whole).all()
    middle = np.argwhere(whole).mean(axis=0)[::-1]
    canvas.draw(tuple(middle), tuple(middle + 30))
    assert canvas.state()["revision"] == 10, "no point is near"
    canvas.press("1")
    assert corners.count() == 0


def test_erase_takes_away_what_is_seen(lab, canvas):
    canvas.press("]")
    canvas.draw((100, 100), (300, 100))
    canvas.wait(2)
    whole = lab.drawn()[1]
    canvas.press("3")
    canvas.do("mask")
    canvas.draw((150, 60), (150, 140))  # the mask is seen, and strokes are not
    canvas.wait(3)
    strokes, mask, _ = lab.drawn()
    assert strokes[1]["kind"] == "background"
    assert whole[100, 150] > mask[100, 150]
    canvas.press("z")
    canvas.do("both")
    edge = int(np.flatnonzero(whole[:, 200])[0]) + 1
    canvas.press(*13 * ["["])
    canvas.draw((120, edge), (280, edge))  # beside the stroke, but on the mask
    canvas.wait(5)
    strokes, mask, _ = lab.drawn()
    assert strokes[1]["kind"] == "background"
    assert mask.any()
    assert not mask[edge, 200]
    canvas.draw((200, edge - 20), (200, 140))  # now across strokes
    canvas.wait(6)
    assert lab.drawn()[0][2]["kind"] == "erase"
    assert not canvas.painted()[100, 200]


def test_the_wheel_zooms_and_the_slider_shows_the_size(lab, canvas):
    size = lambda: canvas.page.locator(".nseg-picture").bounding_box()["width"]  # noqa: E731
    fitted, radius = size(), lab.kernel("", "canvas.radius")
    canvas.stage.focus()
    canvas.page.mouse.move(*canvas.at(200, 200))
    before = canvas.at(200, 200)
    canvas.page.mouse.wheel(0, -200)
    canvas.page.wait_for_timeout(200)
    assert size() > 1.2 * fitted
    assert np.allclose(canvas.at(200, 200), before, atol=2), "what is under the pointer stays"
    canvas.page.mouse.wheel(0, 1000)
    canvas.page.mouse.wheel(0, 1000)
    canvas.page.wait_for_timeout(200)
    assert size() == fitted, "no smaller than the whole picture"
    assert lab.kernel("", "canvas.radius") == radius
    slider = canvas.root.locator("[aria-label^='Brush radius']")
    slider.fill("600")
    ring = canvas.root.locator(".nseg-ring")
    radius = lab.kernel("", "canvas.radius")
    assert abs(ring.bounding_box()["width"] - 2 * radius * fitted / 512) < 4
    assert slider.get_attribute("aria-valuetext") == f"radius {round(radius)} pixels"


def test_painting_never_waits_for_a_busy_kernel(lab, canvas):
    lab.start("time.sleep(5)")
    begun = time.monotonic()
    for y in (100, 180, 260):
        canvas.page.mouse.move(*canvas.at(100, y))
        canvas.page.mouse.down()
        canvas.page.mouse.move(*canvas.at(300, y), steps=5)
        assert canvas.painted()[y, 200] == 1  # before the pen is lifted
        canvas.page.mouse.up()
    assert time.monotonic() - begun < 4.5, "they were to be drawn while the kernel is busy"
    assert canvas.state()["strokes"] == 3
    canvas.shows("note", "the kernel is busy")
    lab.finish()
    canvas.wait(4)
    assert "kernel" not in canvas.root.locator(".nseg-note").inner_text()
    strokes, mask, seen = lab.drawn()
    assert len(strokes) == seen[-1] == 3
    assert mask[rasterize(strokes, 480, 512).object].all()


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
    assert canvas.wait(4)["dropped"] >= 1
    _, mask, seen = lab.drawn()
    assert seen == [1, 3]  # the second never needed a mask of its own
    assert mask[300, 150]


def test_fingers_draw_pinch_and_pens_press(lab, canvas, context):
    session = context.new_cdp_session(lab.page)

    def touch(kind, *points):
        places = [dict(zip("xy", canvas.at(*p), strict=True)) | {"id": i} for i, p in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (0, (100, 100)))
    for step in range(1, 6):
        touch("touchMove", (0, (100 + 20 * step, 100)))
    touch("touchEnd")
    assert canvas.wait(2)["strokes"] == 1
    assert canvas.painted()[100, 150] == 1

    assert canvas.root.locator(".nseg-spoken").inner_text().startswith("Mask ready, ")
    for target in canvas.root.locator("button:visible, input:visible").all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 44, target.get_attribute("aria-label")

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
    radii = [r for _, _, r in lab.drawn()[0][1]["points"]]
    assert radii[0] < 5 < 9 < max(radii) <= 12


def test_jupyters_shortcuts_do_not_act_on_the_canvas(lab, canvas):
    canvas.draw((150, 150), (300, 200))
    cells = lab.page.locator(".jp-Notebook .jp-Cell").count()
    canvas.press("d", "d", "x", "b", "z", "Enter", "Shift+Enter")
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert canvas.state()["strokes"] == 0  # z undid the stroke
    canvas.press("?")
    assert canvas.root.locator(".nseg-help").is_visible()
    lab.page.screenshot(path=ARTEFACTS / "help.png")
    canvas.press("Escape")
    assert canvas.root.locator(".nseg-help").is_hidden()


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
