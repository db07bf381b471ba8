"""The drawing widget as an app: through Voilà, and `nseg annotate`.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import sys
from urllib.parse import parse_qs, urlsplit

import browser
import numpy as np
import psutil
import pytest
from browser import ARTEFACTS, SET_UP, Canvas, iou
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
    places.mkdir()
    with browser.serving(
        [sys.executable, "-m", "nseg_lib.cli", *command, "--no-browser"],
        folder,
        env=browser.environment(folder) | {"TMPDIR": str(places)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as (server, address):
        family = psutil.Process(server.pid).children()
        yield address
        family += psutil.Process(server.pid).children(recursive=True)
        server.send_signal(ends_by)
        assert server.wait(60) == (0 if ends_by == signal.SIGINT else 128 + ends_by)
    _, left = psutil.wait_procs(family, timeout=10)
    assert left == []
    assert list(places.iterdir()) == []


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


def test_voila_draws_and_refines_without_showing_code(visitor, tmp_path):
    notebook = browser.write_notebook(tmp_path / "app.ipynb", SET_UP, "canvas")
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    with app(["draw", str(notebook)], tmp_path, signal.SIGHUP) as address:
        draw_in_voila(visitor, visit(visitor, address), tmp_path)
        nobody_is_let_in(address, visitor.context.cookies())


KERNEL = "6e6eb0d5-18fd-42b7-9a0d-0b3ea0e1f7a7"
PATHS = (
    "", "app.ipynb", "login", "logout", "api/me", "api/kernels", f"api/kernels/{KERNEL}",
    f"api/kernels/{KERNEL}/channels", f"voila/execution/{KERNEL}", f"voila/query/{KERNEL}",
    f"voila/api/shutdown/{KERNEL}", "voila/api/themes/x", "voila/static/voila.js", "static/x",
    "voila/templates/x", "voila/templates/lab/static/voila.js", "voila/labextensions/x",
    "voila/files/private.png", "voila/files/app.ipynb", "voila/tree", "favicon.ico",
)  # fmt: skip
"""A path of every handler."""
HOSTILE = (
    "%00", "a%0d%0aSet-Cookie:x", "a" * 5000, "..%2f..%2fetc/passwd", "static/%00",
    "voila/files/../../etc/passwd", "voila/files/" + "a" * 300 + ".png", "voila/static/%00",
    "voila/templates/", "voila/templates/lab/static/", "voila/templates/lab/static/../../../x",
    "voila/static/%2e%2e/%2e%2e/etc/passwd", "voila/labextensions/%5c..%5c..%5cx",
    "voila/api/themes/..%2f..%2fetc%2fpasswd",
)  # fmt: skip


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
        (f"?{url.query}", {"Origin": "http://evil.example"}, ELSEWHERE),
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
                status, body = ask(method, path + query, headers)
                assert status in (403, 404), (method, path, query, headers, status)
                assert body in (b"", f"403: {reason}\n".encode())
    for path in HOSTILE:
        for method in ("GET", "POST"):
            assert 400 <= ask(method, path, known)[0] < 500, (method, path)
    assert ask("GET", "voila/files/private.png", known)[0] == 200
    for body in (b"{", b"\0" * 1000, b"[" * 100_000):
        status, _ = ask("POST", f"voila/api/shutdown/{KERNEL}", known, body)
        assert status == 404, "no such kernel"
    with contextlib.suppress(ConnectionError):  # closed before all of it is read
        assert ask("POST", "", known, b"a" * 2_000_000)[0] >= 400
    assert ask("GET", "", wrong)[0] == 403, "it still answers"


def draw_in_voila(page, canvas, folder):
    assert "import numpy" not in page.inner_text("body")
    canvas.draw((150, 150), (300, 200))
    assert canvas.wait(2)["strokes"] == 1
    canvas.press("2")
    canvas.draw((220, 130), (220, 220))
    assert canvas.wait(3)["strokes"] == 2
    canvas.shows("note", "takes no corrections")
    assert page.locator(".jp-RenderedImage img:visible").count() == 0
    page.screenshot(path=ARTEFACTS / "voila.png")
    page.emulate_media(color_scheme="dark")
    for part in (".nseg", "#rendered_cells"):
        shade = page.locator(part).evaluate("e => getComputedStyle(e).backgroundColor")
        assert max(map(int, re.findall(r"\d+", shade)[:3])) < 60, f"{part} is dark"
    mask = np.asarray(Image.open(canvas.save("mask", folder))) > 0
    assert mask[[150, 200, 175], [150, 300, 220]].tolist() == [True, True, False]


def one_row_of_tools(canvas):
    """On a phone: the tools in one row, the others behind a button."""
    tools = canvas.root.locator(".nseg-toolbar").first.locator("button:visible")
    rows = {round(tools.nth(i).bounding_box()["y"]) // 8 for i in range(tools.count())}
    assert len(rows) == 1
    more, save = (canvas.root.locator(f"[data-do='{name}']") for name in ("more", "save"))
    assert not save.is_visible()
    more.click()
    assert more.get_attribute("aria-expanded") == "true"
    canvas.page.screenshot(path=ARTEFACTS / "annotate-phone-more.png")
    save.click()
    assert canvas.root.locator(".nseg-menu").is_visible()
    assert not save.is_visible()
    canvas.press("Escape")


def test_nseg_annotate_fills_a_coco_file_also_on_a_phone(visitor, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("one", "two"):
        Image.fromarray(photographs.chelsea()).save(pictures / f"{name}.png")
    (pictures / "three.png").write_bytes(b"broken")
    command = ["annotate", str(pictures), "--category", "cat"]
    with app(command, tmp_path, signal.SIGTERM) as address:
        canvas = visit(visitor, address)
        canvas.draw((150, 100), (300, 150))
        canvas.wait(2)
        assert canvas.root.locator(".nseg-note").inner_text() == ""  # there is a model
        canvas_box, stage_box = canvas.root.bounding_box(), canvas.stage.bounding_box()
        assert canvas_box["y"] + canvas_box["height"] <= 900, "all of it fits into the window"
        assert stage_box["height"] > 0.75 * 900, "and the picture fills it"
        assert stage_box["width"] > 0.95 * 1280
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
        visitor.screenshot(path=ARTEFACTS / "annotate-phone.png", full_page=True)
        width = visitor.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "nothing is beyond the right edge"
        one_row_of_tools(canvas)
        canvas.do("next")
        canvas.shows("note", "No more pictures")
    coco = COCO(str(pictures / "annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat"]
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["image_id"] for a in annotations] == [1, 2, 2]
    for annotation in annotations:
        mask, brushed = coco.annToMask(annotation) > 0, rasterize(annotation["strokes"], 300, 451)
        assert 0 < iou(mask, brushed.object) < 1  # the package's own network refined it
