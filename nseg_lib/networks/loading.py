"""Networks as PyTorch's: built from a file's arrays, asked with plain arrays.

It knows every kind of network; training one kind depends on no code of another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from nseg_lib import networks
from nseg_lib.config import Config, ConfigError, RefinerConfig
from nseg_lib.networks import promptnet
from nseg_lib.networks.engine import Floats
from nseg_lib.networks.looks import Looks, WholePicture
from nseg_lib.networks.promptnet import PromptNet
from nseg_lib.networks.unet import UNet
from nseg_lib.networks.weights import AnyConfig, check_weights, read_weights


class TorchEngine:
    """A network that PyTorch runs, on the device where its weights are; see ``engine.Engine``."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @property
    def edge(self) -> TorchEngine | None:
        """The edge network that belongs to it, if there is one."""
        edge = getattr(self.network, "edge", None)
        return None if edge is None else TorchEngine(edge)

    def infer(self, x: Floats) -> Floats:
        """float32 N×C×H×W → logits, float32 N×H×W."""
        # The refiner's networks run fastest with a pixel's channels side by side.
        paper = isinstance(self.network, UNet)
        layout = torch.contiguous_format if paper else torch.channels_last
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            pixels = torch.from_numpy(x).to(device, memory_format=layout)
            return self.network(pixels)[:, 0].float().cpu().numpy()


def load_weights(path: Path) -> tuple[nn.Module, AnyConfig]:
    """The network of a file that ``save_weights`` wrote, on the CPU, and its configuration.

    Raises:
        ValueError: no such file, not safetensors, or not one of nseg's; one line that names it.
    """
    weights, config = read_weights(path)
    return network_of(path, weights, config), config


def network_of(path: Path, weights: dict[str, NDArray[Any]], config: AnyConfig) -> nn.Module:
    """The network that a configuration describes, with these weights; ``path`` is for messages.

    Raises:
        ValueError: weights that do not fit.
    """
    try:
        with torch.device("meta"):  # without memory: a small file may describe a vast network
            described = _build(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: 'nseg_config': {error}") from None
    shapes = {key: tuple(value.shape) for key, value in described.state_dict().items()}
    check_weights(path, config, shapes, weights)
    network = _build(config)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return network


def _build(config: AnyConfig) -> nn.Module:
    if isinstance(config, RefinerConfig):
        return promptnet.build(config)
    return networks.build(config.model)


def predictor(network: nn.Module, config: AnyConfig) -> WholePicture | Looks:
    """How a network of this configuration is asked; TypeError if it is of another kind."""
    if isinstance(config, RefinerConfig) and isinstance(network, PromptNet):
        return Looks(TorchEngine(network), config.network)
    if isinstance(config, Config) and isinstance(network, UNet):
        return WholePicture(TorchEngine(network), config)
    raise TypeError(f"{type(network).__name__} is no network of {config.name}")
