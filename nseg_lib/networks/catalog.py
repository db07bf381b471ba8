"""The networks by name: built from their configuration, and what each one costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from nseg_lib import config
from nseg_lib.config import ConfigError, ModelConfig
from nseg_lib.networks.attention import AttentionUNet
from nseg_lib.networks.inputs import CHANNELS
from nseg_lib.networks.residual import BlockResidualUNet, MaskResidualUNet
from nseg_lib.networks.unet import UNet

FAMILIES: dict[str, type[UNet]] = {
    "tiny": UNet,
    "res": MaskResidualUNet,
    "attn": AttentionUNet,
    "blockres": BlockResidualUNet,
}
"""Architecture, as configurations name it → its class. A new one is one entry here."""


def build(model: ModelConfig) -> UNet:
    """The network of a configuration, freshly initialised from torch's global generator.

    Raises:
        ConfigError: no such architecture.
    """
    if model.architecture not in FAMILIES:
        known = f"one of: {', '.join(FAMILIES)}"
        raise ConfigError(f"'model.architecture': unknown '{model.architecture}'; {known}")
    return FAMILIES[model.architecture](model.widths, CHANNELS[model.inputs])


@dataclass(frozen=True)
class ModelSize:
    """What a network costs, in the terms of the paper's Table 2 and beyond it."""

    name: str
    architecture: str
    widths: tuple[int, ...]
    inputs: str
    parameters: int
    gflop: float
    """10⁹ floating-point operations of one 640x480 forward pass, a multiply-add counted as two."""

    @property
    def weight_bytes(self) -> int:
        """Weights alone, as float32."""
        return 4 * self.parameters

    @property
    def checkpoint_bytes(self) -> int:
        """Weights and Adam's two moments: what the paper's Table 2 gives in MiB, less overhead."""
        return 12 * self.parameters


def size(name: str) -> ModelSize:
    """Count parameters and operations of a named configuration, without allocating weights."""
    model = config.load(name).model
    with torch.device("meta"):
        network = build(model).eval()
        picture = torch.empty(1, CHANNELS[model.inputs], 480, 640)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(picture)
    described = name, model.architecture, tuple(model.widths), model.inputs
    parameters = sum(p.numel() for p in network.parameters())
    return ModelSize(*described, parameters, counter.get_total_flops() / 1e9)
