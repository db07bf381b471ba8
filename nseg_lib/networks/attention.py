"""Attention gates on the skip connections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nseg_lib.config import GROUPS
from nseg_lib.networks.unet import UNet


class AttentionGate(nn.Module):
    r"""Additive attention: how much of each skip pixel the decoder lets through.

    .. math::
        \alpha = \sigma(\mathrm{GN}_1(w * \mathrm{ReLU}(\mathrm{GN}_8(W_g * g) +
        \mathrm{GN}_8(W_x * x)))), \quad \hat x = \alpha x

    After Oktay et al. 2018, eq. 1 and 2, with group normalisation. It departs from that paper in
    one thing, as the released code does: the gate comes after upsampling, so that gate and skip
    have one size and nothing is resampled. Explained in chapter ``07_attention``.

    Shapes: gate float N×C×H×W, skip float N×C×H×W → float N×C×H×W. ``C // 2`` is rounded up to a
    multiple of 8 where the groups ask for it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        between = -(-channels // 2 // GROUPS) * GROUPS
        self.gate = nn.Sequential(nn.Conv2d(channels, between, 1), nn.GroupNorm(GROUPS, between))
        self.skip = nn.Sequential(nn.Conv2d(channels, between, 1), nn.GroupNorm(GROUPS, between))
        self.score = nn.Sequential(nn.Conv2d(between, 1, 1), nn.GroupNorm(1, 1))

    def weights(self, gate: Tensor, skip: Tensor) -> Tensor:
        """The attention map, float N×1×H×W in (0, 1)."""
        return torch.sigmoid(self.score(torch.relu(self.gate(gate) + self.skip(skip))))

    def forward(self, gate: Tensor, skip: Tensor) -> Tensor:
        return skip * self.weights(gate, skip)


class AttentionUNet(UNet):
    """A U-Net with an attention gate on every skip: the paper's ``attn32-256``.

    Plain double convolutions and no stroke added to the logits, as trained. Shapes: as
    :class:`~nseg_lib.networks.unet.UNet`.
    """

    def __init__(self, widths: Sequence[int], in_channels: int = 3) -> None:
        super().__init__(widths, in_channels)
        self.gates = nn.ModuleList(AttentionGate(w) for w in reversed(widths))

    def weigh(self, depth: int, skip: Tensor, gate: Tensor) -> Tensor:
        """The skip at ``depth``, each pixel weighed by the gate's attention."""
        return self.gates[depth](gate, skip)
