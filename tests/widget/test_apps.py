"""The drawing widget as an app: through Voilà, and `nseg annotate`.

Every test runs with all other hosts blocked. Screenshots are kept under ``test-artefacts/``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import browser
import numpy as np
import psutil
import pytest
from browser import ARTEFACTS, SET_UP, Canvas, iou, labels
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib.strokes.drawing import rasterize

pytestmark = browser.NEEDED


@contextlib.contextmanager
def app(command, folder, ends_by):
    """Run a command that serves an app; its address, once it says it.

    Whatever signal ends it, no process and no temporary file of it stays.
    """
    places = folder / "temporary"
    places.mkdir()
    env = browser.environment(folder) | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(places)}
    with (folder / "app.log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "nseg_lib.cli", *command, "--no-browser"],
            env=env, stdout=log, stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 150
            while not (found := re.search(r"http://127\.0\.0\.1:\S+", read(log))):
                assert server.poll() is None, read(log)
                assert time.monotonic() < deadline, read(log)
                time.sleep(0.3)
            family = psutil.Process(server.pid).children()
            yield found[0]
            family += psutil.Process(server.pid).children(recursive=True)
        finally:
            server.send_signal(ends_by)
            status = server.wait(60)
    assert status == (0 if ends_by == signal.SIGINT else 128 + ends_by)
    _, left = psutil.wait_procs(family, timeout=10)
    assert left == []
    assert list(places.iterdir()) == []


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


def nobody_is_let_in(address, cookies):
    """Every handler, asked without the token, with a wrong one, and from another origin."""
    url = urlsplit(address)
    token = parse_qs(url.query)["token"][0]

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method, f"/{path}", body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()

    cookie = "; ".join(f"{each['name']}={each['value']}" for each in cookies)
    for method in ("GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"):
        for path in PATHS + HOSTILE:
            status, body = ask(method, path)
            assert status in (403, 404), (method, path, status)
            assert body in (b"", b"403: the token is missing: open the address that nseg printed\n")
            assert ask(method, path, Authorization="token wrong")[0] in (403, 404)
            assert ask(method, path, Cookie=cookie, Origin="http://evil.example")[0] in (403, 404)
            assert ask(method, path, Cookie=cookie, Origin="null")[0] in (403, 404)
            valid = f"{path}{'&' if '?' in path else '?'}token={token}"
            assert ask(method, valid, Origin="http://evil.example")[0] in (403, 404)
    for path in HOSTILE:
        for method in ("GET", "POST"):
            status, _ = ask(method, path, Authorization=f"token {token}")
            assert 400 <= status < 500, (method, path, status)
    assert ask("GET", "voila/files/private.png", Authorization=f"token {token}")[0] == 200
    for body in (b"{", b"\0" * 1000, b"[" * 100_000):
        status, _ = ask(
            "POST", f"voila/api/shutdown/{KERNEL}", body, Authorization=f"token {token}"
        )
        assert status == 404, "no such kernel"
    with contextlib.suppress(ConnectionError):  # closed before all of it is read
        assert ask("POST", "", b"a" * 2_000_000, Authorization=f"token {token}")[0] >= 400
    assert ask("GET", "", Authorization="token wrong")[0] == 403, "it still answers"


def draw_in_voila(page, canvas, folder):
    assert "import numpy" not in page.inner_text("body")
    canvas.draw((150, 150), (300, 200))
    assert canvas.wait(2)["strokes"] == 1
    canvas.press("3")
    canvas.draw((200, 100), (200, 300))
    assert labels(canvas.painted())[166, 200] == 0
    canvas.press("z")
    assert canvas.wait(4)["strokes"] == 1
    assert labels(canvas.painted())[166, 200] == 1
    canvas.press("2")
    canvas.draw((220, 130), (220, 220))
    canvas.wait(5)
    assert "takes no corrections" in canvas.root.locator(".nseg-note").inner_text()
    assert page.locator(".jp-RenderedImage img:visible").count() == 0
    page.screenshot(path=ARTEFACTS / "voila.png")
    for what in ("mask", "strokes"):
        canvas.do("save")
        with page.expect_download() as download:
            canvas.root.locator(f"[data-export='{what}']").click()
        download.value.save_as(folder / what)
    strokes = json.loads((folder / "strokes").read_text())["strokes"]
    mask = np.asarray(Image.open(folder / "mask")) > 0
    drawn = rasterize(strokes, *mask.shape)
    assert mask[drawn.object].all()
    assert not mask[drawn.background].any()


def test_nseg_annotate_fills_a_coco_file_also_on_a_phone(visitor, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("one", "two"):
        Image.fromarray(photographs.chelsea()).save(pictures / f"{name}.png")
    (pictures / "three.png").write_bytes(b"broken")
    command = ["annotate", str(pictures), "--category", "cat"]
    with app(command, tmp_path, signal.SIGTERM) as address:
        canvas = visit(visitor, address)
        place = canvas.root.locator(".nseg-place")
        canvas.draw((150, 100), (300, 150))
        canvas.wait(2)
        assert canvas.root.locator(".nseg-note").inner_text() == ""  # there is a model
        canvas.do("next")
        canvas.root.locator(".nseg-empty", has_text="three.png: not a readable picture").wait_for()
        visitor.set_viewport_size({"width": 390, "height": 780})
        canvas.do("next")
        place.filter(has_text="3 of 3 · 1 done").wait_for()
        canvas.wait(1)
        canvas.draw((200, 100), (200, 200))
        place.filter(has_text="2 done").wait_for()
        canvas.press("a")
        place.filter(has_text="new").wait_for()
        canvas.wait(1)
        canvas.draw((350, 100), (350, 200))
        place.filter(has_text="2 of 2").wait_for()
        visitor.screenshot(path=ARTEFACTS / "annotate-phone.png", full_page=True)
        width = visitor.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "nothing is beyond the right edge"
        canvas.do("next")
        canvas.root.locator(".nseg-note", has_text="No more pictures").wait_for()
    coco = COCO(str(pictures / "annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat"]
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [a["image_id"] for a in annotations] == [1, 2, 2]
    for annotation in annotations:
        mask, brushed = coco.annToMask(annotation) > 0, rasterize(annotation["strokes"], 300, 451)
        assert 0 < iou(mask, brushed.object) < 1  # the package's own network refined it


def test_nseg_annotate_names_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "nseg_lib.cli", "annotate", str(tmp_path / "nowhere")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "nowhere: no such folder" in ended.stderr
    assert "Traceback" not in ended.stderr
