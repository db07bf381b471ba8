"""How good masks are after one to four prompts that are drawn in a real browser.

Chromium opens ``nseg draw`` on a folder of test pictures, and a robot draws: a line along the
object, or a box by ``Shift`` and then the line; after each mask, a line along its largest mistake.
It knows the true mask and people do not, but people see what is meant, and a robot never does. 42
objects, seven of each kind: alone or beside others of its category, small (under 4 % of the
picture), middle, or large (over 15 %). No stroke is tried twice.

    python benchmarks/bench_drawing.py data/coco1000 [--split val --out FILE]

prints a table and writes ``benchmarks/results/drawing.json``. It takes some four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from playwright.sync_api import sync_playwright
from scipy.ndimage import distance_transform_edt, label

from nseg_lib.arrays import Mask
from nseg_lib.data import coco
from nseg_lib.files import write_atomic
from nseg_lib.networks.weights import PRETRAINED, shipped
from nseg_lib.provenance import write_sidecar

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import browser

RESULT = Path(__file__).parent / "results" / "drawing.json"
EACH = 7
"""Objects of each kind."""
PROMPTS = 4
HURT = 0.005
"""A correction that loses more IoU than this has made the mask worse."""

Line = tuple[tuple[float, float], tuple[float, float]]


class Object(NamedTuple):
    """An object to draw."""

    kind: str
    picture: Path
    truth: Mask


def choose(split: coco.Split, rng: np.random.Generator) -> list[Object]:
    """The largest object of pictures of each kind, drawn by chance."""
    kinds: dict[str, list[Object]] = {}
    for image_id, found in split.annotations.items():
        large = [a for a in found if not a.get("iscrowd") and a["area"] > 1200]
        if not large:
            continue
        one, record = coco.largest_annotation(large), split.images[image_id]
        alike = sum(a["category_id"] == one["category_id"] for a in large) > 2
        share = one["area"] / (record["height"] * record["width"])
        size = "small" if share < 0.04 else "middle" if share < 0.15 else "large"
        each = Object(
            f"{'alike' if alike else 'alone'}, {size}",
            split.image_path(image_id), split.mask(image_id, one),
        )  # fmt: skip
        kinds.setdefault(each.kind, []).append(each)
    chosen = []
    for kind in sorted(kinds):
        order = rng.permutation(len(kinds[kind]))[:EACH]
        chosen += [kinds[kind][number] for number in order]
    return chosen


def along(region: Mask) -> Line:
    """A line through the deepest point of a region along its longer axis, 70 % of the way to the
    edge on both sides."""
    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    rows, columns = np.nonzero(region)
    spread = np.cov(np.stack([columns - x, rows - y])) if len(rows) > 2 else np.eye(2)
    dx, dy = np.linalg.eigh(spread)[1][:, 1]

    def reach(sign: int) -> float:
        for step in range(1, sum(region.shape)):
            column, row = int(x + 0.5 + sign * step * dx), int(y + 0.5 + sign * step * dy)
            within = 0 <= row < region.shape[0] and 0 <= column < region.shape[1]
            if not within or not region[row, column]:
                return 0.7 * (step - 1)
        return 0.0

    ends = -reach(-1), reach(1)
    first, last = ((x + 0.5 + end * dx, y + 0.5 + end * dy) for end in ends)
    return first, last


def mistake(truth: Mask, mask: Mask) -> tuple[str, Mask] | None:
    """The largest connected part that is missing (to draw on with the left button) or too much (the
    right one); None where none has 20 pixels."""
    parts = []
    for button, wrong in (("left", truth & ~mask), ("right", mask & ~truth)):
        numbered, count = label(wrong)
        parts += [(button, numbered == number) for number in range(1, count + 1)]
    parts = [part for part in parts if part[1].sum() > 20]
    return max(parts, key=lambda part: part[1].sum()) if parts else None


def drawn_mask(folder: Path, name: str, truth: Mask, strokes: int) -> Mask:
    """The mask of so many strokes in the folder's COCO file, which is written after it is shown."""
    path, deadline = folder / "annotations.json", time.monotonic() + 5
    while time.monotonic() < deadline:
        content = json.loads(path.read_text()) if path.exists() else {"images": []}
        ids = {record["file_name"]: record["id"] for record in content["images"]}
        for record in content.get("annotations", []):
            if record["image_id"] == ids.get(name) and len(record["strokes"]) == strokes:
                return coco.annotation_mask(record, *truth.shape)
        time.sleep(0.02)
    return np.zeros_like(truth)  # an empty mask is no annotation


def draw(
    canvas: browser.Canvas, folder: Path, name: str, truth: Mask, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """One object in both ways: its IoU after each prompt, and the seconds until each mask."""
    revision = 1
    for way in ("line", "box and line"):
        ious, seconds = [], []
        if way != "line":
            canvas.press("Delete")  # a fresh start
            rows, columns = np.nonzero(truth)
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
            sides = np.tile(box[2:] - box[:2], 2)
            box += np.array([-2, -2, 2, 2]) + rng.uniform(-0.03, 0.03, 4) * sides  # a hand's
            box = np.clip(box, 1, np.tile(np.array(truth.shape[::-1]) - 1, 2))
            canvas.wait(revision + 1)
            canvas.page.keyboard.down("Shift")
            canvas.draw(tuple(box[:2]), tuple(box[2:]))
            canvas.page.keyboard.up("Shift")
            canvas.wait(revision + 2)
            revision += 2
        button, region = "left", truth
        for number in range(1, PROMPTS + 1):
            canvas.draw(*along(region), button=button)
            revision, released = revision + 1, time.monotonic()
            canvas.wait(revision)
            seconds.append(time.monotonic() - released)
            mask = drawn_mask(folder, name, truth, number + (way != "line"))
            ious.append(float((mask & truth).sum() / (mask | truth).sum()))
            found = mistake(truth, mask)
            if found is None:
                break
            button, region = found
        ious += [ious[-1]] * (PROMPTS - len(ious))
        yield {"way": way, "iou": ious, "seconds": seconds}


def measure(objects: list[Object], folder: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw all objects in ``nseg draw``."""
    for number, each in enumerate(objects):
        shutil.copy(each.picture, folder / f"{number:02d}.jpg")
    command = [sys.executable, "-m", "nseg_lib.cli", "draw", str(folder), "--no-browser"]
    results = []
    with (
        tempfile.TemporaryDirectory() as log,
        browser.serving(command, Path(log)) as (_, address),
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(
            executable_path=browser.find_chromium(), args=browser.FLAGS
        )
        page = browser.new_context(chromium, bypass_csp=True).new_page()
        page.goto(address)
        page.wait_for_selector(".nseg-stage")
        canvas = browser.Canvas(page)
        for number, each in enumerate(objects):
            canvas.shows("place", f"{number + 1} of {len(objects)}")
            canvas.wait(1)
            for result in draw(canvas, folder, f"{number:02d}.jpg", each.truth, rng):
                results.append({"kind": each.kind, **result})
            if number + 1 < len(objects):
                canvas.do("next")
        chromium.close()
    return results


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Means, and the share of corrections that made the mask worse."""
    ious = np.array([result["iou"] for result in results])
    seconds = np.concatenate([result["seconds"] for result in results])
    return {
        "objects": len(ious),
        "mean_iou": ious.mean(axis=0).round(3).tolist(),
        "hurt": round(float((np.diff(ious, axis=1) < -HURT).mean()), 3),
        "median_seconds": round(float(np.median(seconds)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="a data set in COCO's layout")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=RESULT, help="a JSON file")
    arguments = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    rng = np.random.default_rng(21)
    objects = choose(coco.load_split(arguments.data, arguments.split), rng)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(objects, Path(folder), rng)
    table = {}
    for way in ("line", "box and line"):
        of_way = [result for result in results if result["way"] == way]
        for kind in ("all", *sorted({result["kind"] for result in of_way})):
            of_kind = [result for result in of_way if kind in ("all", result["kind"])]
            table[f"{way}; {kind}"] = summary(of_kind)
            print(f"{way}; {kind}: {table[f'{way}; {kind}']}")
    content = {"network": PRETRAINED[0], "load_before": round(load, 2), "results": table}
    write_atomic(arguments.out, json.dumps(content, indent=2) + "\n")
    write_sidecar(
        arguments.out,
        config={"split": arguments.split, "hurt": HURT, "prompts": PROMPTS, "each": EACH},
        inputs=[Path(__file__), shipped(PRETRAINED[0])],
        seconds=time.monotonic() - began,
    )


if __name__ == "__main__":
    main()
