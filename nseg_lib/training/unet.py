"""Train a network of the paper with Lightning, by the paper's protocol (section 2.5).

Started again in the same folder (:mod:`nseg_lib.training.runs`), a training goes on after its last
finished epoch and ends in the same weights as one that was never cut; on a CPU, bit for bit.
Explained in chapter ``04_training_by_hand``.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.utils.data import DataLoader

from nseg_lib import networks as models
from nseg_lib.config import Config, ConfigError
from nseg_lib.data import coco
from nseg_lib.data.datasets import EpochBatches, FrozenPairs, Pair, TrainingPairs, collate
from nseg_lib.evaluation.metrics import evaluate_mask
from nseg_lib.training.losses import RefinementLoss
from nseg_lib.training.processes import check_devices, check_machines
from nseg_lib.training.runs import Log, RunFolder, one_thread, reuse_memory

SPLITS = ("train", "val")

LOG_EVERY = 5
"""Steps between two rows of ``steps.csv``, as in the authors' logs."""

JUDGED = ("pixel_accuracy", "boundary_iou_1px", "hd95")
"""Metrics of every epoch's validation, besides its loss and IoU."""

EPOCHS = (
    "epoch", "steps", "dropped", "train_loss", "val_loss", "val_iou",
    *(f"val_{name}" for name in JUDGED), "seconds",
)  # fmt: skip
"""Columns of ``log.csv``. ``dropped`` counts batches without a stroke: pictures, where batches hold
one, as the paper's. Several processes write one row for all."""


def train(
    config: Config,
    data: Path,
    out: Path,
    *,
    workers: int = 1,
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train one network, or go on where a killed run stopped, or return what is finished.

    Args:
        config: everything but the pictures.
        data: a reduced data set with splits ``train`` and ``val``.
        out: the run's folder, made if missing.
        workers: processes that read pictures and draw strokes; the result does not depend on it.
        accelerator: as Lightning's ``Trainer``.
        devices, nodes: processes on each machine, and machines. One step takes a batch from each
            process. Unless torchrun or Slurm started them, Lightning starts this machine's other
            processes by the command line of this one, so that it must be one that calls ``train``.
        say: takes a line of progress per epoch.

    Returns:
        ``out / "weights.safetensors"``: the epoch of lowest validation loss.

    Raises:
        ConfigError: ``out`` holds a run of another configuration, other data or another number
            of processes, no such accelerator or fewer devices are there, nothing has started the
            other machines, or the loss is no longer finite. The run keeps its last epoch.
        coco.DataError: the data set cannot be used.
        SystemExit: with status 143, on SIGTERM.
    """
    run, t = RunFolder(out, say), config.training
    with run.under_way():
        # Everything that decides when to stop and what to keep is in one callback.
        bar: list[Callback] = [RichProgressBar(leave=True)] if sys.stderr.isatty() else []
        check_devices(accelerator, devices)
        try:
            trainer = L.Trainer(
                accelerator=accelerator, devices=devices, num_nodes=nodes, precision=t.precision,
                max_epochs=t.epochs, deterministic=True,
                callbacks=[EpochEnds(run, t.patience), *bar],
                plugins=[WholeFiles(run)], logger=False, enable_progress_bar=bool(bar),
                enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
            )  # fmt: skip
        except MisconfigurationException as error:
            asked = f"accelerator '{accelerator}', devices {devices}"
            raise ConfigError(f"{asked}: {error}; 'auto' takes what there is") from None

        check_machines(trainer, devices, nodes)

        # The folder may hold another training, a part of this one, or all of it.
        run.processes, run.leads = trainer.world_size, trainer.is_global_zero
        run.bind(config, settings_that_bind, data, SPLITS)
        log = Log(out / "log.csv", EPOCHS)
        if is_finished(run, log, t.epochs, t.patience):
            say(f"{run.weights}: already trained")
            return run.weights

        # The seed decides the first weights; order and strokes depend on it and the epoch alone.
        reuse_memory()
        L.seed_everything(t.seed, verbose=False)
        # Deterministic torch fills new tensors with NaN before they are written; nothing here reads
        # one before that, and the filling costs time in every step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        module = RefinementModule(config)
        trainer.fit(module, StrokeData(data, config, workers, out), ckpt_path=resume_from(run))
        if trainer.interrupted:
            raise KeyboardInterrupt

        # Not the last epoch is the result, but the best.
        best = torch.load(run.best, map_location="cpu", weights_only=True)
        module.load_state_dict(best["state_dict"])
        if trainer.is_global_zero:
            rows, inputs = log.rows(), [coco.find_splits(data)[name] for name in SPLITS]
            seconds = sum(float(row["seconds"]) for row in rows)
            run.finish(module.network, config, inputs, seconds, processes=run.processes)
            run.note(finished=len(rows))
    return run.weights


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

    def training_step(self, batch: tuple[Tensor, ...] | None, batch_idx: int) -> Tensor | None:
        """Loss of one batch, a scalar; a batch whose stroke was dropped takes no step.

        Several processes wait for one another in each step, so one that has no picture (``()``)
        must give a gradient of every parameter, too: of 0.
        """
        if batch is None:
            return None
        if not batch:
            return torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0
        inputs, target, *weight = batch
        loss = self.loss_of(self(inputs), target)
        return loss * weight[0] if weight else loss

    def loss_of(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss in 32 bits whatever the network computes in: Sobel magnitudes need them."""
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss(logits.float(), target)

    def validation_step(self, batch: Pair, batch_idx: int) -> None:
        """Loss, and metrics at probability 0.5, on a frozen stroke; Lightning averages them."""
        inputs, target = batch
        logits = self(inputs)
        # A logit above 0 is a probability above 0.5. Both empty is an IoU of 0 here, not 1.
        predicted, truth = logits > 0, target > 0.5
        union = (predicted | truth).sum()
        iou = (predicted & truth).sum() / union.clamp(min=1)
        values = evaluate_mask(predicted[0, 0].cpu().numpy(), truth[0, 0].cpu().numpy())
        judged = {"val_loss": self.loss_of(logits, target), "val_iou": iou}
        judged |= {f"val_{name}": values[name] for name in JUDGED}
        self.log_dict(judged, on_epoch=True, batch_size=1, sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma and Ba 2015) with torch's default moments."""
        return torch.optim.Adam(self.parameters(), lr=self.config.training.learning_rate)


class StrokeData(L.LightningDataModule):
    """The ``train`` and ``val`` splits of a reduced data set, as a configuration asks.

    Frozen strokes of ``val`` go to the folder ``spare`` where the data set can only be read.
    """

    def __init__(self, root: Path, config: Config, workers: int, spare: Path) -> None:
        super().__init__()
        self.root, self.config, self.spare = root, config, spare
        self.loading: dict[str, Any] = {"num_workers": workers, "worker_init_fn": one_thread}
        self.loading["persistent_workers"] = workers > 0

    def setup(self, stage: str) -> None:
        """Index both splits; draws the frozen strokes of ``val`` where they are missing."""
        c = self.config
        train = coco.load_split(self.root, "train")
        self.train = TrainingPairs(train, c.data, c.model.inputs, c.training.seed)
        val = replace(coco.load_split(self.root, "val"), spare=self.spare)
        self.val = FrozenPairs(val, c.data, c.model.inputs)
        self.val.samples.check()
        if not len(self.train):
            raise coco.DataError(f"{self.root}: split 'train' has no object")

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches in an order that only the seed and the epoch decide."""
        t, trainer = self.config.training, self.trainer
        assert trainer is not None
        ranks = trainer.global_rank, trainer.world_size
        batches = EpochBatches(self.train.sizes(), t.batch_size, t.seed, *ranks)
        # A resumed training's processes fetch ahead before Lightning tells which epoch it is
        # (Lightning issue 21938).
        progress: Any = trainer.fit_loop.epoch_progress.current
        batches.set_epoch(progress.processed)
        return DataLoader(self.train, batch_sampler=batches, collate_fn=collate, **self.loading)

    def on_before_batch_transfer(self, batch: Pair | None, dataloader_idx: int) -> Any:
        """Weigh a training batch among those that several processes take in one step.

        The processes' gradients are averaged. With a weight of n·k/N, where k processes have N
        pictures and this one n of them, each picture counts the same. Where there is none at all,
        ``None`` lets every process pass over the step.
        """
        trainer: Any = self.trainer
        if trainer.world_size == 1 or not trainer.training:
            return batch
        pictures = len(batch[0]) if batch else 0
        whole = torch.tensor(pictures, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(whole)
        if not whole:
            return None
        return (*batch, pictures * trainer.world_size / whole) if batch else ()

    def val_dataloader(self) -> DataLoader[Any]:
        """One picture at a time, whatever their sizes."""
        return DataLoader(self.val, batch_size=1, **self.loading)


class EpochEnds(Checkpoint):
    """What happens when an epoch ends: it is logged, then kept, and perhaps it was the last.

    ``log.csv`` and ``steps.csv`` are written here, since Lightning's own logger starts an empty
    file when a run resumes. The latest epochs are kept, and the one of lowest validation loss;
    after ``patience`` epochs without a lower one, training stops (section 2.5).
    """

    def __init__(self, run: RunFolder, patience: int) -> None:
        self.run, self.patience = run, patience
        self.epochs = Log(run.path / "log.csv", EPOCHS)
        self.steps = Log(run.path / "steps.csv", ("epoch", "step", "train_loss"))
        self.best_score, self.wait_count = math.inf, 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size > 1:  # Lightning's own handler waits for the others, who wait for it
            signal.signal(signal.SIGTERM, self.run.stop)
        if trainer.is_global_zero:
            self.steps.start(before=trainer.current_epoch)
            lost = trainer.current_epoch - len(self.epochs.start(before=trainer.current_epoch))
            if lost:
                self.run.say(f"{self.epochs.path}: broken; the rows of {lost} epochs are lost")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began, self.dropped = time.monotonic(), 0
        self.losses: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.dropped += not batch
        if not outputs:  # no step was taken
            return
        # Kept where it was computed: a number would make every step wait for the GPU.
        self.losses.append(outputs["loss"].detach())
        if len(self.losses) % LOG_EVERY == 0:
            loss = trainer.strategy.reduce(self.losses[-1].clone(), reduce_op="mean")
            if trainer.is_global_zero:
                self.steps.add(trainer.current_epoch, trainer.global_step, f"{loss.item():.6g}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch, seconds = trainer.current_epoch, time.monotonic() - self.began
        loss, *values = (float(trainer.callback_metrics[name]) for name in EPOCHS[4:-1])
        if not math.isfinite(loss):  # nothing of this epoch is kept
            raise ConfigError(
                f"{self.run.path}: the validation loss of epoch {epoch} is {loss}; "
                "try a lower training.learning_rate, in another folder"
            )
        # The mean over the processes is the loss of all that a step has taken.
        reduce, device = trainer.strategy.reduce, pl_module.device
        taken = torch.stack(self.losses) if self.losses else torch.zeros(1, device=device)
        losses = reduce(taken, reduce_op="mean").tolist()
        empty = int(reduce(torch.tensor(self.dropped, device=device), reduce_op="sum"))
        padding = trainer.train_dataloader.batch_sampler.padding  # type: ignore[union-attr]
        # The row before the state: a row whose state was not saved is forgotten on resuming.
        if trainer.is_global_zero:
            mean = sum(losses) / max(1, len(losses))
            self.epochs.add(
                epoch, trainer.global_step, empty - padding,
                *(f"{value:.6g}" for value in (mean, loss, *values)), f"{seconds:.1f}",
            )  # fmt: skip
            self.run.say(
                f"epoch {epoch:3d}  train loss {mean:.4f}  val loss {loss:.4f}  "
                f"val IoU {values[0]:.4f}  {seconds:.0f} s"
            )
        better = loss < self.best_score
        self.best_score = min(loss, self.best_score)
        self.wait_count = 0 if better else self.wait_count + 1
        trainer.should_stop |= self.wait_count >= self.patience
        # What a cut leaves out is made again when the epoch is, so the states come last; of these
        # the best first: a cut between the two costs an epoch's time, but not the best epoch.
        if trainer.is_global_zero:
            assert isinstance(pl_module, RefinementModule)
            self.run.keep_epoch(epoch, pl_module.network, pl_module.config)
        if better:
            trainer.save_checkpoint(self.run.best)
        trainer.save_checkpoint(self.run.last)

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "wait_count": self.wait_count}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = early_stopping(checkpoint)
        self.best_score, self.wait_count = float(state["best_score"]), int(state["wait_count"])
        trainer.should_stop = self.wait_count >= self.patience  # it had stopped, and was cut then


class WholeFiles(TorchCheckpointIO):
    """Let Lightning write checkpoints as every training here does: whole or not at all."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        self.run.save(Path(path), checkpoint)


def settings_that_bind(config: Config) -> dict[str, Any]:
    """All settings but the number of epochs, which only decides where a training stops."""
    values = config.model_dump(mode="json")
    del values["training"]["epochs"]
    return values


def is_finished(run: RunFolder, log: Log, epochs: int, patience: int) -> bool:
    """Whether the folder's weights are those of the whole training.

    Raises:
        ConfigError: it took more epochs than are asked for.
    """
    losses = [float(row["val_loss"]) for row in log.rows()]
    finished = run.record.get("finished", len(losses))  # the epochs that the weights are of
    taken = len(losses) or finished
    if taken > epochs:
        raise ConfigError(f"'training.epochs': {epochs} (got a run that took {taken}, {run.path})")
    if not run.weights.exists() or finished != taken:  # a longer training may be under way
        return False
    waited = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    return taken == epochs or waited >= patience


def early_stopping(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """``best_score`` and ``wait_count`` of a checkpoint.

    :class:`EpochEnds` keeps them there; before November 2026, Lightning's own ``EarlyStopping``
    did, under the same names.
    """
    return next(state for state in checkpoint["callbacks"].values() if "wait_count" in state)


def resume_from(run: RunFolder) -> Path | None:
    """The checkpoint that a training goes on from; ``None``: from the beginning."""
    last, best = run.load(run.last), run.load(run.best)
    if last and not best and early_stopping(last)["wait_count"] == 0:
        run.save(run.best, last)  # the last epoch was the best
        best = last
    if last and best:
        return run.last
    if best:
        run.say(f"{run.path}: going on after its best epoch, {best['epoch']}")
        return run.best
    if run.last.exists() or run.best.exists():
        run.say(f"{run.path}: its best epoch is lost, so it begins anew")
    return None
