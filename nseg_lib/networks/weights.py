"""Files of weights: what the package ships, and how weights are written, whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from nseg_lib.config import Config, Strict
from nseg_lib.files import sha256, write_atomic

PRETRAINED = ("lite1", "lite0", "res16-128_bce-dice", "res16-32_bce-dice", "tiny16-32_bce-dice")
"""Networks in the package, the default first: the interactive refiner, which knows thin scribbles,
boxes, coarse masks and corrections; the one that it started from; and three of the paper's, which
know strokes that nearly cover the object."""


def save_weights(network: nn.Module, config: Strict, path: Path) -> None:
    """Write weights and their configuration as safetensors, complete or not at all.

    A network of the paper keeps its weights as they are; an interactive refiner's are kept in half
    precision, which changes no mask noticeably.

    Raises:
        OSError: the file cannot be written; what was there before stays.
    """
    small = not isinstance(config, Config)
    tensors = {
        k: (v.half() if small and v.is_floating_point() else v).detach().cpu().contiguous()
        for k, v in network.state_dict().items()
    }
    write_atomic(path, save(tensors, {"nseg_config": config.model_dump_json()}))


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
    """The device of this name; ValueError where this machine has none."""
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got '{name}'")
    device = torch.device(name)
    if device.type == "cuda" and not (
        torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    ):
        raise ValueError(f"device {name} is not available here; cpu is")
    return device
