"""Time of one answer of each of the paper's models: a picture of 640x480, one thread.

It runs from picture and stroke to mask, input channels included, as ``Refiner.refine`` does it.
The weights are untrained, which changes no time. Processor time is measured, as other work on the
machine does not change it; on an idle core it is the time that a user waits. Wall time stands
beside it.

    python benchmarks/bench_latency.py [--answers 20]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from nseg_lib import config, files, provenance
from nseg_lib import networks as models
from nseg_lib.refine import Refiner

HEIGHT, WIDTH = 480, 640


def measure(name: str, answers: int) -> dict[str, float]:
    """Seconds per answer: ``median`` and ``p95`` of processor time, median of ``wall`` time."""
    loaded = config.load(name)
    refiner = Refiner(models.build(loaded.model), loaded)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    stroke = np.zeros((HEIGHT, WIDTH), bool)
    stroke[180:300, 240:400] = True
    refiner.refine(image, stroke)  # the first answer pays for set-up and is not counted
    busy, wall = [], []
    for _ in range(answers):
        began, clock = time.process_time(), time.perf_counter()
        refiner.refine(image, stroke)
        busy.append(time.process_time() - began)
        wall.append(time.perf_counter() - clock)
    values = {"median": np.median(busy), "p95": np.percentile(busy, 95), "wall": np.median(wall)}
    return {key: round(float(value), 4) for key, value in values.items()}


def main() -> None:
    """Measure all eight and write ``benchmarks/results/latency.json`` with its sidecar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=20, help="timed, for each model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    found = {}
    for name in config.THE_EIGHT:
        found[name] = measure(name, arguments.answers)
        print(f"{name:28} {found[name]}", flush=True)
    device = f"{provenance.describe_device()}, one used"
    out = Path(__file__).parent / "results" / "latency.json"
    record = {"height": HEIGHT, "width": WIDTH, "device": device, "models": found}
    files.write_atomic(out, json.dumps(record, indent=1) + "\n")
    settings = {"answers": arguments.answers, "threads": 1}
    provenance.write_sidecar(out, settings, [], time.monotonic() - began)


if __name__ == "__main__":
    main()
