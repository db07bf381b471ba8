"""Time from pointer event to painted pixel: the drawing widget beside ipycanvas, in the same run.

Chromium draws on a 640x480 canvas in JupyterLab, by trusted mouse events sent at 60 and at 120 per
second, while the kernel is idle and while it is busy. ipycanvas does what its documentation shows:
Python hears each move and draws a line. A bare canvas in an empty page, whose one handler paints a
dot, shows what browser and machine take at best. A pixel's time runs from its event's time stamp to
the end of the first frame that finds it painted. For the widget, the time from the release of the
pen to the frame that shows the mask is measured too. Its model answers at once, so this is the time
of the way to the kernel and back.

    python benchmarks/bench_widget.py [--canvas nseg] [--out FILE]

prints a table and writes ``benchmarks/results/widget.json``. It is wall time, which other work on
the machine lengthens, so the load before the run is recorded, and each row has its ratio to the
bare canvas of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import TimeoutError, async_playwright

from nseg_lib.files import write_atomic
from nseg_lib.provenance import write_sidecar

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import browser

RESULT = Path(__file__).parent / "results" / "widget.json"
CANVASES = {"nseg": ".nseg-strokes", "ipycanvas": "canvas:not(.nseg canvas)"}
"""Those in the notebook, and how each is found there; the bare one has a page of its own."""

RATES = (60, 120)
GOAL_PAINT_MS, GOAL_MASK_MS = 20, 200
SECONDS = 3.0
WAIT_S = 20
"""Longest wait for a pixel after the last event; one that comes later counts as this."""

SET_UP = """
import time
import numpy as np
import ipywidgets
from ipycanvas import Canvas
from nseg_lib.widget import StrokeCanvas

class AtOnce:
    def refine(self, image, stroke):
        return stroke

picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
ours = StrokeCanvas(picture, AtOnce(), view="both", layout={"width": "642px"})

theirs = Canvas(width=640, height=480, layout={"width": "640px", "height": "480px"})
theirs.stroke_style, theirs.line_width = "blue", 4
last = None

def down(x, y):
    global last
    last = x, y

def move(x, y):
    global last
    if last is not None:
        theirs.stroke_line(*last, x, y)
        last = x, y

def up(x, y):
    global last
    last = None

theirs.on_mouse_down(down)
theirs.on_mouse_move(move)
theirs.on_mouse_up(up)
"""

BARE = """
<canvas width=640 height=480></canvas>
<script>
{
    const canvas = document.querySelector("canvas"), context = canvas.getContext("2d");
    const box = canvas.getBoundingClientRect();
    canvas.onpointermove = (e) => {
        for (const each of e.getCoalescedEvents()) {
            context.fillRect(each.clientX - box.x - 2, each.clientY - box.y - 2, 4, 4);
        }
    };
}
</script>
"""

WATCH = """
(canvas) => {
    const target = document.querySelector(canvas), context = target.getContext("2d");
    const watch = { waiting: [], times: [], masks: [], running: true, released: 0 };
    const painted = ({ x, y }) => context.getImageData(x, y, 1, 1).data[3] > 0;
    const hear = (e) => {
        const box = target.getBoundingClientRect();
        for (const each of e.getCoalescedEvents?.() ?? [e]) {
            const x = Math.round((each.clientX - box.x) * target.width / box.width);
            const y = Math.round((each.clientY - box.y) * target.height / box.height);
            watch.waiting.push({ x, y, since: each.timeStamp });
        }
    };
    const look = () => {
        const found = watch.waiting.filter(painted);
        watch.waiting = watch.waiting.filter((p) => !found.includes(p));
        const frame = new MessageChannel(); // its message is handled once the frame is painted
        frame.port1.onmessage = () => {
            for (const { since } of found) watch.times.push(performance.now() - since);
        };
        if (found.length) frame.port2.postMessage(0);
        if (watch.running) requestAnimationFrame(look);
    };
    addEventListener("pointermove", hear, true);
    addEventListener("pointerup", (e) => { watch.released = e.timeStamp; }, true);
    const shown = () => {
        const frame = new MessageChannel();
        frame.port1.onmessage = () => watch.masks.push(performance.now() - watch.released);
        frame.port2.postMessage(0);
    };
    const root = document.querySelector(".nseg");
    root?.addEventListener("nseg-mask", () => requestAnimationFrame(shown));
    watch.stop = () => { watch.running = false; removeEventListener("pointermove", hear, true); };
    requestAnimationFrame(look);
    window.watch = watch;
}
"""


class Hand:
    """Sends mouse events at a given rate, without waiting for what comes of them."""

    def __init__(self, page: Any, session: Any) -> None:
        self.page, self.session = page, session
        self.chance = random.Random(0)

    async def send(self, kind: str, x: float, y: float, held: bool = True) -> None:
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": int(held)}
        await self.session.send("Input.dispatchMouseEvent", event | {"clickCount": 1})

    async def draw(self, box: dict[str, float], rate: int, count: int, row: int) -> None:
        """``count`` moves, 5 px apart in rows 12 px apart: none paints the next one's pixel."""
        across = 120
        places = [
            (box["x"] + 15 + 5 * (i % across), box["y"] + 12 * (row + 1 + i // across))
            for i in range(count)
        ]
        await self.send("mouseMoved", *places[0], held=False)
        await self.send("mousePressed", *places[0])
        began, sent = time.perf_counter(), []
        for number, place in enumerate(places[1:], 1):
            # Jittered, or 60 a second would keep one distance to the frames, short or long.
            due = began + (number + self.chance.uniform(-0.5, 0.5)) / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            sent.append(asyncio.create_task(self.send("mouseMoved", *place)))
        await asyncio.gather(*sent)
        await self.send("mouseReleased", *places[-1], held=False)


KERNEL = """async (code) => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    await kernel.requestExecute({ code, store_history: false }).done;
}"""


async def paint(hand: Hand, canvas: str, rate: int, busy: bool) -> dict[str, Any]:
    """Latency of every move of one stroke of :data:`SECONDS` (ms)."""
    page = hand.page
    if canvas != "canvas":
        await page.evaluate(KERNEL, "ours.strokes = []; theirs.clear()")
    await page.wait_for_timeout(1500)
    await page.locator(canvas).scroll_into_view_if_needed()
    box = await page.locator(canvas).bounding_box()
    await page.evaluate(WATCH, canvas)
    work = asyncio.create_task(page.evaluate(KERNEL, "time.sleep(5)")) if busy else None
    await asyncio.sleep(0.3)
    count = round(rate * SECONDS)
    await hand.draw(box, rate, count, row=2)
    if work:
        await work
    with contextlib.suppress(TimeoutError):  # what is still missing counts as the whole wait
        await page.wait_for_function("watch.waiting.length === 0", timeout=WAIT_S * 1000)
    times, missing = await page.evaluate("[watch.times, watch.waiting.length]")
    await page.evaluate("watch.stop()")
    times = np.array(times + [WAIT_S * 1000.0] * missing)
    return {
        "rate_per_s": rate,
        "kernel": "busy" if busy else "idle",
        "events": len(times),
        "never_painted": missing,
        "p50_ms": round(float(np.percentile(times, 50)), 1),
        "p95_ms": round(float(np.percentile(times, 95)), 1),
    }


async def mask(hand: Hand, strokes: int = 20) -> dict[str, Any]:
    """From the release of the pen to the frame that shows the mask (ms)."""
    page, canvas = hand.page, ".nseg-strokes"
    await page.evaluate(KERNEL, "ours.strokes = []")
    await page.locator(canvas).scroll_into_view_if_needed()
    box = await page.locator(canvas).bounding_box()
    await page.evaluate(WATCH, canvas)
    for number in range(strokes):
        await hand.draw(box, 60, 30, row=2 + number)
        await page.wait_for_function(f"watch.masks.length > {number}", timeout=60_000)
    times = await page.evaluate("watch.masks")
    await page.evaluate("watch.stop()")
    return {
        "strokes": strokes,
        "p50_ms": round(float(np.percentile(times, 50)), 1),
        "p95_ms": round(float(np.percentile(times, 95)), 1),
    }


async def measure(url: str, canvases: list[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=browser.find_chromium(), args=browser.FLAGS
        )
        rows = []
        page = await chromium.new_page(viewport={"width": 1000, "height": 1500}, bypass_csp=True)
        hand = Hand(page, await page.context.new_cdp_session(page))
        await page.goto(f"{url}/api")  # coalesced events are for secure origins alone
        await page.set_content(BARE)
        await paint(hand, "canvas", 60, False)  # warms up
        for rate in RATES:
            await page.set_content(BARE)
            rows.append({"canvas": "bare", **await paint(hand, "canvas", rate, False)})
            print(json.dumps(rows[-1]), flush=True)
        await page.close()
        page = await chromium.new_page(viewport={"width": 1000, "height": 1500})
        await page.goto(f"{url}/doc/tree/bench.ipynb?token={browser.TOKEN}")
        await page.wait_for_function(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        )
        await page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        for part in (".nseg-stage", "canvas:not(.nseg canvas)"):
            await page.wait_for_selector(part, timeout=120_000)
        hand = Hand(page, await page.context.new_cdp_session(page))
        bare = {row["rate_per_s"]: row["p95_ms"] for row in rows}
        for name in canvases:
            await paint(hand, CANVASES[name], 60, False)  # warms up
            for busy in (False, True):
                for rate in RATES:
                    row = {"canvas": name, **await paint(hand, CANVASES[name], rate, busy)}
                    rows.append(row | {"p95_to_bare": round(row["p95_ms"] / bare[rate], 2)})
                    print(json.dumps(rows[-1]), flush=True)
        answered = await mask(hand)
        await chromium.close()
        return rows, answered


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--canvas", nargs="+", choices=CANVASES, default=[*CANVASES])
    parser.add_argument("--out", type=Path, default=RESULT, help="a JSON file")
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        browser.write_notebook(folder / "bench.ipynb", SET_UP, "ours", "theirs")
        with browser.jupyterlab(folder) as url:
            rows, answered = asyncio.run(measure(url, arguments.canvas))
    print(f"pen up to mask shown: {answered}")
    content = {
        "goals_ms": {"paint_p95": GOAL_PAINT_MS, "mask": GOAL_MASK_MS},
        "load_before": round(load, 2),
        "event_to_pixel": rows,
        "pen_up_to_mask": answered,
    }
    write_atomic(arguments.out, json.dumps(content, indent=2) + "\n")
    write_sidecar(
        arguments.out,
        config={"clock": "wall clock", "seconds_per_stroke": SECONDS},
        inputs=[Path(__file__), *sorted(Path("nseg_lib/widget").glob("canvas.*"))],
        seconds=time.monotonic() - began,
    )


if __name__ == "__main__":
    main()
