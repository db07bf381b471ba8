"""Weights on their way out: a network and its configuration in one file, and files' checksums.

Training writes through here, and so nothing of the interactive refiner is imported: a change in it
does not make the paper's networks stale.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save

from nseg_lib.config import Config, Strict
from nseg_lib.provenance import sha256, write_atomic


def save_weights(network: torch.nn.Module, config: Strict, path: Path) -> None:
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


def write_checksums(folder: Path) -> Path:
    """Write ``SHA256SUMS`` of a folder's safetensors files, as ``sha256sum`` does; its path."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.safetensors"))]
    target = folder / "SHA256SUMS"
    write_atomic(target, "".join(lines))
    return target
