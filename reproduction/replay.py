"""Train the first steps of a report's networks again, and judge some pictures again.

``nseg verify`` compares a report with its own rows and logs. Whether those are what the code makes
from the data, only a replay can tell. It needs the data set, but only minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from nseg_lib import config as configuration
from nseg_lib.config import Config
from nseg_lib.data import coco, frozen
from nseg_lib.data.datasets import EpochBatches, TrainingPairs, collate
from nseg_lib.evaluation import methods
from nseg_lib.evaluation.metrics import METRICS
from nseg_lib.evaluation.rows import evaluate
from nseg_lib.files import sha256
from nseg_lib.networks.weights import PRETRAINED, shipped
from nseg_lib.refine import Refiner
from nseg_lib.training.unet import RefinementModule
from reproduction.evidence import Evidence, load, read_json, section

TOLERANCE = 1e-3
"""How far a replayed number may be from the recorded one, as a share of it. On the kind of machine
that made it all digits are equal; other processors add in another order."""

SPLIT = "val"
"""The split on whose first pictures shipped networks are judged."""


def replay(
    root: Path, profile: str, data: Path, count: int, say: Callable[[str], None]
) -> list[str]:
    """Replay every training whose log a report keeps, and the rows of every shipped network.

    Args:
        data: the data set that the report was made from, such as ``data/coco1000``.
        count: steps of each training, and pictures that each shipped network is judged on.
        say: takes a line per network.

    Returns:
        One line for each network that differs by more than :data:`TOLERANCE`.

    Raises:
        ValueError: no such profile, or the data set is another one or cannot be used.
    """
    evidence = load(root, profile)
    # Threads change the order of sums; the trainings were made with one each.
    torch.set_num_threads(1)
    found = {}
    for run in (run for runs in evidence.logs.values() for run in runs):
        record = read_json(run.folder / "weights.safetensors.json")
        if record:  # a training that has not ended has none yet
            _check_data(data, record)
            config = configuration.parse(record.get("config"), str(run.folder))
            logged = pd.read_csv(run.folder / "steps.csv").query("epoch == 0 and step <= @count")
            losses = first_losses(config, data, count)
            off = _apart(logged["train_loss"], [losses[step - 1] for step in logged["step"]])
            found[f"{run.model}, seed {run.seed}: the losses of the first {count} steps"] = off
            say(f"{run.model}, seed {run.seed}: {count} steps, {off:.1e} apart at most")
    for name in PRETRAINED:
        if _rows_are_of(shipped(name), evidence):
            off = _rows_apart(name, evidence, data, count)
            found[f"{name}: the rows of the first {count} pictures of {SPLIT}"] = off
            say(f"{name}: {count} pictures, {off:.1e} apart at most")
    return [f"{what} differ by {off:.1e} of their value" for what, off in found.items()
            if not off <= TOLERANCE]  # fmt: skip


def first_losses(config: Config, data: Path, steps: int) -> list[float]:
    """The training losses of the first steps, by a loop that can be read at a glance.

    It does what :func:`nseg_lib.training.unet.train` leaves to Lightning.
    """
    t = config.training
    L.seed_everything(t.seed, verbose=False)
    module = RefinementModule(config)
    optimizer = module.configure_optimizers()
    pairs = TrainingPairs(coco.load_split(data, "train"), config.data, config.model.inputs, t.seed)
    order = EpochBatches(pairs.sizes(), t.batch_size, t.seed, rank=0, replicas=1)
    batches = DataLoader(pairs, batch_sampler=order, collate_fn=collate)
    losses = []
    for batch in islice((batch for batch in batches if batch is not None), steps):
        with torch.autocast("cpu", enabled=t.precision == "bf16-mixed"):
            loss = module.training_step(batch, 0)
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _rows_are_of(weights: Path, evidence: Evidence) -> bool:
    """Whether the report has rows that this file's network made."""
    records = evidence.folder.glob(f"rows/{weights.stem}_seed*.csv.json")
    inputs = [section(section(read_json(path), "made_from"), "inputs") for path in records]
    return sha256(weights) in {digest for each in inputs for digest in each.values()}


def _rows_apart(name: str, evidence: Evidence, data: Path, count: int) -> float:
    """Judge a shipped network on the first pictures; the largest difference to the rows."""
    refiner = Refiner.load(shipped(name))
    samples = frozen.EvaluationSamples(coco.load_split(data, SPLIT), scale=refiner.scale)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.csv")
        judged = methods.trained(refiner)
        evaluate([judged], islice(samples, count), file, progress=False)
        again = pd.read_csv(file)
    rows = evidence.results.query("method == @name and split == @SPLIT and seed == @judged.seed")
    both = again.merge(rows, on="image_id", validate="one_to_one", suffixes=("", "_recorded"))
    if len(both) < len(again):
        return float("inf")
    return max(_apart(both[f"{metric}_recorded"], both[metric]) for metric in METRICS)


def _check_data(data: Path, record: dict[str, Any]) -> None:
    """Refuse a data set that a training was not made from."""
    of = {Path(each["path"]).name: each["sha256"] for each in record["inputs"]}
    for path in coco.find_splits(data).values():
        if of.get(path.name, sha256(path)) != sha256(path):
            raise ValueError(f"{path}: the report was made from other annotations; see --data")


def _apart(recorded: object, found: object) -> float:
    """The largest difference of two columns of numbers, as a share of the recorded number."""
    a, b = np.asarray(recorded, float), np.asarray(found, float)
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(a), 1e-9), initial=0))
