"""Training with Lightning, as the paper did it: section 2.5 in one screen, and resumable.

A run is a folder: ``run.json`` (configuration and data it belongs to), ``log.csv`` (a row an
epoch), ``steps.csv`` (a row every five steps), ``last.ckpt`` and ``best.ckpt`` while it goes on,
and ``weights.safetensors`` once it is done. Starting it again goes on after the last finished
epoch and ends in the same weights as a run that was never cut; on a CPU, bit for bit.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from torch import Tensor
from torch.utils.data import DataLoader

from nseg_lib import networks as models
from nseg_lib.config import Config, ConfigError, parse
from nseg_lib.data import coco
from nseg_lib.data.datasets import (
    EpochBatches,
    FrozenPairs,
    Pair,
    TrainingPairs,
    collate,
    fingerprint,
)
from nseg_lib.files import write_atomic
from nseg_lib.networks.weights import save_weights
from nseg_lib.provenance import describe_device, write_sidecar
from nseg_lib.training.losses import RefinementLoss
from nseg_lib.training.runs import Run

SPLITS = ("train", "val")

LOG_EVERY = 5
"""Steps between two rows of ``steps.csv``, as in the authors' logs."""


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers of these settings, from malloc.h."""


class RefinementModule(L.LightningModule):
    """A network, its loss and its optimiser, from one configuration."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.network = models.build(config.model)
        self.loss = RefinementLoss(config.loss)

    def forward(self, x: Tensor) -> Tensor:
        """float N×C×H×W → logits, float N×1×H×W."""
        return self.network(x)

    def training_step(self, batch: Pair | None, batch_idx: int) -> Tensor | None:
        """Loss of one batch; a batch whose stroke was dropped takes no step."""
        if batch is None:
            return None
        inputs, target = batch
        return self._loss(self(inputs), target)

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss in 32 bits whatever the network computes in: Sobel magnitudes need them."""
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss(logits.float(), target)

    def validation_step(self, batch: Pair, batch_idx: int) -> None:
        """Mean over pictures of the loss and of IoU at probability .5, on frozen strokes."""
        inputs, target = batch
        logits = self(inputs)
        predicted, truth = logits > 0, target > 0.5
        union = (predicted | truth).sum()
        iou = (predicted & truth).sum() / union.clamp(min=1)
        self.log_dict(
            {"val_loss": self._loss(logits, target), "val_iou": iou},
            on_epoch=True, batch_size=1, sync_dist=True, prog_bar=True,
        )  # fmt: skip

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma and Ba 2015) with torch's default moments."""
        return torch.optim.Adam(self.parameters(), lr=self.config.training.learning_rate)


class StrokeData(L.LightningDataModule):
    """The ``train`` and ``val`` splits of a reduced data set, as a configuration asks."""

    def __init__(self, root: Path, config: Config, workers: int) -> None:
        super().__init__()
        self.root, self.config, self.workers = root, config, workers

    def setup(self, stage: str) -> None:
        """Index both splits; draws the frozen strokes of ``val`` where they are missing."""
        c = self.config
        train = coco.load_split(self.root, "train")
        self.train = TrainingPairs(train, c.data, c.model.inputs, c.training.seed)
        self.val = FrozenPairs(coco.load_split(self.root, "val"), c.data, c.model.inputs)
        for name, pairs in (("train", self.train), ("val", self.val)):
            if not len(pairs):
                raise coco.DataError(f"{self.root}: split '{name}' has no object with a stroke")

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches in an order that only the seed and the epoch decide."""
        t, trainer = self.config.training, self.trainer
        rank, replicas = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        batches = EpochBatches(self.train.sizes(), t.batch_size, t.seed, rank, replicas)
        return DataLoader(
            self.train,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """One picture at a time, whatever their sizes."""
        return DataLoader(
            self.val, batch_size=1, num_workers=self.workers, persistent_workers=self.workers > 0
        )


class CsvLog(Callback):
    """Write ``log.csv`` and ``steps.csv``; on resuming, forget what will be done again.

    ``dropped`` counts batches without a stroke: pictures, where batches hold one, as the paper's.
    Lightning's own CSV logger starts an empty file when a run resumes.
    """

    EPOCHS = ("epoch", "steps", "dropped", "train_loss", "val_loss", "val_iou", "seconds")
    STEPS = ("epoch", "step", "train_loss")

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.epochs, self.steps = folder / "log.csv", folder / "steps.csv"
        self.say = say

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            for path, columns in ((self.epochs, self.EPOCHS), (self.steps, self.STEPS)):
                self._keep(path, columns, before=trainer.current_epoch)

    def _keep(self, path: Path, columns: tuple[str, ...], before: int) -> None:
        rows = list(csv.DictReader(path.open())) if path.exists() else []
        # A kill can cut the last line short; its epoch is one that is done again.
        kept = [r for r in rows if None not in r.values() and int(r["epoch"]) < before]
        partial = path.with_suffix(".part")
        with partial.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
        partial.replace(path)

    def _append(self, path: Path, *values: object) -> None:
        with path.open("a", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(values)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began, self.total, self.taken, self.dropped = time.monotonic(), 0.0, 0, 0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if batch is None:
            self.dropped += 1
            return
        loss = float(outputs["loss"])
        self.total += loss
        self.taken += 1
        if self.taken % LOG_EVERY == 0 and trainer.is_global_zero:
            self._append(self.steps, trainer.current_epoch, trainer.global_step, f"{loss:.6g}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        if not math.isfinite(metrics["val_loss"]):
            raise ConfigError(
                f"{self.epochs.parent}: the validation loss of epoch {trainer.current_epoch} is "
                f"{metrics['val_loss']}; try a lower training.learning_rate, in another folder"
            )
        mean = self.total / max(1, self.taken)
        self._append(
            self.epochs, trainer.current_epoch, trainer.global_step, self.dropped, f"{mean:.6g}",
            f"{metrics['val_loss']:.6g}", f"{metrics['val_iou']:.6g}",
            f"{time.monotonic() - self.began:.1f}",
        )  # fmt: skip
        self.say(
            f"epoch {trainer.current_epoch:3d}  train loss {mean:.4f}  val loss "
            f"{metrics['val_loss']:.4f}  val IoU {metrics['val_iou']:.4f}  "
            f"{time.monotonic() - self.began:.0f} s"
        )


def train(
    config: Config,
    data: Path,
    out: Path,
    *,
    workers: int = 1,
    accelerator: str = "auto",
    devices: int | str = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train one network, or go on where a killed run stopped, or return what is finished.

    Args:
        config: everything but the pictures.
        data: a reduced data set with splits ``train`` and ``val``.
        out: the run's folder, made if missing.
        workers: processes that read pictures and draw strokes; the result does not depend on it.
        accelerator, devices: as Lightning's ``Trainer``.
        say: takes a line of progress an epoch.

    Returns:
        ``out / "weights.safetensors"``: the epoch of lowest validation loss.

    Raises:
        ConfigError: ``out`` holds a run of another configuration or other data, no such
            accelerator is there, or the loss is no longer finite. The run keeps its last epoch.
        coco.DataError: the data set cannot be used.
    """
    weights = out / "weights.safetensors"
    _quieten()
    kept: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(out, "best", monitor="val_loss", **kept)
    # Not `save_last`: that keeps the last epoch that was an improvement.
    latest = ModelCheckpoint(out, "last", **kept)
    stopping = EarlyStopping(
        "val_loss", patience=config.training.patience, check_on_train_epoch_end=True
    )
    bar: list[Callback] = [RichProgressBar(leave=True)] if sys.stderr.isatty() else []
    try:
        trainer = L.Trainer(
            accelerator=accelerator, devices=devices, max_epochs=config.training.epochs,
            precision=config.training.precision,
            callbacks=[CsvLog(out, say), stopping, best, latest, *bar],
            logger=False, deterministic=True,
            enable_progress_bar=bool(bar), enable_model_summary=False, num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )  # fmt: skip
    except MisconfigurationException as error:
        asked = f"accelerator '{accelerator}', devices {devices}"
        raise ConfigError(f"{asked}: {error}; 'auto' takes what there is") from None
    if _claim(config, data, out):
        say(f"{weights}: already trained")
        return weights
    reuse_memory()
    L.seed_everything(config.training.seed, verbose=False)
    module = RefinementModule(config)
    last = out / "last.ckpt"
    _settle(last)
    trainer.fit(
        module, StrokeData(data, config, workers), ckpt_path=last if last.exists() else None
    )
    if trainer.interrupted:
        raise KeyboardInterrupt
    chosen = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(chosen["state_dict"])
    if trainer.is_global_zero:
        annotations = [coco.find_splits(data)[name] for name in SPLITS]
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"device": _device(trainer), "finished": ended}
        write_sidecar(weights, config, annotations, _seconds(out), **facts)
        save_weights(module.network, config, weights)
        record = json.loads((out / "run.json").read_bytes())
        record["finished"] = _epochs_taken(out)
        write_atomic(out / "run.json", json.dumps(record, indent=1) + "\n")
    return weights


def _settle(last: Path) -> None:
    """Tell the checkpoint of a folder that was moved where it is now.

    Lightning forgets which epoch was best where the checkpoint's own path is another.
    """
    if not last.exists():
        return
    here = os.path.realpath(last.parent)
    state = torch.load(last, map_location="cpu", weights_only=True)
    kept = [c for c in state["callbacks"].values() if c.get("dirpath", here) != here]
    for callback in kept:
        callback["dirpath"] = here
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            callback[key] = _inside(here, callback[key])
        best = callback["best_k_models"]
        callback["best_k_models"] = {_inside(here, path): loss for path, loss in best.items()}
    if kept:
        partial = last.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(last)


def _inside(folder: str, path: str) -> str:
    return os.path.join(folder, os.path.basename(path)) if path else path


def _seconds(out: Path) -> float:
    """Wall time of all epochs, those before a kill included."""
    with (out / "log.csv").open() as stream:
        return sum(float(row["seconds"]) for row in csv.DictReader(stream))


def _device(trainer: L.Trainer) -> str:
    """The accelerator that trained, or this machine's processor."""
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else describe_device()


def reuse_memory() -> None:
    """Let the C library keep the memory that tensors give back, for the next step's tensors.

    By default glibc asks the system for every large buffer anew, and the system fills it with
    zeros; ``benchmarks/bench_training.py`` measures what that costs on a CPU. Results are the same
    to the bit. Does nothing where the C library is another one.

    Source: mallopt(3), ``M_MMAP_THRESHOLD`` and ``M_TRIM_THRESHOLD``.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for threshold in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(threshold, 2**31 - 1)


def _quieten() -> None:
    """Leave progress to ``say``: no device banners, and no advice that does not apply here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for advice in ("does not have many workers", "yielded None", "is not empty", "LeafSpec"):
        warnings.filterwarnings("ignore", message=f".*{advice}.*")


def _claim(config: Config, data: Path, out: Path) -> bool:
    """Bind the folder to this configuration and data; whether its training is already finished.

    The number of epochs may change between calls, as it only decides where a run stops.
    """
    mine = {"config": config.model_dump(), "data": fingerprint(data, SPLITS)}
    path, epochs = out / "run.json", config.training.epochs
    before = json.loads(path.read_bytes()) if path.exists() else mine
    before["config"] = parse(before["config"], str(path)).model_dump()  # settings since added
    before["config"]["training"]["epochs"] = epochs
    for part, value in mine.items():
        if before.get(part) != value:
            raise ConfigError(
                f"{path}: this run was started with another {part}; "
                "choose another folder or delete this one"
            )
    taken = _epochs_taken(out)
    if taken > epochs:
        raise ConfigError(f"'training.epochs': {epochs} (got a run that took {taken}, {out})")
    out.mkdir(parents=True, exist_ok=True)
    finished = before.get("finished", taken)  # epochs of the weights; a longer run may be under way
    kept = {"finished": finished} if "finished" in before else {}
    write_atomic(path, json.dumps(mine | kept, indent=1) + "\n")
    if not (out / "weights.safetensors").exists() or finished != taken:
        return False
    run = Run(config.name, config.training.seed, out)
    return taken == epochs or run.waited >= config.training.patience


def _epochs_taken(out: Path) -> int:
    log = out / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0
