"""The edge network itself: the paper's U-Net on pixels folded into channels.

Every 2×2 pixels become one place with four times the channels, and each place answers for its four
pixels (space to depth and back; Shi et al.,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016). That costs a quarter of the same U-Net on the pixels themselves.
What it is asked, and where, stands in :mod:`nseg_lib.networks.edge`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.networks.edge import CHANNELS
from nseg_lib.networks.unet import UNet

FOLD = 2
"""Pixels to a side of what becomes one place."""


class EdgeNet(nn.Module):
    """Paint, picture and logits → logits, at the input's size.

    Args:
        widths: channels of each level of the U-Net, from half the size down; multiples of 8.

    Shapes: float N×7×H×W as of :func:`nseg_lib.networks.edge.edge_input`, any size → float N×1×H×W.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        places = FOLD**2
        self.unet = UNet(widths, places * CHANNELS)
        self.unet.head = nn.Conv2d(widths[0], places, 1)
        self.min_side = FOLD * 2 ** len(widths)  # what the poolings leave a place of

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, right = (max(side + side % FOLD, self.min_side) - side for side in (height, width))
        x = F.pad(x, (0, right, 0, down), mode="replicate")
        y = F.pixel_shuffle(self.unet(F.pixel_unshuffle(x, FOLD)), FOLD)
        return y[..., :height, :width]

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Fill in what fits of a U-Net of the paper, which then sees the picture at half its size.

        A level of fewer channels takes the first ones; the four pixels of a place share what was
        one pixel's, coming and going.

        Args:
            weights: the state of a :class:`nseg_lib.networks.UNet` for ``gray_sobel``, of one that
                adds the stroke or not, as deep as this and no narrower.
        """
        own = self.unet.state_dict()
        for name, mine in own.items():
            theirs = weights[name]
            if name == "encoder.0.layers.0.weight":
                mine.zero_()
                theirs = theirs.repeat_interleave(FOLD**2, dim=1) / FOLD**2
                parts = [(mine[:, : theirs.shape[1]], theirs)]
            elif name.startswith("head"):
                parts = [(mine, theirs.repeat_interleave(FOLD**2, dim=0))]
            elif name.startswith("decoder") and name.endswith("layers.0.weight"):
                # The first half of what it sees is the skip's, the second comes from below.
                parts = list(zip(mine.chunk(2, dim=1), theirs.chunk(2, dim=1), strict=True))
            else:
                parts = [(mine, theirs)]
            for to, source in parts:
                to.copy_(source[tuple(slice(size) for size in to.shape)])
        self.unet.load_state_dict(own)
