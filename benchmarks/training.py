"""Training of a network of the paper, in pictures per second, beside a plain PyTorch loop.

Both train the same network on the same pictures in the same order, one picture a step, with one
thread; pictures are read and strokes drawn by the same code in the same process, so what differs is
Lightning, the log and the checkpoints. They take turns. Beside it stands where the time of a step
goes: what prepares a pair, which other processes can do, and what computes.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows and a plot."""
    import cv2
    import numpy as np
    import torch
    from matplotlib import pyplot as plt

    from nseg_lib import config as configuration
    from nseg_lib import networks
    from nseg_lib.data import coco
    from nseg_lib.data.datasets import EpochBatches, FrozenPairs, TrainingPairs, collate
    from nseg_lib.sample import make_sample
    from nseg_lib.training.losses import RefinementLoss
    from nseg_lib.training.unet import reuse_memory, train

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    reuse_memory()
    name, side, pictures = "tiny16-32_bce-dice", 160 if quick else 320, 24 if quick else 60
    settings = {"training.epochs": 1, "training.patience": 1}
    config = configuration.load(name, settings)
    taken: dict[str, list[float]] = {"nseg": [], "plain": []}
    parts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = make_sample(Path(folder) / "data", pictures=pictures, max_side=side)
        split = coco.load_split(data, "train")

        def nseg(out: Path) -> float:
            """Seconds of a run of one epoch, from its settings to the file of weights."""
            began = time.perf_counter()
            train(config, data, out, workers=0, accelerator="cpu")
            return time.perf_counter() - began

        def plain() -> float:
            began = time.perf_counter()
            torch.manual_seed(config.training.seed)
            network, loss = networks.build(config.model), RefinementLoss(config.loss)
            optimiser = torch.optim.Adam(network.parameters(), config.training.learning_rate)
            pairs = TrainingPairs(split, config.data, config.model.inputs, config.training.seed)
            for batch in EpochBatches(pairs.sizes(), 1, config.training.seed):
                started = time.perf_counter()
                pair = collate([pairs[key] for key in batch])
                if pair is None:
                    continue
                ready = time.perf_counter()
                value = loss(network(pair[0]), pair[1])
                forward = time.perf_counter()
                optimiser.zero_grad()
                value.backward()
                backward = time.perf_counter()
                optimiser.step()
                ends = started, ready, forward, backward, time.perf_counter()
                for part, seconds in zip(
                    ("prepare the pair", "forward and loss", "backward", "optimiser"),
                    np.diff(ends), strict=True,
                ):  # fmt: skip
                    parts.setdefault(part, []).append(float(seconds))
            # nseg validates at the end of the epoch, so the loop does too.
            with torch.inference_mode():
                validation = FrozenPairs(
                    coco.load_split(data, "val"), config.data, config.model.inputs
                )
                for x, y in (validation[i] for i in range(len(validation))):
                    loss(network(x[None]), y[None])
            return time.perf_counter() - began

        rounds = 1 if quick else 5
        for number in range(rounds):
            taken["nseg"].append(nseg(Path(folder) / f"run{number}"))
            taken["plain"].append(plain())
    ratio = float(np.median(np.array(taken["nseg"]) / np.array(taken["plain"])))
    count = len(split.images)
    rows = [{
        "what": f"an epoch of {name}, {count} pictures of at most {side} px, validation included",
        "value": round(count / float(np.median(taken["nseg"])), 1), "unit": "pictures/s",
        "peer": "a plain PyTorch loop", "ratio": round(1 / ratio, 2), "runs": rounds,
    }]  # fmt: skip
    medians = {part: 1000 * float(np.median(values)) for part, values in parts.items()}
    whole = sum(medians.values())
    rows += [
        {"what": f"a step: {part}", "value": round(value, 2), "unit": "ms",
         "peer": "the whole step", "ratio": round(value / whole, 3), "runs": len(parts[part])}
        for part, value in medians.items()
    ]  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 2), layout="constrained")
    axes.barh([*medians], [*medians.values()])
    axes.set(xlabel="ms of a training step, one thread")
    axes.invert_yaxis()
    return rows, figure
