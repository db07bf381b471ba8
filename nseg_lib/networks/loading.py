"""Load a network from a file of weights, and make a predictor of a network.

It knows every kind of network; training one kind depends on no code of another.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from nseg_lib import config as configuration
from nseg_lib import networks, parsing
from nseg_lib.config import Config, ConfigError, RefinerConfig
from nseg_lib.networks import promptnet
from nseg_lib.networks.looks import Looks, WholePicture
from nseg_lib.networks.promptnet import PromptNet
from nseg_lib.networks.unet import UNet
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.parsing import short

AnyConfig = Config | RefinerConfig
"""Of a network of the paper, or of an interactive refiner."""


def load_weights(path: Path) -> tuple[nn.Module, AnyConfig]:
    """The network of a file that ``save_weights`` wrote, on the CPU, and its configuration.

    Raises:
        ValueError: no such file, not safetensors, or not one of nseg's; one line that names it.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a checkpoint")
    if not path.is_file():
        names = ", ".join(PRETRAINED)
        raise ValueError(f"{path}: no such checkpoint; a file, or one of {names}, is needed")
    try:
        with safe_open(str(path), framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None
    if "nseg_config" not in metadata:
        raise ValueError(f"{path}: has no 'nseg_config' in its metadata; not written by nseg")
    source = f"{path}: 'nseg_config'"
    values = parsing.read_json(metadata["nseg_config"], source)
    # Only a refiner's recipe has a section "network".
    refiner = isinstance(values, dict) and "network" in values
    kind: type[AnyConfig] = RefinerConfig if refiner else Config
    config: AnyConfig = configuration.parse(values, source, kind)
    try:
        with torch.device("meta"):  # without memory: a small file may describe a vast network
            described = _build(config)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    shapes = {key: tuple(value.shape) for key, value in described.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if wrong := [key for key in shapes | found if shapes.get(key) != found.get(key)]:
        is_, needed = (given.get(wrong[0], "missing") for given in (found, shapes))
        raise ValueError(
            f"{path}: weights do not fit {config.name}: {short(wrong[0])} is {is_} in the file, "
            f"{needed} in the network"
        )
    network = _build(config)
    network.load_state_dict(weights)
    return network, config


def _build(config: AnyConfig) -> nn.Module:
    if isinstance(config, RefinerConfig):
        return promptnet.build(config)
    return networks.build(config.model)


def predictor(network: nn.Module, config: AnyConfig) -> WholePicture | Looks:
    """How a network of this configuration is asked; TypeError if it is of another kind."""
    if isinstance(config, RefinerConfig) and isinstance(network, PromptNet):
        return Looks(network, config.network)
    if isinstance(config, Config) and isinstance(network, UNet):
        return WholePicture(network, config)
    raise TypeError(f"{type(network).__name__} is no network of {config.name}")
