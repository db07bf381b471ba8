"""What grows with the data: annotation files, tables of rows, and whether both grow linearly.

The annotation file is generated: as many pictures and objects as COCO's train2014 (82,783 and
604,907), outlines of 20 points. Each step runs in a process of its own, and
its time is the processor's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from answer import peak_mb

PICTURES, OBJECTS = 82_783, 604_907
"""Of train2014."""

SHARES = (0.25, 0.5, 1.0)
ROWS = 100_000
"""Rows of a results file, at most."""


def generate(root: Path, share: float) -> None:
    """A data set in COCO's layout, with a link to one picture for each of its pictures."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    pictures, objects = round(PICTURES * share), round(OBJECTS * share)
    folder = root / "train2014"
    folder.mkdir(parents=True)
    (root / "annotations").mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((480, 640, 3), np.uint8))
    for number in range(1, pictures):
        os.symlink("0.png", folder / f"{number}.png")
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack((np.cos(angle), np.sin(angle)), 1)
    radii, centres = rng.uniform(5, 100, objects), rng.uniform((100, 100), (540, 380), (objects, 2))
    of = rng.integers(0, pictures, objects)
    with (root / "annotations" / "instances_train2014.json").open("w") as file:
        images = [
            {"id": n, "file_name": f"{n}.png", "height": 480, "width": 640} for n in range(pictures)
        ]
        file.write(f'{{"images": {json.dumps(images)}, "categories": [{{"id": 1, "name": "a"}}],')
        file.write('"annotations": [')
        for n in range(objects):
            outline = (centres[n] + radii[n] * circle).round(2)
            (left, top), (right, bottom) = outline.min(0), outline.max(0)
            record = {
                "id": n, "image_id": int(of[n]), "category_id": 1, "iscrowd": 0,
                "area": round(3.09 * float(radii[n]) ** 2, 2),
                "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
                "segmentation": [outline.ravel().tolist()],
            }  # fmt: skip
            file.write(("," if n else "") + json.dumps(record))
        file.write("]}")


def rows_file(path: Path, count: int) -> None:
    """Rows as an evaluation writes them: identity and a network on ``count`` / 2 pictures."""
    import numpy as np
    import pandas as pd

    from nseg_lib.evaluation.metrics import METRICS
    from nseg_lib.evaluation.rows import COLUMNS

    rng, pictures = np.random.default_rng(0), count // 2
    parts = []
    for method in ("identity", "network"):
        values = {name: rng.uniform(0.5, 1, pictures) for name in METRICS}
        values |= {"method": method, "image_id": np.arange(pictures), "split": "test"}
        parts.append(pd.DataFrame(values))
    table = pd.concat(parts)
    missing = [column for column in COLUMNS if column not in table]
    table = table.assign(**dict.fromkeys(missing, 0)).assign(seed="")
    table.reindex(columns=list(COLUMNS)).to_csv(path, index=False)


def step(name: str, root: Path, where: Path) -> None:
    """One step, in a process of its own."""
    if name == "reduce":
        from nseg_lib.data.reduce import reduce

        reduce(root, where / "reduced", 1000)
    elif name == "check":
        from pycocotools import mask as coco_mask

        from nseg_lib.data import coco

        split = coco.load_split(root)
        for image_id, objects in split.annotations.items():
            size = split.images[image_id]["height"], split.images[image_id]["width"]
            for record in objects:
                coco_mask.area(coco.packed_rle(record["segmentation"], *size))
    elif name == "read":
        json.loads((root / "annotations" / "instances_train2014.json").read_bytes())
    else:
        from nseg_lib.evaluation import summary, tables

        tables.to_markdown(summary.summarise(summary.read_results(root)))


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows and a plot."""
    from matplotlib import pyplot as plt

    rows: list[dict[str, Any]] = []
    curves: dict[str, list[tuple[float, float]]] = {}

    def timed(name: str, of: Path, where: Path) -> tuple[float, float]:
        done = subprocess.run(
            [sys.executable, __file__, name, str(of), str(where)], check=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        seconds, peak = json.loads(done.stdout.splitlines()[-1])
        return seconds, peak

    scale = 0.02 if quick else 1.0
    for share in SHARES[-1:] if quick else SHARES:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "coco"
            generate(root, share * scale)
            measured = {n: timed(n, root, Path(folder)) for n in ("read", "reduce", "check")}
        for name, (seconds, _) in measured.items():
            curves.setdefault(name, []).append((share, seconds))
        if share == SHARES[-1]:
            common = {"size": f"{round(PICTURES * scale):,} pictures", "threads": 1}
            for name, said in (
                ("reduce", "reduce to 1,000 pictures"),
                ("check", "check all records and masks"),
            ):
                seconds, peak = measured[name]
                rows += [
                    {**common, "method": said, "what": "time", "value": round(seconds, 1),
                     "unit": "s", "peer": "json.loads of the same file",
                     "ratio": round(seconds / measured["read"][0], 1), "runs": 1},
                    {**common, "method": said, "what": "peak memory", "value": round(peak),
                     "unit": "MB",
                     "peer": "json.loads of the same file",
                     "ratio": round(peak / measured["read"][1], 2), "runs": 1},
                ]  # fmt: skip
    for share in SHARES[-1:] if quick else SHARES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.csv"
            rows_file(path, round(ROWS * share * (0.01 if quick else 1)))
            seconds, peak = timed("tables", path, Path(folder))
        curves.setdefault("tables", []).append((share, seconds))
    rows.append({
        "method": "table of rows", "what": "time", "size": f"{ROWS:,} rows", "threads": 1,
        "value": round(curves["tables"][-1][1], 1), "unit": "s",
        "peer": "a quarter of the rows", "runs": 1,
        "ratio": round(curves["tables"][-1][1] / curves["tables"][0][1], 2),
    })  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="share of the full size", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    axes.legend()
    return rows, figure


if __name__ == "__main__":
    step(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps([time.process_time(), peak_mb()]))
