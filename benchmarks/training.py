"""Training of a network of the paper, in pictures per second, beside a plain PyTorch loop.

Both train the same network on the same pictures in the same order, one picture a step: with one
thread and with two, in float32 and in bfloat16. Pictures are read and strokes drawn by the same
code in the same process, so what differs is Lightning, the log and the checkpoints. They take
turns. Beside it stands where the time of a step goes: what prepares a pair, which other processes
can do, and what computes.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

NAME = "tiny16-32_bce-dice"


def plain(config: Any, data: Path, parts: dict[str, list[float]]) -> float:
    """Seconds of an epoch as one would write it oneself; ``parts`` takes those of each step."""
    import numpy as np
    import torch

    from nseg_lib import networks
    from nseg_lib.data import coco
    from nseg_lib.data.datasets import EpochBatches, FrozenPairs, TrainingPairs, collate
    from nseg_lib.training.losses import RefinementLoss

    began = time.perf_counter()
    torch.manual_seed(config.training.seed)
    network, loss = networks.build(config.model), RefinementLoss(config.loss)
    optimiser = torch.optim.Adam(network.parameters(), config.training.learning_rate)
    seed, inputs = config.training.seed, config.model.inputs
    pairs = TrainingPairs(coco.load_split(data, "train"), config.data, inputs, seed)
    half = torch.autocast("cpu", torch.bfloat16, enabled=config.training.precision != "32-true")
    for batch in EpochBatches(pairs.sizes(), 1, seed):
        started = time.perf_counter()
        pair = collate([pairs[key] for key in batch])
        if pair is None:
            continue
        ready = time.perf_counter()
        with half:
            logits = network(pair[0])
        value = loss(logits.float(), pair[1])
        forward = time.perf_counter()
        optimiser.zero_grad()
        value.backward()
        backward = time.perf_counter()
        optimiser.step()
        times = np.diff([started, ready, forward, backward, time.perf_counter()])
        names = "prepare the pair", "forward and loss", "backward", "optimiser"
        for part, seconds in zip(names, times, strict=True):
            parts.setdefault(part, []).append(float(seconds))
    # nseg validates at the end of the epoch, so the loop does too.
    validation = FrozenPairs(coco.load_split(data, "val"), config.data, inputs)
    with torch.inference_mode(), half:
        for x, y in (validation[i] for i in range(len(validation))):
            loss(network(x[None]).float(), y[None])
    return time.perf_counter() - began


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows and a plot."""
    import cv2
    import numpy as np
    import torch
    from matplotlib import pyplot as plt

    from nseg_lib import config as configuration
    from nseg_lib.data import coco
    from nseg_lib.sample import make_sample
    from nseg_lib.training.runs import reuse_memory
    from nseg_lib.training.unet import train

    cv2.setNumThreads(1)
    reuse_memory()
    side, pictures, rounds = (160, 24, 1) if quick else (320, 60, 5)
    variants = [(1, "32-true")]
    if not quick:
        variants += [(1, "bf16-mixed"), (2, "32-true"), (2, "bf16-mixed")]
    rows: list[dict[str, Any]] = []
    alone: dict[str, list[float]] = {}  # parts of a step with one thread in float32
    with tempfile.TemporaryDirectory() as folder:
        data = make_sample(Path(folder) / "data", pictures=pictures, max_side=side)
        count = len(coco.load_split(data, "train").images)
        size = f"{count} pictures of at most {side} px, validation included"
        for threads, precision in variants:
            torch.set_num_threads(threads)
            settings = {"training.epochs": 1, "training.patience": 1}
            config = configuration.load(NAME, {**settings, "training.precision": precision})
            taken: list[tuple[float, float]] = []
            parts: dict[str, list[float]] = {}
            for number in range(rounds):
                began = time.perf_counter()
                out = Path(folder) / f"run-{threads}-{precision}-{number}"
                train(config, data, out, workers=0, accelerator="cpu")
                taken.append((time.perf_counter() - began, plain(config, data, parts)))
            ours, theirs = np.array(taken).T
            rows.append({
                "method": f"{NAME}, {'float32' if precision == '32-true' else 'bfloat16'}",
                "what": "an epoch", "size": size, "threads": threads,
                "value": round(count / float(np.median(ours)), 1), "unit": "pictures/s",
                "peer": "a plain PyTorch loop", "runs": rounds,
                "ratio": round(float(np.median(theirs / ours)), 2),
            })  # fmt: skip
            alone = alone or parts
    medians = {part: 1000 * float(np.median(values)) for part, values in alone.items()}
    rows += [
        {"method": part, "what": "time", "size": "a step of the plain loop, float32", "threads": 1,
         "value": round(value, 2), "unit": "ms", "peer": "the whole step",
         "ratio": round(value / sum(medians.values()), 3), "runs": len(alone[part])}
        for part, value in medians.items()
    ]  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 2), layout="constrained")
    axes.barh([*medians], [*medians.values()])
    axes.set(xlabel="ms of a training step, one thread")
    axes.invert_yaxis()
    return rows, figure
