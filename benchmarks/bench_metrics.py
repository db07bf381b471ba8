"""Time of all metrics of one picture beside that of SciPy's Hausdorff distance alone.

The peer is what the paper's released code calls: ``scipy.spatial.distance.directed_hausdorff``
on the coordinates of all mask pixels, both ways. Each pair is a 640x480 target and a prediction
that a refiner might return (the target, bitten and smoothed). Only the last two show the peer at
its best: where a prediction is far off, it stops at the first pixel that it looks at.

    python benchmarks/bench_metrics.py

prints a table and writes ``benchmarks/results/metrics.json``: medians of processor time over
repeats. Both run in one thread, in the same run, and other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.distance import directed_hausdorff

from nseg_lib.arrays import Mask
from nseg_lib.evaluation.metrics import evaluate_mask
from nseg_lib.files import write_atomic
from nseg_lib.provenance import write_sidecar
from nseg_lib.strokes.recipes import make_stroke

RESULT = Path(__file__).parent / "results" / "metrics.json"
HEIGHT, WIDTH = 480, 640
GOAL = 0.2
SECONDS_PER_CASE = 2.0


def blob(share: float, seed: int = 0, centre: tuple[float, float] = (0.5, 0.5)) -> Mask:
    """A disc with a wavy outline that covers ``share`` of the picture, cut off by its border."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    y, x = rows - centre[0] * HEIGHT, columns - centre[1] * WIDTH
    waves = sum(
        rng.normal(0, 0.15 / k) * np.cos(k * np.arctan2(y, x) + rng.uniform(0, 2 * np.pi))
        for k in range(2, 9)
    )
    order = np.argsort((np.hypot(y, x) / (1 + waves)).ravel(), kind="stable")
    mask = np.zeros(HEIGHT * WIDTH, bool)
    mask[order[: round(share * mask.size)]] = True
    return mask.reshape(HEIGHT, WIDTH)


def cases() -> dict[str, tuple[Mask, Mask]]:
    """Name → (predicted, target)."""
    targets = {f"object of {100 * s:.0f} %": blob(s, seed=i) for i, s in enumerate(SHARES)}
    pairs = {name: (make_stroke(target), target) for name, target in targets.items()}
    pairs["far off, 5 %"] = blob(0.05, 1, (0.8, 0.8)), blob(0.05, 1, (0.25, 0.2))
    pairs["far off, 1 %"] = blob(0.01, 1, (0.9, 0.9)), blob(0.01, 1, (0.1, 0.1))
    return pairs


SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)


def peer(predicted: Mask, target: Mask) -> float:
    """The region Hausdorff distance as the released code computes it."""
    p, t = np.argwhere(predicted), np.argwhere(target)
    return max(directed_hausdorff(p, t)[0], directed_hausdorff(t, p)[0])


def milliseconds(call: Callable[[], object]) -> tuple[float, int]:
    """Median processor time and number of repeats: 30, or as many as fit SECONDS_PER_CASE."""
    times: list[float] = []
    while not times or (len(times) < 30 and sum(times) < SECONDS_PER_CASE):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times), len(times)


def measure(name: str, predicted: Mask, target: Mask) -> dict[str, object]:
    """Time both on one pair, after checking that they agree on what both compute."""
    values = evaluate_mask(predicted, target)  # also warms up
    ours, our_repeats = milliseconds(lambda: evaluate_mask(predicted, target))
    scipys, scipy_repeats = milliseconds(lambda: peer(predicted, target))
    assert abs(values["hausdorff_region"] - peer(predicted, target)) < 1e-4
    return {
        "pair": name,
        "all_metrics_ms": round(ours, 3),
        "directed_hausdorff_ms": round(scipys, 3),
        "ratio": round(ours / scipys, 5),
        "repeats": [our_repeats, scipy_repeats],
        "hausdorff_region_px": round(values["hausdorff_region"], 3),
    }


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    cv2.setNumThreads(1)
    start = time.perf_counter()
    print(f"{'pair, 640x480':<18}{'all metrics':>14}{'directed_hausdorff':>21}{'ratio':>10}")
    rows = []
    for name, pair in cases().items():
        row = measure(name, *pair)
        rows.append(row)
        times = f"{row['all_metrics_ms']:>11.2f} ms{row['directed_hausdorff_ms']:>18.1f} ms"
        print(f"{name:<18}{times}{row['ratio']:>10.4f}")
    refined = [float(str(row["ratio"])) for row in rows if str(row["pair"]).startswith("object")]
    print(f"largest ratio where the prediction is near the object: {max(refined):.4f}", end=" ")
    print(f"(goal: at most {GOAL})")
    result = {"goal": GOAL, "largest_ratio": max(refined), "rows": rows}
    write_atomic(RESULT, json.dumps(result, indent=2) + "\n")
    write_sidecar(
        RESULT,
        {"threads": 1, "clock": "processor time"},
        [Path(__file__)],
        time.perf_counter() - start,
    )


if __name__ == "__main__":
    main()
