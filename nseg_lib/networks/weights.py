"""Weights and the configuration they belong to: one safetensors file, written and read whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from nseg_lib import config as configuration
from nseg_lib import networks
from nseg_lib.config import Config, Strict
from nseg_lib.files import sha256, write_atomic
from nseg_lib.networks import promptnet
from nseg_lib.networks.looks import TwoLooks, WholePicture
from nseg_lib.networks.promptnet import PromptNet
from nseg_lib.networks.recipe import RefinerConfig
from nseg_lib.networks.unet import UNet

PRETRAINED = ("lite0", "res16-128_bce-dice", "res16-32_bce-dice", "tiny16-32_bce-dice")
"""Networks in the package, the default first: the interactive refiner, which knows thin scribbles,
coarse masks and corrections, and three of the paper's, which know strokes that nearly cover the
object."""

AnyConfig = Config | RefinerConfig
"""Of a network of the paper, or of an interactive refiner."""


def save_weights(network: nn.Module, config: Strict, path: Path) -> None:
    """Write weights and their configuration as safetensors, complete or not at all.

    A network of the paper keeps its weights as they are; an interactive refiner's are kept in half
    precision, which changes no mask noticeably.

    Args:
        network: on any device.
        config: of the paper's network (:class:`nseg_lib.config.Config`) or of the refiner.
        path: the ``.safetensors`` file; its folder is made if missing.

    Raises:
        OSError: the file cannot be written; what was there before stays.
    """
    small = not isinstance(config, Config)
    tensors = {
        k: (v.half() if small and v.is_floating_point() else v).detach().cpu().contiguous()
        for k, v in network.state_dict().items()
    }
    write_atomic(path, save(tensors, {"nseg_config": config.model_dump_json()}))


def load_weights(path: Path) -> tuple[nn.Module, AnyConfig]:
    """Read what :func:`save_weights` wrote: the network, on the CPU, and its configuration.

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


def write_checksums(folder: Path) -> Path:
    """Write ``SHA256SUMS`` of a folder's safetensors files, as ``sha256sum`` does; its path."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.safetensors"))]
    target = folder / "SHA256SUMS"
    write_atomic(target, "".join(lines))
    return target


def shipped(name: str) -> Path:
    """The file of a network of :data:`PRETRAINED`."""
    return Path(__file__).parent.parent / "weights" / f"{name}.safetensors"


def checkpoint_file(wanted: str | Path) -> Path:
    """The file of a network: of :data:`PRETRAINED` by its name, else the path as it is given."""
    return shipped(str(wanted)) if str(wanted) in PRETRAINED else Path(wanted)


def usable_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: it is not ``cpu``, ``cuda`` or ``cuda:N``, or this machine has no such GPU.
    """
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got '{name}'")
    device = torch.device(name)
    if device.type == "cuda" and not (
        torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    ):
        raise ValueError(f"device {name} is not available here; cpu is")
    return device
