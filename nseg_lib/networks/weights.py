"""Files of weights: what the package ships, how they are read, and written whole or not at all.

Weights are plain arrays here, so that this needs no PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nseg_lib import config as configuration
from nseg_lib import extras, parsing
from nseg_lib.config import Config, RefinerConfig, Strict
from nseg_lib.files import sha256, write_atomic
from nseg_lib.parsing import short

if TYPE_CHECKING:
    from torch import nn

PRETRAINED = (
    "lite1", "lite0",
    "attn16-32_bce-dice-bound", "res16-128_bce-dice", "res16-32_bce-dice", "tiny16-32_bce-dice",
)  # fmt: skip
"""Networks in the package, the default first: the interactive refiner, which knows thin scribbles,
boxes, coarse masks and corrections; the one that it started from; the paper's network with
attention gates at a smaller width; and three of the paper's own. These four know strokes that
nearly cover the object."""

AnyConfig = Config | RefinerConfig
"""Of a network of the paper, or of an interactive refiner."""


def read_weights(path: Path) -> tuple[dict[str, NDArray[Any]], AnyConfig]:
    """The arrays of a file that :func:`save_weights` wrote, by name, and its configuration.

    Raises:
        ValueError: no such file, not safetensors, or not one of nseg's; one line that names it.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a checkpoint")
    if not path.is_file():
        names = ", ".join(PRETRAINED)
        raise ValueError(f"{path}: no such checkpoint; a file, or one of {names}, is needed")
    try:
        with safe_open(str(path), framework="np") as stored:
            metadata = stored.metadata() or {}
            weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a dtype NumPy has not
        raise ValueError(f"{path}: not a safetensors file ({error})") from None
    if "nseg_config" not in metadata:
        raise ValueError(f"{path}: has no 'nseg_config' in its metadata; not written by nseg")
    source = f"{path}: 'nseg_config'"
    values = parsing.read_json(metadata["nseg_config"], source)
    # Only a refiner's recipe has a section "network".
    refiner = isinstance(values, dict) and "network" in values
    kind: type[AnyConfig] = RefinerConfig if refiner else Config
    config: AnyConfig = configuration.parse(values, source, kind)
    return weights, config


def check_weights(
    path: Path,
    config: AnyConfig,
    needed: Mapping[str, tuple[int, ...]],
    weights: Mapping[str, NDArray[Any]],
) -> None:
    """Raise ValueError unless a file's arrays are finite numbers as the network needs them."""
    found = {key: value.shape for key, value in weights.items()}
    if wrong := [key for key in {**needed, **found} if needed.get(key) != found.get(key)]:
        is_, must = (given.get(wrong[0], "missing") for given in (found, needed))
        raise ValueError(
            f"{path}: weights do not fit {config.name}: {short(wrong[0])} is {is_} in the file, "
            f"{must} in the network"
        )
    for key, value in weights.items():
        if key.endswith("num_batches_tracked"):  # a counter of training steps
            continue
        if value.dtype.kind != "f":
            raise ValueError(f"{path}: {short(key)} is {value.dtype}, floating point is needed")
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: weights are not finite, perhaps of a training that diverged")


def save_weights(network: nn.Module, config: Strict, path: Path) -> None:
    """Write weights and their configuration as safetensors, complete or not at all.

    A network of the paper keeps its weights as they are; an interactive refiner's are kept in half
    precision, which changes no mask noticeably.

    Raises:
        OSError: the file cannot be written; what was there before stays.
    """
    small = not isinstance(config, Config)
    tensors = {
        k: (v.half() if small and v.is_floating_point() else v).detach().cpu()
        for k, v in network.state_dict().items()
    }
    arrays = {key: np.asarray(value, order="C") for key, value in tensors.items()}
    write_atomic(path, save(arrays, {"nseg_config": config.model_dump_json()}))


def write_checksums(folder: Path) -> Path:
    """Write ``SHA256SUMS`` of a folder's safetensors files, as ``sha256sum`` does; its path."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.safetensors"))]
    target = folder / "SHA256SUMS"
    write_atomic(target, "".join(lines))
    return target


def shipped(name: str) -> Path:
    """The file of a network of :data:`PRETRAINED`."""
    return Path(__file__).parent.parent / "weights" / f"{name}.safetensors"


@dataclass(frozen=True)
class Card:
    """What a shipped network is, told without PyTorch."""

    name: str
    inputs: str
    """Of a network of the paper, as its configuration names them; else what prompts it takes."""
    parameters: int
    weight_bytes: int
    """As float32."""


def card(name: str) -> Card:
    """The card of a network of :data:`PRETRAINED`."""
    arrays, config = read_weights(shipped(name))
    # What batch normalisation has counted is in the file too, and was not learned.
    counted = ("running_mean", "running_var", "num_batches_tracked")
    learned = [value.size for key, value in arrays.items() if not key.endswith(counted)]
    inputs = config.model.inputs if isinstance(config, Config) else "any prompt"
    return Card(name, inputs, sum(learned), 4 * sum(learned))


def checkpoint_file(wanted: str | Path) -> Path:
    """The file of a network: of :data:`PRETRAINED` by its name, else the path as it is given.

    Raises:
        TypeError: neither a name nor a path.
    """
    if not isinstance(wanted, str | Path):
        raise TypeError(f"checkpoint must be a name or a path, got {type(wanted).__name__}")
    return shipped(str(wanted)) if str(wanted) in PRETRAINED else Path(wanted)


def usable_device(name: str) -> str:
    """The name of a device; ValueError where this machine has none of it."""
    if not isinstance(name, str) or not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ValueError(f"device must be cpu, cuda or cuda:N, got {name!r}")
    if name != "cpu":
        try:
            import torch
        except ImportError:
            command = extras.install_command("train")
            raise ValueError(f"device {name} needs PyTorch: {command}") from None
        if int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
            raise ValueError(f"device {name} is not available here; cpu is")
    return name
