"""The networks: U-Net, mask-residual, block-residual and attention, at any widths."""

from nseg_lib.networks.attention import AttentionUNet
from nseg_lib.networks.catalog import ModelSize, build, size
from nseg_lib.networks.residual import BlockResidualUNet, MaskResidualUNet
from nseg_lib.networks.unet import UNet

__all__ = [
    "AttentionUNet", "BlockResidualUNet", "MaskResidualUNet", "ModelSize", "UNet", "build", "size",
]  # fmt: skip
