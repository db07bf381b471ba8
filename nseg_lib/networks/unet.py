"""U-Net: an encoder, a decoder, and a skip connection at every size between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.config import GROUPS
from nseg_lib.networks.blocks import DoubleConv

Block = Callable[[int, int], nn.Module]


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) as the paper's "U-Net Tiny" was trained.

    Each level of the encoder is a block and a 2x2 max pooling; the bottleneck has twice the last
    width; each level of the decoder is a 2x2 transposed convolution of stride 2, concatenation
    with the encoder's features of that size, and a block. A 1x1 convolution gives one logit per
    pixel. Explained in chapter ``03_unet``.

    Any picture whose sides are at least 2**len(widths) px works: where pooling rounded an odd size
    down, the decoder's features are brought to the skip's size by nearest-neighbour interpolation,
    as in the released code.

    Args:
        widths: channels of each level, from full resolution down; multiples of 8.
        in_channels: 3 for ``gray_sobel``, 4 for ``rgb``; channel 0 is the stroke.
        block: what makes a level's block from (channels in, channels out).

    Shapes: float N×in_channels×H×W, values in [0, 1] → logits, float N×1×H×W.

    Raises:
        ValueError: no widths, or others than multiples of 8; when called, a smaller picture.
    """

    def __init__(
        self, widths: Sequence[int], in_channels: int = 3, block: Block = DoubleConv
    ) -> None:
        super().__init__()
        if not widths or any(w < GROUPS or w % GROUPS for w in widths):
            raise ValueError(f"widths must be one or more multiples of {GROUPS}, got {[*widths]}")
        inputs = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(block(i, o) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = block(widths[-1], 2 * widths[-1])
        deep_first = list(reversed(widths))
        below = [2 * widths[-1], *deep_first[:-1]]
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in zip(below, deep_first, strict=True)
        )
        self.decoder = nn.ModuleList(block(2 * w, w) for w in deep_first)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        smallest = 2 ** len(self.encoder)  # every pooling halves, and a pixel must be left
        height, width = x.shape[-2:]
        if min(height, width) < smallest:
            raise ValueError(
                f"picture must be at least {smallest}×{smallest} px, got {height}×{width}"
            )
        # Down: a block, whose features are kept for the way up, then half the size.
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        # Up: twice the size, the features kept of that size beside it, and a block joins the two.
        for depth, (upsample, block) in enumerate(zip(self.upsample, self.decoder, strict=True)):
            skip = skips.pop()
            x = upsample(x)
            # Where a pooling had rounded an odd side down. What is exported must serve all sizes.
            if x.shape[-2:] != skip.shape[-2:] or torch.compiler.is_compiling():
                x = F.interpolate(x, size=skip.shape[-2:])
            x = block(torch.cat((self.weigh(depth, skip, x), x), dim=1))
        return self.head(x)

    def weigh(self, depth: int, skip: Tensor, gate: Tensor) -> Tensor:
        """What the decoder sees of the skip at ``depth`` (0 is the deepest); here, all of it."""
        return skip
