"""The last step: where exactly the edge runs, at the picture's own resolution.

The looks work on shrunken crops, so their edge is a pixel or two off where the stroke's own edge
may be right to the pixel. A small network sees the picture, the strokes and the second look's
answer at full resolution, and corrects the answer's logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from nseg_lib.interactive import crops
from nseg_lib.interactive.config import EdgeConfig, RefinerConfig
from nseg_lib.interactive.data import TrainingObjects
from nseg_lib.interactive.inference import two_looks
from nseg_lib.interactive.network import EdgeNet, PromptNet
from nseg_lib.losses import SobelLoss, dice_loss

KEEP_EVERY = 200
"""Steps between two checkpoints and lines of progress."""

AVERAGE = 0.995
"""Decay of the moving average of the weights."""


class Seen(NamedTuple):
    """An object as the second look left it, cut out at full resolution."""

    channels: NDArray[np.float16]
    """float16 6×h×w, as :func:`nseg_lib.interactive.crops.edge_input` makes it."""
    truth: NDArray[np.bool_]
    """bool h×w."""


def see(objects: TrainingObjects, network: PromptNet, config: RefinerConfig, key: int) -> Seen:
    """Draw a prompt for an object, look at it twice, and cut out what there is to correct."""
    rng = np.random.default_rng((config.training.seed, 7, key))
    image, mask, (stroke, background) = objects.draw(rng, late=True)
    logits = two_looks(network, config.network, image, stroke, background, None)
    crop = crops.zoom((logits > 0) | stroke, margin=float(rng.uniform(0.1, 0.4)))
    channels = crops.edge_input(image, (stroke, background), logits, crop, config.edges.size)
    height, width = channels.shape[1:]
    truth = crops.resize(mask[crop.window].astype(np.uint8) * 255, height, width) > 127
    return Seen(channels.astype(np.float16), truth)


def windows(seen: list[Seen], edges: EdgeConfig, rng: Generator) -> tuple[Tensor, Tensor]:
    """A batch of windows round places on the truth's edge or the answer's.

    Returns:
        float32 N×6×S×S and float32 N×1×S×S of 0 and 1.
    """
    size = edges.window
    xs = np.zeros((edges.batch_size, 6, size, size), np.float32)
    ys = np.zeros((edges.batch_size, 1, size, size), np.float32)
    xs[:, :3], xs[:, 5] = crops.GREY, -10
    for x, y in zip(xs, ys, strict=True):
        channels, truth = seen[rng.integers(len(seen))]
        height, width = truth.shape
        answer = truth if rng.random() < 0.5 else channels[5] > 0
        edge = answer[1:, 1:] != answer[:-1, :-1]
        places = np.argwhere(edge) if edge.any() else np.array([[height // 2, width // 2]])
        top, left = (
            int(np.clip(at - rng.integers(size // 4, 3 * size // 4), 0, max(0, side - size)))
            for at, side in zip(places[rng.integers(len(places))], truth.shape, strict=True)
        )
        part = slice(top, top + size), slice(left, left + size)
        flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
        high, wide = min(size, height - top), min(size, width - left)
        x[:, :high, :wide] = channels[:, *part][..., flip]
        y[0, :high, :wide] = truth[part][..., flip]
    return torch.from_numpy(xs), torch.from_numpy(ys)


def loss(logits: Tensor, target: Tensor, boundary: float) -> Tensor:
    """Cross-entropy, Dice and the paper's boundary loss, at the picture's resolution."""
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    sobel = SobelLoss().to(logits.device)
    return entropy + 0.5 * dice_loss(logits, target) + boundary * sobel(logits, target)


def train(
    config: RefinerConfig,
    objects: TrainingObjects,
    network: PromptNet,
    out: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Train ``network.edge`` in place on what the network now sees; resumes from ``edges.ckpt``.

    Args:
        config: the recipe.
        objects: to draw on.
        network: after its looks were trained.
        out: the run's folder.
        say: takes a line of progress.
    """
    edge, edges = network.edge, config.edges
    assert edge is not None
    device = next(network.parameters()).device
    state = _State(edge, edges, out / "edges.ckpt")
    if state.start < edges.steps:
        network.eval()
        numbers = track(range(edges.objects), "looking", transient=True)
        seen = [see(objects, network, config, number) for number in numbers]
        say(f"edges: {len(seen)} objects looked at; from step {state.start} of {edges.steps}")
    losses: list[float] = []
    for step in range(state.start, edges.steps):
        rng = np.random.default_rng((config.training.seed, 8, step))
        x, y = (t.to(device) for t in windows(seen, edges, rng))
        value = loss(
            edge.train()(x.contiguous(memory_format=torch.channels_last)), y, edges.boundary
        )
        state.step(step, value)
        losses.append(value.item())
        if (step + 1) % KEEP_EVERY == 0 or step + 1 == edges.steps:
            state.save(step + 1)
            say(f"edges: step {step + 1:6d}  loss {np.mean(losses):.4f}")
            losses = []
    edge.load_state_dict(state.average)
    edge.eval()


class _State:
    """The edge network's optimiser and averaged weights, kept in one file."""

    def __init__(self, edge: EdgeNet, edges: EdgeConfig, path: Path) -> None:
        self.edge, self.edges, self.path, self.start = edge, edges, path, 0
        self.optimizer = torch.optim.AdamW(edge.parameters(), lr=edges.learning_rate)
        self.average = {k: v.detach().clone() for k, v in edge.state_dict().items()}
        if path.exists():
            device = next(edge.parameters()).device
            stored = torch.load(path, map_location=device, weights_only=True)
            edge.load_state_dict(stored["edge"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.average, self.start = stored["average"], stored["step"]

    def step(self, step: int, value: Tensor) -> None:
        """One update at a rate that falls along half a cosine; then the moving average."""
        share = 0.5 + 0.5 * math.cos(math.pi * step / self.edges.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.edges.learning_rate * min(share, (step + 1) / 50)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        self.optimizer.step()
        decay = min(AVERAGE, (1 + step) / (10 + step))
        for key, now in self.edge.state_dict().items():
            if now.is_floating_point():
                self.average[key].lerp_(now, 1 - decay)

    def save(self, step: int) -> None:
        stored = {
            "edge": self.edge.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": step,
        }
        partial = self.path.with_name(f"{self.path.name}.part")
        torch.save(stored, partial)
        partial.replace(self.path)
