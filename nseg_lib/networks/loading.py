"""From a file of weights to a network, and from a network to what can be asked.

Apart from :mod:`nseg_lib.networks.weights`, because it knows every kind of network: training one
kind depends on no code of another.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import nn

from nseg_lib import config as configuration
from nseg_lib import networks
from nseg_lib.config import Config, RefinerConfig
from nseg_lib.networks import promptnet
from nseg_lib.networks.looks import TwoLooks, WholePicture
from nseg_lib.networks.promptnet import PromptNet
from nseg_lib.networks.unet import UNet
from nseg_lib.networks.weights import PRETRAINED

AnyConfig = Config | RefinerConfig
"""Of a network of the paper, or of an interactive refiner."""


def load_weights(path: Path) -> tuple[nn.Module, AnyConfig]:
    """The network of a file, on the CPU, and its configuration.

    Args:
        path: what :func:`nseg_lib.networks.weights.save_weights` wrote.

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
    try:
        values = json.loads(metadata["nseg_config"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not valid JSON: {error}") from None
    network: nn.Module
    config: AnyConfig
    if isinstance(values, dict) and "network" in values:  # which only a refiner's recipe has
        config = configuration.parse(values, source, RefinerConfig)
        network = promptnet.build(config)
    else:
        config = configuration.parse(values, source)
        network = networks.build(config.model)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(f"{path}: weights do not fit {config.name}: {first}") from None
    return network, config


def predictor(network: nn.Module, config: AnyConfig) -> WholePicture | TwoLooks:
    """How a network of this configuration is asked.

    Raises:
        TypeError: the network is not of the kind that the configuration describes.
    """
    if isinstance(config, RefinerConfig) and isinstance(network, PromptNet):
        return TwoLooks(network, config.network)
    if isinstance(config, Config) and isinstance(network, UNet):
        return WholePicture(network, config)
    raise TypeError(f"{type(network).__name__} is no network of {config.name}")
