"""The two networks called "residual": one by the released code, one by the paper's text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nseg_lib.networks.blocks import ResidualDoubleConv
from nseg_lib.networks.unet import UNet


class MaskResidualUNet(UNet):
    r"""A U-Net that predicts what to add to the stroke: the paper's ``res`` models as trained.

    .. math:: \ell = s + f(x), \quad s \in \{0, 1\}

    The stroke (channel 0) is added to the logits. It has exactly the U-Net's parameters, which is
    how the equal sizes in Table 2 show that this, and not :class:`BlockResidualUNet`, is what the
    paper measured. Adding 1 to a logit moves a probability of 0.50 to 0.73, so the stroke is a
    gentle prior. Explained in chapter ``06_two_residuals``.

    Shapes: as :class:`~nseg_lib.networks.unet.UNet`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] + super().forward(x)


class BlockResidualUNet(UNet):
    """A U-Net whose blocks have shortcuts: what the paper's text describes, outside its eight.

    Shapes: as :class:`~nseg_lib.networks.unet.UNet`. See
    :class:`~nseg_lib.networks.blocks.ResidualDoubleConv`.
    """

    def __init__(self, widths: Sequence[int], in_channels: int = 3) -> None:
        super().__init__(widths, in_channels, block=ResidualDoubleConv)
