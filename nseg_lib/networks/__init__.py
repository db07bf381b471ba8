"""The networks: U-Net, mask-residual, block-residual and attention, at any widths."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nseg_lib.networks.attention import AttentionUNet
    from nseg_lib.networks.catalog import ModelSize, build, size
    from nseg_lib.networks.residual import BlockResidualUNet, MaskResidualUNet
    from nseg_lib.networks.unet import UNet

__all__ = [
    "AttentionUNet", "BlockResidualUNet", "MaskResidualUNet", "ModelSize", "UNet", "build", "size",
]  # fmt: skip

_MODULES = {"AttentionUNet": "attention", "UNet": "unet"} | {
    "BlockResidualUNet": "residual", "MaskResidualUNet": "residual",
    "ModelSize": "catalog", "build": "catalog", "size": "catalog",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import PyTorch only when one of them is asked for: a mask can be made without it."""
    if name in _MODULES:
        return getattr(import_module(f"nseg_lib.networks.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'nseg_lib.networks' has no attribute {name!r}")
