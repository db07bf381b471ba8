"""The canvas in a page of its own, before a stand-in for Python and a clock that the test turns."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from browser import Canvas

from nseg_lib import widget
from nseg_lib.widget.pictures import cover_png, jpeg

pytestmark = browser.NEEDED

PAGE = """<!doctype html><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="canvas.css"><div id="canvas"></div>
<script type="module">
import widget from "./canvas.js";
import { Model } from "./model.js";
class Fake extends Model {
  values = {
    _drawing: { picture: 1, revision: 1, strokes: [] }, _note: { text: "", level: "info" },
    _picture: { key: 1, width: 320, height: 200, others: new Uint8Array(0) },
    _jpeg: Uint8Array.from(atob("JPEG"), (c) => c.charCodeAt(0)), _session: {},
    _answer: { picture: 1, revision: 1, png: null, share: 0, seconds: 0 },
    brush: "object", view: "both", radius: 3, opacity: 0.6,
  };
  save_changes() {
    const { picture, revision } = this.get("_drawing");
    const { sure } = window;
    this.set("_answer", { picture, revision, png: null, share: 0.1, seconds: 0.01, sure });
  }
  send(content) {
    if (content.type === "unsure") {
      const about = { type: "unsure", revision: content.drawing.revision, known: true };
      this.emit("msg:custom", about, [window.unsure]);
    }
    if (content.type !== "preview") return;
    window.asked++;
    const answer = () => this.emit("msg:custom", { type: "preview" }, [new Uint8Array(0)]);
    setTimeout(answer, window.delay);
  }
}
const unsure = Uint8Array.from(atob("UNSURE"), (c) => c.charCodeAt(0));
Object.assign(window, { asked: 0, delay: 10, sure: 0.724, unsure, model: new Fake() });
widget.render({ model: window.model, el: document.getElementById("canvas") });
</script>"""


UNSURE = np.zeros((200, 320), bool)
UNSURE[20:60, 200:280] = True


@pytest.fixture
def canvas(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Canvas]:
    context = browser.new_context(chromium, **getattr(request, "param", {}))
    picture = np.random.default_rng(0).integers(0, 255, (200, 320, 3), dtype=np.uint8)
    html = PAGE.replace("JPEG", base64.b64encode(jpeg(picture)).decode())
    html = html.replace("UNSURE", base64.b64encode(cover_png(UNSURE)).decode())
    folder = Path(widget.__file__).parent
    kinds = {"js": "text/javascript", "css": "text/css"}

    def serve(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        if name:
            kind = kinds[name.rpartition(".")[2]]
            route.fulfill(body=(folder / name).read_text(), content_type=kind)
        else:
            route.fulfill(body=html, content_type="text/html")

    context.route("http://127.0.0.1:9/*", serve)
    page = context.new_page()
    page.clock.install(time=0)
    page.goto("http://127.0.0.1:9/")
    page.wait_for_function("document.querySelector('.nseg-picture')?.width === 320")
    yield Canvas(page)
    context.close()


def test_previews_pause_after_slow_ones_and_come_back(canvas: Canvas) -> None:
    page = canvas.page
    page.clock.pause_at(60_000)  # from here on, time passes only where it is told to
    canvas.draw((20, 20), (100, 20))  # a quick answer
    page.mouse.move(*canvas.at(20, 60))
    page.mouse.down()
    place = [20]

    def rest(delay: int, count: int = 1) -> int:
        """Move the pen, rest, and wait for the answer; how many previews were asked for."""
        before = page.evaluate("asked")
        for _ in range(count):
            page.evaluate("delay => { window.delay = delay; }", delay)
            place[0] += 4
            page.mouse.move(*canvas.at(place[0], 60), steps=3)
            page.clock.run_for(100)  # the pen has rested
            page.clock.run_for(delay + 1)
            page.wait_for_timeout(100)  # what the browser decodes takes real time
        return int(page.evaluate("asked")) - before

    assert rest(10, 2) >= 2
    assert rest(200) == 1
    assert rest(10, 2) >= 2, "one that is slow among quick ones changes nothing"
    assert rest(200, 2) == 2
    assert rest(10) == 0, "after two slow ones the pen is left alone"
    page.clock.run_for(3000)
    assert rest(200) == 1, "after the pause one is tried"
    page.clock.run_for(3000)
    assert rest(10) == 0, "that was slow, so the next pause is longer"
    page.clock.run_for(3000)
    assert rest(10, 3) >= 3, "and after a quick one all is as before"
    page.mouse.up()


def test_a_tool_says_what_to_do_with_it_until_there_is_news(canvas: Canvas) -> None:
    canvas.press("4")
    canvas.shows("note", "Drag a box around the object")
    canvas.press("5")
    canvas.shows("note", "4 are left")
    for x, y in ((40, 100), (100, 40), (160, 100)):
        canvas.draw((x, y))
    canvas.shows("note", "1 is left")
    assert canvas.root.locator(".nseg-sketch circle").count() == 3, "they can be seen"
    canvas.draw((100, 160))
    canvas.shows("note", "To correct the mask, draw with Object (1)")
    page = canvas.page
    page.evaluate("model.set('_note', { text: 'News.', level: 'info' })")
    canvas.shows("note", "News.")
    canvas.press("6")
    canvas.shows("note", "Draw the object first, with Object (1)")


def test_keys_are_heard_wherever_the_focus_is(canvas: Canvas) -> None:
    page = canvas.page
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("2")
    assert canvas.state()["brush"] == "background"
    page.keyboard.press("1")
    canvas.draw((20, 20), (100, 20))
    canvas.shows("status", "not saved yet")
    canvas.do("save")
    page.keyboard.press("Enter")  # the first kind of file
    assert page.evaluate("document.activeElement.className").startswith("nseg-stage")
    canvas.shows("status", "saved")
    page.keyboard.press("z")
    assert canvas.state()["strokes"] == 0
    for brush in ("background", "object"):
        page.keyboard.press("x")
        assert canvas.state()["brush"] == brush
    page.keyboard.press("Control+s")
    assert canvas.root.get_by_role("menu").is_visible()


PHONE = {
    "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True,
}  # fmt: skip


def test_what_the_network_is_not_sure_of_is_hatched_and_said(canvas: Canvas) -> None:
    canvas.press("u")
    assert not canvas.hatched().any(), "nothing is drawn yet"
    canvas.press("u")
    canvas.draw((20, 20), (100, 20))
    canvas.shows("status", "72 % sure")
    canvas.shows("spoken", "72 % sure")
    assert not canvas.hatched().any(), "only if it is asked for"
    canvas.do("cut-out")
    canvas.press("u")
    canvas.shows("note", "with the right button if it is not")
    assert canvas.state()["view"] == "both", "where stripes can be seen"
    assert canvas.root.locator("[data-do='unsure']").get_attribute("aria-pressed") == "true"
    hatched = canvas.hatched()
    assert not hatched[~UNSURE].any()
    assert 0.3 < hatched[UNSURE].mean() < 0.5
    canvas.shows("spoken", "Least sure around 2")
    x, y = map(int, canvas.root.locator(".nseg-spoken").inner_text().split("around ")[1].split(","))
    assert UNSURE[y, x]
    canvas.page.evaluate("window.unsure = new Uint8Array(0)")
    canvas.draw((20, 80), (100, 80))
    canvas.shows("note", "sure of every pixel")
    assert not canvas.hatched().any()
    canvas.page.evaluate("window.sure = null")
    canvas.draw((20, 120), (100, 120))
    canvas.wait()
    assert "sure" not in canvas.root.locator(".nseg-status").inner_text()


@pytest.mark.parametrize("canvas", [PHONE], indirect=True)
def test_on_a_phone_a_hint_leads_to_the_hatching(canvas: Canvas) -> None:
    canvas.finger((20, 20), (100, 20))
    canvas.do("background")
    canvas.finger((20, 90), (100, 90))
    canvas.shows("note", "only 72 % sure")
    canvas.do("more")
    canvas.do("unsure")
    canvas.shows("note", "in red if it is not")
    assert not canvas.root.locator(".nseg-more").is_visible()
    assert canvas.hatched().any()
    canvas.do("more")
    canvas.do("unsure")
    assert not canvas.hatched().any()


@pytest.mark.parametrize("canvas", [PHONE], indirect=True)
def test_on_a_phone_the_list_and_the_help_can_be_read(canvas: Canvas) -> None:
    page = canvas.page
    session = {
        "total": 2, "index": 0, "done": 1, "name": "000000000001.jpg", "object": 0, "objects": 0,
        "category": "dog",
    }  # fmt: skip
    page.evaluate("session => model.set('_session', session)", session)
    canvas.do("list")
    listing = {
        "type": "list", "names": ["000000000001.jpg", "000000000002.jpg"], "objects": [1, 0],
        "done": [True, False],
    }  # fmt: skip
    page.evaluate("listing => model.emit('msg:custom', listing, [])", listing)
    for text in ("000000000001.jpg", "000000000002.jpg", "to do"):
        part = canvas.root.locator(".nseg-items").get_by_text(text, exact=True)
        bottom, wide = part.evaluate(
            "e => [e.getBoundingClientRect().bottom, e.scrollWidth > e.clientWidth + 1]"
        )
        item = part.locator("..").bounding_box()
        assert bottom <= item["y"] + item["height"] + 1, text
        assert not wide, text
    canvas.root.locator(".nseg-list [data-do='close']").click()
    assert canvas.root.locator(".nseg-list").is_hidden()
    canvas.do("more")
    canvas.do("help")
    assert canvas.root.get_by_text("move and zoom the picture").is_visible()
    places = [canvas.root.locator(e).bounding_box() for e in (".nseg-help", ".nseg-stage")]
    assert places[0]["x"] >= places[1]["x"] + 4
