"""The networks: U-Net, mask-residual, block-residual and attention, at any widths."""

from nseg_lib.models.attention import AttentionUNet
from nseg_lib.models.catalog import ModelSize, build, size
from nseg_lib.models.residual import BlockResidualUNet, MaskResidualUNet
from nseg_lib.models.unet import UNet

__all__ = [
    "AttentionUNet",
    "BlockResidualUNet",
    "MaskResidualUNet",
    "ModelSize",
    "UNet",
    "build",
    "size",
]
