"""A real browser before a real JupyterLab or Voilà, for the widget's tests and its benchmark."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import nbformat
import numpy as np
import pytest
from PIL import Image

from nseg_lib.data.coco import rle_to_mask

TOKEN = "a-token-of-the-tests"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"

SET_UP = """
import time
import cv2
import numpy as np
from skimage import data
from nseg_lib.data.coco import mask_to_rle
from nseg_lib.widget import FolderSession, StrokeCanvas

class Grower:  # answers with the stroke, 4 pixels wider
    def refine(self, image, stroke):
        return cv2.dilate(stroke.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0

PICTURE = data.astronaut()[:480, :640]
canvas = StrokeCanvas(PICTURE, Grower())
seen = []
canvas.observe(lambda change: seen.append(len(canvas.strokes)), "mask")
"""


def find_chromium() -> str | None:
    """The system's Chromium; playwright's own download is not used."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


NEEDED = pytest.mark.skipif(
    find_chromium() is None and os.environ.get("CI") != "true",
    reason="no Chromium on this machine; install the system's package 'chromium'",
)
"""Marks what needs a browser: skipped without one, but never in CI."""


def write_notebook(path: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


def environment(folder: Path) -> dict[str, str]:
    """Jupyter with settings of its own under ``folder``, so that nobody's get in the way."""
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    own = {name: str(folder / place) for name, place in places.items()}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def serving(command: list[str], folder: Path, **more: Any) -> Iterator[tuple[Any, str]]:
    """Run a server until the block ends; its process, and the address that it prints."""
    log = folder / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **more)
    try:
        deadline = time.monotonic() + 150
        while not (found := re.search(r"http://127\.0\.0\.1:\S+", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        yield server, found[0]
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


@contextlib.contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """JupyterLab over ``folder``; yields its address."""
    with socket.socket() as probe:  # a free port
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", f"--IdentityProvider.token={TOKEN}", "--allow-root"]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={folder}"]
    with serving(command, folder, env=environment(folder)):
        yield f"http://127.0.0.1:{port}"


def new_context(started: Any, **options: Any) -> Any:
    """A fresh profile that reaches the loopback alone; its ``refused`` lists what else was asked
    for."""
    context = started.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(60_000)
    context.refused = []

    def refuse(route: Any) -> None:
        context.refused.append(route.request.url)
        route.abort()

    context.route(lambda url: urlparse(url).hostname != "127.0.0.1", refuse)
    return context


class Lab:
    """A notebook open in JupyterLab."""

    def __init__(self, context: Any, url: str, notebook: str) -> None:
        self.page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = f"{url}/doc/tree/{notebook}?token={TOKEN}"
        self.open()

    def open(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        )

    def command(self, name: str) -> None:
        self.page.evaluate("name => jupyterapp.commands.execute(name)", name)

    def start(self, code: str, value: str = "None") -> None:
        """Send code to the kernel and do not wait for it; :meth:`finish` gives its value."""
        self.page.evaluate(
            """([code, value]) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const request = { code, user_expressions: { value }, store_history: false };
                window.reply = kernel.requestExecute(request).done;
            }""",
            [code, f"__import__('json').dumps({value})"],
        )

    def finish(self) -> Any:
        reply = self.page.evaluate("async () => (await window.reply).content")
        assert reply["status"] == "ok", reply.get("traceback")
        value = reply["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return json.loads(eval(value["data"]["text/plain"]))  # the repr of a JSON string

    def kernel(self, code: str, value: str = "None") -> Any:
        """Run code in the kernel; the value of an expression after it."""
        self.start(code, value)
        return self.finish()

    def drawn(self, code: str = "") -> tuple[list[Any], Any, list[int]]:
        """The canvas's strokes and its mask, and the numbers of strokes of all masks so far."""
        strokes, mask, seen = self.kernel(code, "[canvas.strokes, mask_to_rle(canvas.mask), seen]")
        return strokes, rle_to_mask(mask), seen


class Canvas:
    """The drawing widget in a page, and a hand that draws on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.root = page.locator(".nseg")
        self.stage = page.locator(".nseg-stage")

    def state(self) -> dict[str, Any]:
        found = self.root.evaluate("root => ({ ...root.dataset })")
        return {key: int(v) if v.lstrip("-").isdigit() else v for key, v in found.items()}

    def wait(self, revision: int | None = None) -> dict[str, Any]:
        """Wait until the newest drawing (or this revision) is answered."""
        self.page.wait_for_function(
            """wanted => {
                const found = document.querySelector(".nseg")?.dataset;
                return found && found.answered === found.revision
                    && (wanted === null || Number(found.revision) >= wanted);
            }""",
            arg=revision,
        )
        return self.state()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture, in its pixels, is on the page."""
        place = self.page.evaluate(
            """([x, y]) => {
                const canvas = document.querySelector(".nseg-picture");
                const box = canvas.getBoundingClientRect();
                const size = document.querySelector(".nseg-status").textContent;
                const [, width, height] = size.match(/(\\d+) × (\\d+)/).map(Number);
                return [box.x + x / width * box.width, box.y + y / height * box.height];
            }""",
            [x, y],
        )
        return place[0], place[1]

    def draw(
        self,
        *points: tuple[float, float],
        steps: int = 6,
        button: str = "left",
        held: str | None = None,
    ) -> None:
        """A stroke through points of the picture, by mouse, while a key is held."""
        if held:
            self.page.keyboard.down(held)
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=steps)
        self.page.mouse.up(button=button)
        if held:
            self.page.keyboard.up(held)

    def finger(self, *points: tuple[float, float], beside: float = 0) -> None:
        """A finger that goes through points of the picture, or ``beside`` px to their left."""
        session = self.page.context.new_cdp_session(self.page)
        for number, point in enumerate(points):
            x, y = self.at(*point)
            kind = "touchMove" if number else "touchStart"
            place = {"x": x - beside, "y": y, "id": 0}
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        session.detach()

    def corners(self) -> list[tuple[float, float]]:
        """The points of the outline that can be dragged, in pixels of the picture."""
        places = self.root.locator(".nseg-sketch rect").evaluate_all(
            "r => r.map(e => ['x', 'y'].map(k => +e.getAttribute(k) + e.getAttribute('width') / 2))"
        )
        return [(x, y) for x, y in places]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.stage.focus()
            self.page.keyboard.press(key)

    def do(self, name: str) -> None:
        self.root.locator(f"[data-do='{name}']").click()

    def pixels(self, layer: str) -> Any:
        """What a layer (picture, mask or strokes) shows: H×W×4, RGBA."""
        url = self.page.evaluate(f"document.querySelector('.nseg-{layer}').toDataURL()")
        png = base64.b64decode(url.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)

    def painted(self) -> Any:
        """What the layer of strokes shows, H×W: 1 for object, 2 for background."""
        red, _, blue, alpha = np.moveaxis(self.pixels("strokes"), 2, 0)
        return np.where(alpha < 128, 0, np.where(blue > red, 1, 2))

    def hatched(self) -> Any:
        """Where the layer of the mask shows black or white stripes, bool H×W."""
        pixels = self.pixels("mask")
        colour = pixels[..., :3]
        return ((colour == 0) | (colour == 255)).all(axis=2) & (pixels[..., 3] == 255)

    def save(self, what: str, folder: Path) -> Path:
        """Save a result by the menu, into a folder."""
        if not self.root.locator("[data-do='save']").is_visible():  # on a phone
            self.do("more")
        self.do("save")
        with self.page.expect_download() as download:
            self.root.locator(f"[data-export='{what}']").click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def shows(self, part: str, text: str) -> None:
        """Wait until a part of the widget, such as its status, has this text."""
        self.root.locator(f".nseg-{part}", has_text=text).first.wait_for()


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def put_right_by_touch(canvas: Canvas) -> None:
    """On a phone: the outline's tool is behind a button, and fingers drag its points.

    There is a mask with room to the left of it.
    """
    revision = canvas.state()["revision"]
    canvas.do("more")
    canvas.do("outline")
    assert not canvas.root.locator(".nseg-more").is_visible()
    canvas.root.locator(".nseg-sketch rect").first.wait_for(state="attached")
    first = canvas.corners()
    left, top = min(first)
    # Nobody hits a point exactly: one within 22 pixels is taken, and keeps its distance.
    canvas.finger((left, top), (left - 10, top), (left - 20, top), beside=12)
    canvas.wait(revision + 1)
    moved = min(canvas.corners())
    assert np.hypot(moved[0] - (left - 20), moved[1] - top) < 1.5
    canvas.finger(moved, (moved[0] + 1, moved[1]))  # another tap takes it away
    canvas.wait(revision + 2)
    assert len(canvas.corners()) == len(first) - 1
    assert min(canvas.corners())[0] >= left - 1
    canvas.page.screenshot(path=ARTEFACTS / "outline-phone.png")


PHONE = {
    "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True,
    "device_scale_factor": 2,
}  # fmt: skip

# --- fixtures: one browser and one JupyterLab for all tests, and a canvas in it -------------------


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, headless."""
    from playwright.sync_api import sync_playwright

    ARTEFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def server(lab_folder: Path) -> Iterator[str]:
    write_notebook(lab_folder / "draw.ipynb", SET_UP, "canvas")
    with jupyterlab(lab_folder) as url:
        yield url


@pytest.fixture(scope="session")
def context(chromium: Any, server: str) -> Iterator[Any]:
    context = new_context(chromium, has_touch=True)
    yield context
    assert context.refused == [], "no other host is asked"
    context.close()


@pytest.fixture(scope="session")
def lab(context: Any, server: str) -> Lab:
    lab = Lab(context, server, "draw.ipynb")
    lab.command("notebook:run-all-cells")
    lab.page.wait_for_selector(".nseg-stage")
    return lab


@pytest.fixture
def canvas(lab: Lab) -> Iterator[Canvas]:
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
