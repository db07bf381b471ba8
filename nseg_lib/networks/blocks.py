"""The blocks every network here is made of: two convolutions, and the same with a shortcut."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nseg_lib.config import GROUPS


class DoubleConv(nn.Module):
    r"""Two times (3x3 convolution, group normalisation, ReLU), at unchanged size.

    .. math:: y = \phi(\phi(x)), \quad \phi(x) = \mathrm{ReLU}(\mathrm{GN}_8(W * x + b))

    The U-Net's block (Ronneberger et al. 2015), with padding so that sizes stay, and with group
    normalisation (Wu and He 2018), which the paper's batches of one picture need: it does not
    look across the batch. Explained in chapter ``03_unet``.

    Shapes: float N×in×H×W → float N×out×H×W.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ResidualDoubleConv(nn.Module):
    r"""A double convolution around a shortcut, added before the last ReLU (He et al. 2016).

    .. math:: y = \mathrm{ReLU}(F(x) + P x)

    where :math:`F` is convolution, GN, ReLU, convolution, GN, and :math:`P` is a 1x1 convolution
    where the channels change and the identity elsewhere. This is what the paper's text says of
    its residual models ("within both encoder and decoder blocks"); the recurrence of the R2U-Net
    it cites is left out, as the text does not mention it. Explained in ``06_two_residuals``.

    Shapes: float N×in×H×W → float N×out×H×W.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.GroupNorm(GROUPS, out_channels),
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))
