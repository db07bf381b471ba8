"""What chapter 07 shows of attention gates: what passes them, and what happens without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nseg_lib.arrays import Image, Mask
from nseg_lib.course import look
from nseg_lib.refine import Refiner

Map = NDArray[np.float32]
"""Attention α of one gate, float32 h×w in (0, 1)."""


def maps(refiner: Refiner, image: Image, stroke: Mask) -> tuple[list[Map], Mask]:
    """The α of every gate, from the deepest to that at full size, and the refined mask.

    Args:
        refiner: its network has ``gates``.
    """
    found: list[Map] = []

    def remember(gate: Any, inputs: Any, _result: Any) -> None:
        found.append(gate.weights(*inputs)[0, 0].numpy())

    network: Any = refiner.network
    hooks = [gate.register_forward_hook(remember) for gate in network.gates]
    answer = refiner.refine(image, stroke, scale=1)
    for hook in hooks:
        hook.remove()
    return found, answer


def show(found: Sequence[Map], image: Image, stroke: Mask, mask: Mask) -> None:
    """Show the picture with stroke and truth, and then each gate's α."""
    fig, axes = look.panels(1, len(found) + 1, size=(8.1 / (len(found) + 1), 2.6))
    look.show(axes[0, 0], image, stroke=stroke, mask=mask, title="stroke and truth")
    for ax, alpha in zip(axes[0, 1:], found, strict=True):
        drawn = ax.imshow(alpha, vmin=0, vmax=1, cmap="viridis")
        ax.set_title(f"α at {alpha.shape[1]}×{alpha.shape[0]}")
    fig.colorbar(drawn, ax=axes[0, 1:], shrink=0.8)
    said = (f"{a.shape[1]}×{a.shape[0]}, from {a.min():.2f} to {a.max():.2f}" for a in found)
    look.finish(fig, f"A picture with stroke and truth, then the gates' α: {'; '.join(said)}.")


def at_full_size(alpha: Map, size: tuple[int, ...]) -> Map:
    """A gate's α at the picture's height and width, by bilinear interpolation."""
    batch = torch.from_numpy(alpha)[None, None]
    resized = nn.functional.interpolate(batch, size=size, mode="bilinear")
    return np.asarray(resized[0, 0].numpy())


@contextmanager
def broken(network: Any, how: str) -> Iterator[None]:
    """Within this context every gate weighs all pixels alike.

    Args:
        network: has ``gates``.
        how: ``mean``, the mean of α everywhere; ``open``, α = 1; anything else changes nothing.
    """

    def replaced(gate: Any, inputs: Any, result: Any) -> Any:
        if how == "open":
            return inputs[1]
        return inputs[1] * gate.weights(*inputs).mean() if how == "mean" else result

    hooks = [gate.register_forward_hook(replaced) for gate in network.gates]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
