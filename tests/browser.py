"""A real browser before a real JupyterLab or Voilà, for the widget's tests and its benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import nbformat
import numpy as np
import pytest

TOKEN = "a-token-of-the-tests"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"

SET_UP = """
import time
import cv2
import numpy as np
import pytest
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_notebook(path: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


def environment(folder: Path, theme: str = "Light") -> dict[str, str]:
    """Jupyter with settings of its own under ``folder``, so that nobody's get in the way."""
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    (settings / "themes.jupyterlab-settings").write_text(
        json.dumps({"theme": f"JupyterLab {theme}"})
    )
    places = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython",
        "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    own = {name: str(folder / place) for name, place in places.items()}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def serving(command: list[str], env: dict[str, str], url: str, log: Path) -> Iterator[None]:
    """Run a server until the block ends; it answers before the block begins."""
    with log.open("w") as file:
        server = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                except urllib.error.HTTPError:
                    break  # it refuses, so it answers
                except OSError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"no server: {log.read_text()[-2000:]}") from None
                    time.sleep(0.3)
            yield
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def jupyterlab(folder: Path, theme: str = "Light") -> Iterator[str]:
    """JupyterLab over ``folder``; yields its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", f"--IdentityProvider.token={TOKEN}", "--allow-root"]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={folder}"]
    ready = f"{url}/api?token={TOKEN}"
    with serving(command, environment(folder, theme), ready, folder / "lab.log"):
        yield url


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The system's Chromium, headless; one at a time."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield started
        started.close()


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


class Canvas:
    """The drawing widget in a page, and a hand that draws on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.root = page.locator(".nseg")
        self.stage = page.locator(".nseg-stage")

    def state(self) -> dict[str, Any]:
        found = self.root.evaluate("root => ({ ...root.dataset })")
        return {key: int(v) if v.lstrip("-").isdigit() else v for key, v in found.items()}

    def wait(self, revision: int | None = None, timeout: float = 60_000) -> dict[str, Any]:
        """Wait until the newest drawing (or this revision) is answered."""
        self.page.wait_for_function(
            """wanted => {
                const found = document.querySelector(".nseg")?.dataset;
                return found && found.answered === found.revision
                    && (wanted === null || Number(found.revision) >= wanted);
            }""",
            arg=revision,
            timeout=timeout,
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

    def draw(self, *points: tuple[float, float], steps: int = 6) -> None:
        """A stroke through points of the picture, by mouse."""
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=steps)
        self.page.mouse.up()

    def press(self, key: str) -> None:
        self.stage.focus()
        self.page.keyboard.press(key)

    def do(self, name: str) -> None:
        self.root.locator(f"[data-do='{name}']").click()

    def painted(self) -> dict[str, Any]:
        """What the layer of strokes shows: size, and runs of object (1) and background (2)."""
        return self.page.evaluate(
            """() => {
                const canvas = document.querySelector(".nseg-strokes");
                const { width, height } = canvas;
                const rgba = canvas.getContext("2d").getImageData(0, 0, width, height).data;
                const runs = [];
                let last = -1;
                for (let i = 0; i < rgba.length; i += 4) {
                    const label = rgba[i + 3] < 128 ? 0 : rgba[i + 2] > rgba[i] ? 1 : 2;
                    if (label === last) runs[runs.length - 1][1]++;
                    else runs.push([label, 1]);
                    last = label;
                }
                return { width, height, runs };
            }"""
        )


def labels(painted):
    values, counts = np.array(painted["runs"]).T
    return np.repeat(values, counts).reshape(painted["height"], painted["width"])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()
