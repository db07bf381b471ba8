"""The loop that both networks of a refiner are trained by: AdamW in cycles, averaged weights.

What a step sees depends on the seed and the step alone, so a training that was cut goes on as if it
had not been.
"""

from __future__ import annotations

import copy
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from nseg_lib.config import ConfigError, FitConfig
from nseg_lib.console import progress_bar
from nseg_lib.training.losses import refiner_loss
from nseg_lib.training.refiner_data import EdgeWindows, TrainingCrops
from nseg_lib.training.runs import Log, RunFolder, one_thread, reuse_memory

LOG_EVERY = 200
"""Steps between two rows of ``log.csv``, and between two saved states."""

COLUMNS = ("step", "size", "loss", "train_iou", "seconds")
"""Columns of ``log.csv``: loss and IoU are means over the training crops since the last row."""

GRADIENT_NORM = 5.0
"""Longer gradients are shortened to this."""

Show = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""(input, target, counts, step) → the input that the network sees in this step."""


def fit(
    run: RunFolder,
    network: nn.Module,
    samples: TrainingCrops | EdgeWindows,
    recipe: FitConfig,
    *,
    show: Show = lambda x, y, counts, step: x,
    slow: Sequence[nn.Parameter] = (),
    workers: int = 1,
    device: str = "cpu",
    minutes: float = math.inf,
) -> tuple[nn.Module, float] | None:
    """Train a network, or go on where the run in this folder stopped.

    Args:
        run: a bound folder.
        network: input, float N×C×S×S → logits, float N×1×S×S.
        samples: (step, slot, size) → input, target and counts, as :func:`refiner_loss` has them.
        show: changes what the network sees.
        slow: parameters that learn at the encoder's rate.
        workers, device, minutes: as of :func:`nseg_lib.training.refiner.train`.

    Returns:
        The network of averaged weights, and the seconds that all steps took, those before a cut
        included; ``None`` where the minutes were too few.
    """
    if math.isnan(minutes):  # no time that has passed is above it, so they would never be over
        raise ConfigError("minutes is nan; a number is needed, or leave it out to train to the end")
    begun = time.monotonic()
    reuse_memory()

    # Go on where the run stopped: the state says with which step, the log how long it took so far.
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(network, recipe, slow)
    saved = run.load(run.last, device)
    start = learner.resume(saved) if saved else 0
    log = Log(run.path / "log.csv", COLUMNS)
    rows = log.start(before=start + 1)
    if start and (not rows or int(rows[-1]["step"]) != start):
        run.say(f"{log.path}: broken; its last rows before step {start} are lost")
    seconds_before = float(rows[-1]["seconds"]) if rows else 0.0
    run.say(f"{len(samples)} objects; from step {start} of {recipe.steps}")

    batches = DataLoader(
        samples,
        batch_sampler=Steps(recipe, start),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device == "cuda",
        worker_init_fn=one_thread,
    )
    half = computes_in_bfloat16(device)
    losses, ious = list[Tensor](), list[Tensor]()  # of the steps since the last row
    for step, batch in enumerate(progress_bar(batches, "training", sys.stderr.isatty()), start):
        # One step: forward in half precision where the device has it, loss in 32 bits, backward.
        # Nothing is cached, for in some versions of torch the cache keeps what `show` computed
        # without gradients.
        x, target, counts = (t.to(device, non_blocking=True) for t in batch)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=half, cache_enabled=False):
            x = show(x, target, counts, step)
            logits = network.train()(x)
        loss = refiner_loss(logits.float(), target, counts, recipe)
        learner.step(step, loss)
        losses.append(loss.detach())
        ious.append(mean_iou(logits.detach(), target, counts))

        # A cycle's end leaves a network behind; the last cycle may be shorter.
        taken = step + 1
        if taken % recipe.cycle == 0 or taken == recipe.steps:
            learner.end_cycle()

        # The row before the state: a row whose state was not saved is forgotten on resuming.
        late = time.monotonic() - begun > 60 * minutes
        if taken % LOG_EVERY == 0 or taken == recipe.steps or late:
            size, seconds = target.shape[-1], seconds_before + time.monotonic() - begun
            mean_loss, iou = (torch.stack(values).mean().item() for values in (losses, ious))
            log.add(taken, size, f"{mean_loss:.4f}", f"{iou:.4f}", f"{seconds:.0f}")
            numbers = f"size {size}  loss {mean_loss:.4f}  IoU {iou:.4f}  {seconds:.0f} s"
            run.say(f"step {taken:6d}  {numbers}")
            run.save(run.last, learner.state(taken))
            losses, ious = [], []
        if late and taken < recipe.steps:
            return None
    return learner.mean_of_cycles().to("cpu"), seconds_before + time.monotonic() - begun


def computes_in_bfloat16(device: str) -> bool:
    """Whether half precision is fast there: on every GPU, and on CPUs that have it built in."""
    cpu_has_it = torch.backends.mkldnn.is_available()
    cpu_has_it = cpu_has_it and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device == "cuda" or cpu_has_it


class Steps(Sampler[list[tuple[int, int, int]]]):
    """The (step, slot, size) of each batch from ``start`` on; sizes in equal parts of a cycle."""

    def __init__(self, recipe: FitConfig, start: int) -> None:
        self.recipe, self.start = recipe, start

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        recipe = self.recipe
        for step in range(self.start, recipe.steps):
            size = recipe.size[step % recipe.cycle * len(recipe.size) // recipe.cycle]
            yield [(step, slot, size) for slot in range(recipe.batch_size)]

    def __len__(self) -> int:
        return self.recipe.steps - self.start


def mean_iou(logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """IoU at probability 0.5 over the pixels that count, averaged over the batch; a scalar."""
    found, truth = (logits > 0) & (counts > 0.5), target > 0.5
    union = (found | truth).sum((1, 2, 3)).clamp(min=1)
    return ((found & truth).sum((1, 2, 3)) / union).mean()


class Learner:
    """A network that learns: its optimiser, its moving average, and the averages of its cycles."""

    def __init__(
        self, network: nn.Module, recipe: FitConfig, slow: Sequence[nn.Parameter] = ()
    ) -> None:
        self.network, self.recipe = network, recipe
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.ends: list[dict[str, Tensor]] = []
        # Four groups: pretrained or not, and matrices, which decay, or vectors, which do not.
        pretrained = {id(p) for p in slow}
        groups: list[dict[str, Any]] = []
        for encoder, decays in itertools.product((True, False), repeat=2):
            kind = encoder, decays
            chosen = [p for p in network.parameters() if (id(p) in pretrained, p.ndim > 1) == kind]
            rate = recipe.learning_rate * (recipe.encoder_rate if encoder else 1)
            decay = recipe.weight_decay if decays else 0.0
            groups.append({"params": chosen, "lr": rate, "rate": rate, "weight_decay": decay})
        self.optimizer = torch.optim.AdamW(groups)

    def step(self, step: int, loss: Tensor) -> None:
        """One update of the network, then of its moving average."""
        recipe, place = self.recipe, step % self.recipe.cycle
        # The rate rises in a straight line, then falls to nothing along half a cosine; each cycle
        # anew (Loshchilov and Hutter, "SGDR", ICLR 2017).
        progress = (place - recipe.warmup) / max(1, recipe.cycle - recipe.warmup)
        factor = 0.5 + 0.5 * math.cos(math.pi * progress) if recipe.cosine else 1.0
        if place < recipe.warmup:
            factor = (place + 1) / recipe.warmup
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        # Early on the average follows quickly: it should not remember the random beginning.
        decay = min(recipe.average, (1 + step) / (10 + step))
        now = self.network.state_dict()
        kept = {k: v for k, v in self.average.state_dict().items() if v.is_floating_point()}
        torch._foreach_lerp_([*kept.values()], [now[key] for key in kept], 1 - decay)

    def end_cycle(self) -> None:
        """Remember the averaged network as it is now."""
        self.ends.append({k: v.clone() for k, v in self.average.state_dict().items()})

    def mean_of_cycles(self) -> nn.Module:
        """The mean of the networks at the cycles' ends.

        Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
        Generalization", UAI 2018.
        """
        mean = copy.deepcopy(self.average)
        for key, kept in mean.state_dict().items():
            if kept.is_floating_point():
                kept.copy_(torch.stack([end[key] for end in self.ends]).mean(0))
        return mean

    def state(self, step: int) -> dict[str, Any]:
        """All that is needed to go on with ``step``."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "ends": self.ends,
            "optimizer": self.optimizer.state_dict(),
            "step": step,
        }

    def resume(self, state: dict[str, Any]) -> int:
        """Take a state over; the step to go on with."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        step, self.ends = int(state["step"]), state["ends"]
        if step < self.recipe.steps:  # a last cycle that was shorter goes on: it has no end yet
            self.ends = self.ends[: step // self.recipe.cycle]
        return step
