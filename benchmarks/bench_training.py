"""Time of each part of a training step, to see whether preparing the data ever limits training.

The parts of a step at batch 1 are: read and decode the picture, rasterise the mask, draw the
stroke, build the input; forward, backward, optimiser. All are timed on the same pictures in the
same run, with one thread, and preparation is compared with computing. A loader process prepares the
next pair while the network computes. So preparation limits training only where it takes more than
the number of loader processes times as long as computing.

Computing is timed once more in a second process without ``nseg_lib.training.unet.reuse_memory``,
which every training calls, to show what it would cost to give freed memory back to the system.

    python benchmarks/bench_training.py --data data/sample [--scale 0.5] [--model NAME]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import torch

from nseg_lib import config, files, provenance
from nseg_lib import networks as models
from nseg_lib.data import coco
from nseg_lib.data.images import rescale
from nseg_lib.networks.inputs import network_input
from nseg_lib.strokes.recipes import MIN_STROKE_AREA, make_stroke
from nseg_lib.training.losses import RefinementLoss
from nseg_lib.training.unet import reuse_memory

DATA = ("picture", "mask", "stroke", "input")
COMPUTE = ("forward", "backward", "optimiser")


def measure(root: Path, name: str, scale: float, steps: int) -> dict[str, float]:
    """Median milliseconds of each part of a step, over ``steps`` pictures of the train split."""
    split = coco.load_split(root, "train")
    loaded = config.load(name)
    network = models.build(loaded.model)
    loss = RefinementLoss(loaded.loss)
    optimiser = torch.optim.Adam(network.parameters(), lr=loaded.training.learning_rate)
    spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        spent[part].append(1000 * (time.perf_counter() - began))

    for image_id in [i for i, a in sorted(split.annotations.items()) if a][: steps + 2]:
        annotation = coco.largest_annotation(split.annotations[image_id])
        with timed("picture"):
            image = split.read_image(image_id)
        with timed("mask"):
            mask = coco.annotation_mask(annotation, *image.shape[:2])
        with timed("stroke"):
            stroke = make_stroke(mask, image_id=image_id)
        if stroke.sum() < MIN_STROKE_AREA:
            continue
        with timed("input"):
            image, mask, stroke = rescale(image, mask, stroke, scale)
            x = torch.from_numpy(network_input(image, stroke))[None]
            y = torch.from_numpy(mask)[None, None].float()
        with timed("forward"):
            value = loss(network(x), y)
        with timed("backward"):
            value.backward()
        with timed("optimiser"):
            optimiser.step()
            optimiser.zero_grad()
    return {part: statistics.median(spent[part][2:]) for part in (*DATA, *COMPUTE)}


def fresh_memory() -> dict[str, float]:
    """What :func:`measure` finds in a process of its own that does not keep freed memory."""
    command = [sys.executable, *sys.argv, "--fresh-memory"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure, print and store one model at one scale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="a reduced or sample data set")
    parser.add_argument("--model", default="tiny16-32_bce-dice")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--fresh-memory", action="store_true", help="only print, with fresh memory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if not arguments.fresh_memory:
        reuse_memory()
    parts = measure(arguments.data, arguments.model, arguments.scale, arguments.steps)
    if arguments.fresh_memory:
        print(json.dumps(parts))
        return
    fresh = fresh_memory()
    preparing, computing = (sum(parts[p] for p in group) for group in (DATA, COMPUTE))
    for part, milliseconds in parts.items():
        print(f"{part:10s} {milliseconds:8.1f} ms")
    print(f"preparing a pair takes {preparing / computing:.3f} of computing a step")
    saved = sum(fresh[p] for p in COMPUTE) / computing
    print(f"computing takes {saved:.3f} times as long where freed memory is not kept")
    row = {
        "model": arguments.model,
        "scale": arguments.scale,
        "milliseconds": {k: round(v, 2) for k, v in parts.items()},
        "preparing_over_computing": round(preparing / computing, 4),
        "fresh_over_kept_memory": round(saved, 4),
        "device": provenance.describe_device(),
    }
    path = Path(__file__).parent / "results" / "training.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    key = (row["model"], row["scale"])
    rows = sorted(
        [r for r in rows if (r["model"], r["scale"]) != key] + [row],
        key=lambda r: (r["model"], r["scale"]),
    )
    path.parent.mkdir(exist_ok=True)
    files.write_atomic(path, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
