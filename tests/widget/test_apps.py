"""``nseg draw`` in a real browser: on one picture, and through a folder.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import sys
import time
from urllib.parse import parse_qs, quote, urlsplit

import browser
import numpy as np
import psutil
import pytest
from browser import ARTEFACTS, Canvas, iou
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib.strokes.drawing import rasterize

pytestmark = browser.NEEDED


@contextlib.contextmanager
def app(command, folder, ends_by):
    """Run a command that serves an app; its address.

    Whatever signal ends it, no process and no temporary file of it stays.
    """
    places = folder / "temporary"
    places.mkdir(parents=True)
    with browser.serving(
        [sys.executable, "-m", "nseg_lib.cli", *command, "--no-browser"],
        folder,
        env=browser.environment(folder) | {"TMPDIR": str(places)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as (server, address):
        yield address
        family = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(ends_by)
        assert server.wait(60) == (0 if ends_by == signal.SIGINT else 128 + ends_by)
    _, left = psutil.wait_procs(family, timeout=10)
    assert left == []
    assert list(places.iterdir()) == []


@pytest.fixture
def visitor(chromium):
    """A page in a fresh profile, as of an older browser: it has no coalesced events."""
    context = browser.new_context(chromium, bypass_csp=True)  # the tests evaluate strings
    page = context.new_page()
    page.add_init_script("delete PointerEvent.prototype.getCoalescedEvents")
    yield page
    assert context.refused == [], "no other host is asked"
    context.close()


def visit(page, address):
    page.goto(address)
    canvas = Canvas(page)
    page.wait_for_selector(".nseg-stage")
    canvas.wait(1)
    return canvas


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(photographs.astronaut()[:480]).save(tmp_path / "my photo.png")
    return str(tmp_path / "my photo.png")


def test_nseg_draw_opens_on_a_picture_and_saves_its_mask(visitor, photo, tmp_path):
    started = time.monotonic()
    with app(["draw", photo], tmp_path, signal.SIGHUP) as address:
        canvas = visit(visitor, address)
        assert time.monotonic() - started < 15
        assert canvas.root.bounding_box()["y"] < 20, "at the top of the page"
        canvas.draw((230, 60), (230, 130), (200, 330))
        canvas.wait(2)
        canvas.draw((40, 100), (60, 300), button="right")
        assert canvas.wait(3)["strokes"] == 2
        visitor.screenshot(path=ARTEFACTS / "draw.png")
        visitor.emulate_media(color_scheme="dark")
        for part in (".nseg", "body"):
            shade = visitor.locator(part).evaluate("e => getComputedStyle(e).backgroundColor")
            assert max(map(int, re.findall(r"\d+", shade)[:3])) < 60, f"{part} is dark"
        mask = np.asarray(Image.open(canvas.save("mask", tmp_path))) > 0
        assert mask[[60, 130, 330, 200], [230, 230, 200, 50]].tolist() == [True, True, True, False]
        nobody_is_let_in(address, visitor.context.cookies())


def test_a_finger_puts_the_outline_right_on_a_phone(chromium, photo, tmp_path):
    context = browser.new_context(chromium, bypass_csp=True, **browser.PHONE)
    with app(["draw", photo, "--no-model"], tmp_path, signal.SIGINT) as address:
        canvas = visit(context.new_page(), address)
        canvas.do("box")
        canvas.finger((100, 50), (200, 100), (400, 400))
        canvas.do("object")
        canvas.finger((230, 100), (230, 200), (200, 330))
        canvas.wait(3)
        browser.put_right_by_touch(canvas)
        strokes = json.loads(canvas.save("strokes", tmp_path).read_bytes())["strokes"]
        assert [stroke["kind"] for stroke in strokes] == ["box", "object", "outline"]
    assert context.refused == []
    context.close()


def test_the_page_never_stays_blank(visitor, photo, tmp_path):
    """On a slow machine, over a line that breaks, and when nseg has ended."""
    session = visitor.context.new_cdp_session(visitor)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 8})
    broken = []

    def break_off(route):  # after it was carried out: the answer alone is lost
        if len(broken) < 2:
            route.fetch()
            broken.append(route.request.url)
            return route.abort()
        return route.continue_()

    with app(["draw", photo, "--no-model"], tmp_path, signal.SIGINT) as address:
        visitor.route("**/canvas/*", break_off)
        canvas = visit(visitor, address)
        assert len(broken) == 2
        broken.clear()
        canvas.draw((200, 150), (300, 200))
        assert canvas.wait(2)["strokes"] == 1
        assert len(broken) == 2
        other = visitor.context.new_page()  # every window has a canvas of its own
        assert visit(other, address).state()["strokes"] == 0
        other.close()
        strokes = json.loads(canvas.save("strokes", tmp_path).read_bytes())["strokes"]
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    canvas.draw((100, 300), (300, 300))
    canvas.shows("note", "No answer from nseg")
    assert len(strokes) == 1
    assert canvas.state()["strokes"] == 2
    port = urlsplit(address).port
    with app(["draw", photo, "--no-model", f"--port={port}"], tmp_path / "again", signal.SIGINT):
        canvas.shows("note", "the token is missing")
    assert canvas.state()["strokes"] == 2, "what was drawn stays in sight"


KEY = "6e6eb0d5-18fd-42b7-9a0d-0b3ea0e1f7a7"
PATHS = ("", "page.js", "canvas.js", "canvas.css", f"canvas/{KEY}", f"canvas/{KEY}?number=0", "x")
"""A path of every handler."""
HOSTILE = (
    "%00", "a%0d%0aSet-Cookie:x", "a" * 5000, "..%2f..%2fetc/passwd", "../page.js",
    "canvas/../page.js", "canvas/" + "a" * 65, "canvas/%2e%2e", "page.html", "server.py",
)  # fmt: skip
ODD = ("", "?number=-1", "?number=x", "?number=" + "9" * 13, "?number=\u00b2", "?number=1")
"""Queries of a request to a canvas that there is none of."""


MISSING = "the token is missing: open the address that nseg printed"
ELSEWHERE = "asked from another origin"


def nobody_is_let_in(address, cookies):
    """Every handler, asked without the token, with a wrong one, and from another origin."""
    url = urlsplit(address)
    known = {"Authorization": f"token {parse_qs(url.query)['token'][0]}"}
    wrong = {"Authorization": "token wrong"}
    cookie = "; ".join(f"{each['name']}={each['value']}" for each in cookies)
    refusals = [
        ("", {}, MISSING),
        ("", wrong, MISSING),
        ("", {"Cookie": cookie, "Origin": "http://evil.example"}, ELSEWHERE),
        ("", {"Cookie": cookie, "Origin": "null"}, ELSEWHERE),
        (f"&{url.query}", {"Origin": "http://evil.example"}, ELSEWHERE),
    ]

    def ask(method, path, headers, body=None):
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, f"/{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    for method in ("GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"):
        for path in PATHS + HOSTILE:
            for query, headers, reason in refusals:
                asked = path + (query if "?" in path else query.replace("&", "?"))
                status, body = ask(method, asked, headers)
                assert status in (403, 404), (method, path, query, headers, status)
                assert body in (b"", f"403: {reason}\n".encode())
    for path in HOSTILE:
        for method in ("GET", "POST"):
            assert 400 <= ask(method, path, known)[0] < 500, (method, path)
    for query in ODD:
        assert ask("POST", f"canvas/{KEY}{quote(query, safe='?=')}", known)[0] in (400, 410), query
    for number, body in enumerate((b"", b"\0\0\0\0{", b"\2\0\0\0[]", b"\xff" * 4, b"{" * 1000)):
        status, answer = ask("POST", f"canvas/{KEY}?number={number}", known, body)
        assert status == 200
        assert number == 0 or b'"failed"' in answer
    with contextlib.suppress(ConnectionError):  # closed before all of it is read
        assert ask("POST", f"canvas/{KEY}?number=9", known, b"a" * (2**25 + 1))[0] >= 400
    assert ask("GET", "", wrong)[0] == 403, "it still answers"


def one_row_of_tools(canvas):
    """On a phone: the tools in one row, the others behind a button."""
    tools = canvas.root.locator(".nseg-toolbar").first.locator("button:visible")
    rows = {round(tools.nth(i).bounding_box()["y"]) // 8 for i in range(tools.count())}
    assert len(rows) == 1
    more, save = (canvas.root.locator(f"[data-do='{name}']") for name in ("more", "save"))
    assert not save.is_visible()
    more.click()
    assert more.get_attribute("aria-expanded") == "true"
    canvas.page.screenshot(path=ARTEFACTS / "folder-phone-more.png")
    save.click()
    assert canvas.root.locator(".nseg-menu").is_visible()
    assert not save.is_visible()
    canvas.press("Escape")


def list_of_pictures(canvas):
    """All three with their state and a thumbnail; only what is to do; a jump and back."""
    canvas.press("l")
    items = canvas.root.locator(".nseg-items button")
    canvas.page.wait_for_function("document.querySelector('.nseg-items img')?.naturalWidth > 50")
    items.filter(has_text="three.png").get_by_text("cannot be read").wait_for()
    names = [text.split("\n")[0] for text in items.all_inner_texts()]
    assert names == ["one.png", "three.png", "two.png"]
    assert "✓ 1" in items.first.inner_text()
    canvas.page.screenshot(path=ARTEFACTS / "folder-list.png")
    canvas.root.get_by_label("To do only").check()
    assert [items.nth(i).is_visible() for i in range(3)] == [False, True, True]
    items.nth(2).click()
    canvas.shows("place", "3 of 3")
    assert not items.first.is_visible()
    canvas.press("l")
    canvas.root.get_by_label("To do only").uncheck()
    items.first.click()
    canvas.shows("place", "1 of 3")
    canvas.wait(1)


def test_nseg_draw_fills_a_folder_s_coco_file_also_on_a_phone(visitor, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("one", "two"):
        Image.fromarray(photographs.chelsea()).save(pictures / f"{name}.png")
    (pictures / "three.png").write_bytes(b"broken")
    command = ["draw", str(pictures), "--category", "cat", "--category", "dog"]
    with app(command, tmp_path, signal.SIGTERM) as address:
        canvas = visit(visitor, address)
        canvas.draw((150, 100), (300, 150))
        canvas.wait(2)
        canvas.shows("status", "saved in annotations.json")
        canvas.shows("note", "Draw over what is missing")  # no word of a missing model
        canvas_box, stage_box = canvas.root.bounding_box(), canvas.stage.bounding_box()
        assert canvas_box["y"] + canvas_box["height"] <= 900, "all of it fits into the window"
        assert stage_box["height"] > 0.75 * 900, "and the picture fills it"
        assert stage_box["width"] > 0.95 * 1280
        list_of_pictures(canvas)
        canvas.do("next")
        canvas.shows("empty", "three.png: not a readable picture")
        visitor.set_viewport_size({"width": 390, "height": 780})
        canvas.do("next")
        canvas.shows("place", "3 of 3 · 1 done")
        canvas.wait(1)
        canvas.draw((200, 100), (200, 200))
        canvas.shows("place", "2 done")
        canvas.press("a")
        canvas.shows("place", "new")
        canvas.wait(1)
        canvas.draw((350, 100), (350, 200))
        canvas.shows("place", "2 of 2")
        canvas.press("Shift+Digit2")
        canvas.page.wait_for_function("document.querySelector('.nseg-category').value === 'dog'")
        visitor.screenshot(path=ARTEFACTS / "folder-phone.png", full_page=True)
        width = visitor.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "nothing is beyond the right edge"
        one_row_of_tools(canvas)
        canvas.do("next")
        canvas.shows("note", "No more pictures")
    coco = COCO(str(pictures / "annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat", "dog"]
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["image_id"] for a in annotations] == [1, 2, 2]
    assert [a["category_id"] for a in annotations] == [1, 1, 2]
    for annotation in annotations:
        mask, brushed = coco.annToMask(annotation) > 0, rasterize(annotation["strokes"], 300, 451)
        assert 0 < iou(mask, brushed.object) < 1  # the package's own network refined it
