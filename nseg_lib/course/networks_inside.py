"""What chapter 03 shows of a network: its work, how far it sees, what its channels hold."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nseg_lib import networks
from nseg_lib.arrays import Mask
from nseg_lib.course import look
from nseg_lib.course.tracing import Stage, trace
from nseg_lib.palette import PALETTE


def stages_table(
    network: nn.Module, height: int, width: int
) -> list[tuple[str, int, str, int, float]]:
    """Of every stage with parameters: name, channels, size, parameters, million multiplications."""
    stages = trace(network, height, width)
    return [
        (s.name, s.shape[0], f"{s.shape[2]}×{s.shape[1]}", s.parameters,
         _multiplications(s, stages[s.sources[0]]) / 1e6)
        for s in stages[1:] if s.parameters
    ]  # fmt: skip


def _multiplications(stage: Stage, before: Stage) -> int:
    """Of a stage's convolutions: one per weight and pixel."""
    _, height, width = stage.shape
    inputs, total = before.shape[0], 0
    for layer in stage.layers:
        if layer.kind == "convolution":
            total += layer.kernel**2 * inputs * layer.channels * height * width
            inputs = layer.channels
        if layer.kind == "upsampling":
            total += inputs * layer.channels * height * width
    return total


def receptive_map(network: networks.UNet, size: int) -> Mask:
    """Where the input can change the output's middle pixel, norms left out: bool size×size."""
    network = copy.deepcopy(network)
    for block in network.modules():
        if isinstance(block, nn.Sequential):
            for i, layer in enumerate(block):
                if isinstance(layer, nn.GroupNorm):
                    block[i] = nn.Identity()
    # Which of four pixels is the largest changes with the picture, so all four count.
    network.pool = nn.AvgPool2d(2)  # type: ignore[assignment]
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)  # positive: no ReLU closes, nothing cancels
    x = torch.rand(1, first.in_channels, size, size, requires_grad=True)
    network(x)[0, 0, size // 2, size // 2].backward()
    assert x.grad is not None
    return np.asarray((x.grad[0].abs().sum(0) > 0).numpy())


def show_receptive_fields(widths: Mapping[int, Sequence[int]], size: int = 256) -> None:
    """Show what the middle pixel can know about, for U-Nets of so many levels: levels → widths."""
    fig, axes = look.panels(1, len(widths), size=(2.7, 2.95))
    said = []
    for ax, (levels, of_levels) in zip(axes.flat, widths.items(), strict=True):
        seen = receptive_map(networks.UNet(list(of_levels)), size)
        side = np.flatnonzero(seen.any(axis=0))
        title = f"levels: {levels}, {side[-1] - side[0] + 1} px across"
        look.show(ax, seen, title=title)
        ax.plot(size // 2, size // 2, ".", color=PALETTE["prediction"])
        said.append(title)
    look.finish(fig, f"White squares round a magenta pixel, what it can see: {'; '.join(said)}.")


def show_channels(network: nn.Module, x: Tensor, number: int = 3) -> None:
    """Show the channels of each block that vary most, and their correlation with the stroke.

    Args:
        network: a U-Net of two levels.
        x: its input, float 1×3×H×W; channel 0 is the stroke.
    """
    seen: dict[str, Tensor] = {}
    blocks = ("encoder.0", "encoder.1", "bottleneck", "decoder.0", "decoder.1")
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, result, name=name: seen.update({name: result[0]})
        )
        for name in blocks
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    fig, axes = look.panels(number, len(blocks), size=(2.0, 1.6))
    said = []
    for column, (name, features) in zip(axes.T, seen.items(), strict=True):
        height, width = features.shape[1:]
        stroke = nn.functional.adaptive_avg_pool2d(x[:, :1], (height, width))[0, 0]
        strongest = features.std(dim=(1, 2)).argsort(descending=True)[:number]
        for ax, index in zip(column, strongest, strict=True):
            channel: NDArray[np.float32] = features[index].numpy()
            alike = np.corrcoef(channel.ravel(), stroke.numpy().ravel())[0, 1]
            look.show(ax, channel, title=f"{name}: {alike:+.2f}")
            said.append(f"{name} {alike:+.2f}")
    look.finish(fig, f"Channels of each block; correlation with the stroke: {', '.join(said)}.")
