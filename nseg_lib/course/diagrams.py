"""Figures 2, 3 and 4: the networks drawn as rows of layered blocks.

Every block, number and arrow comes from :func:`nseg_lib.course.tracing.trace`, which follows a
picture through the network: change the module and the figure changes. Each row is one resolution;
the encoder goes down on the left, the decoder comes up on the right. Figures are made for a text
column of 7 inches, with letters of at least 8 points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Polygon
from torch import nn

from nseg_lib import config
from nseg_lib.course.tracing import Layer, Stage, trace
from nseg_lib.networks import build
from nseg_lib.palette import LAYERS

WIDTH = 7.0
"""Width of the figure in inches: the text width of an article on A4 or letter paper."""

POINTS = 8
"""Size of the smallest letters, in points."""

LEGEND = {
    "convolution": "3×3 convolution",
    "norm": "group normalisation",
    "relu": "ReLU",
    "pooling": "2×2 max pooling",
    "upsampling": "2×2 transposed convolution",
    "copy": "features from the encoder",
    "head": "1×1 convolution to one logit",
}

_TOP, _SHRINK, _ROW_GAP = 0.86, 0.74, 0.34
"""In inches: the height of the first row's blocks, and the gap below a row. ``_SHRINK`` is the
height of a row over that of the row above it."""
_STRIPE, _GAP, _CIRCLE = 0.035, 0.06, 0.09
"""In inches: the width of a layer without weights, the gap between stages, and the radius of the
circles of gates and additions."""
_LINE: dict[str, Any] = {"linewidth": 0.8, "color": "#333333"}

PAPERS = {
    "figure2": {"U-Net (tiny16-128)": "tiny16-128_bce-dice"},
    "figure3": {
        "(a) as trained: the stroke is added to the logits": "res16-128_bce-dice",
        "(b) as the text says: shortcuts within the blocks": "blockres16-128_bce-dice-bound",
    },
    "figure4": {"U-Net with attention (attn32-256)": "attn32-256_bce-dice-bound"},
}
"""The paper's figures: the heading of each panel, and the model in it."""


@dataclass(frozen=True)
class _Box:
    """One layer's slab. ``x`` and ``width`` are in inches from the panel's left edge."""

    kind: str
    channels: int
    row: int
    x: float
    width: float


@dataclass
class _Layout:
    """The place of every part of one network, in inches. Stages are named by their index."""

    stages: list[Stage]
    rows: list[tuple[int, int]]
    """Height and width in pixels of each row, from full size down."""
    boxes: dict[int, list[_Box]] = field(default_factory=dict)
    """Stage → its slabs, from left to right."""
    copies: dict[int, _Box] = field(default_factory=dict)
    """Concatenation → the slab of the features that came over the skip connection."""
    circles: dict[int, float] = field(default_factory=dict)
    """Gate or addition → x of its centre."""
    end: float = 0.0
    """x at which the last slab ends."""

    @property
    def head(self) -> float:
        """Inches above the first row, for the heading and for an added stroke's arrow."""
        steps = {stage.kind for stage in self.stages}
        within = {layer.kind for s in self.stages if s.kind == "block" for layer in s.layers}
        return 0.55 if "add" in steps | within else 0.4

    def sources(self, concat: int) -> tuple[int, int]:
        """The two stages of a concatenation: from the skip connection, and from the row below."""
        sources = self.stages[concat].sources
        below = next(s for s in sources if self.stages[s].kind == "upsampling")
        return next(s for s in sources if s != below), below

    def top(self, row: int) -> float:
        return -sum(self.height(r) + _ROW_GAP for r in range(row))

    def height(self, row: int) -> float:
        return _TOP * _SHRINK**row

    def middle(self, row: int) -> float:
        return self.top(row) - self.height(row) / 2


def of_the_paper(figure: str) -> dict[str, nn.Module]:
    """The networks of ``figure2``, ``figure3`` or ``figure4`` by heading, on the meta device."""
    with torch.device("meta"):
        return {h: build(config.load(name).model) for h, name in PAPERS[figure].items()}


def stages(networks: Mapping[str, nn.Module], height: int = 480, width: int = 640) -> pd.DataFrame:
    """The numbers behind :func:`architecture`: a table with one row per stage of each network.

    Columns: ``network`` (its heading), ``stage``, ``kind``, ``channels``, ``height``, ``width``,
    ``sources`` (indices of the stages whose output goes in, from 0), ``layers``, ``parameters``.
    """
    rows = [
        {
            "network": heading,
            "stage": stage.name,
            "kind": stage.kind,
            **dict(zip(("channels", "height", "width"), stage.shape, strict=True)),
            "sources": " ".join(map(str, stage.sources)),
            "layers": " ".join(f"{layer.kind}:{layer.channels}" for layer in stage.layers),
            "parameters": stage.parameters,
        }
        for heading, network in networks.items()
        for stage in trace(network, height, width)
    ]
    return pd.DataFrame(rows)


def architecture(networks: Mapping[str, nn.Module], height: int = 480, width: int = 640) -> Figure:
    """Draw networks as rows of layered blocks, one panel per network.

    Args:
        networks: heading → network, such as ``{"tiny16-32": UNet([16, 32])}``.
        height, width: of the picture that goes in, in pixels; the rows are labelled with its sizes.

    Returns:
        A figure 7 inches wide with letters of at least 8 points, for print as PDF.
    """
    layouts = [_fit(trace(network, height, width)) for network in networks.values()]
    # One unit of the axes is one inch, so that letters and slabs keep their sizes in every panel.
    tall = [layout.head - layout.top(len(layout.rows)) for layout in layouts]
    figure = plt.figure(figsize=(WIDTH, sum(tall)))
    bottom = 1.0
    for heading, layout, inches in zip(networks, layouts, tall, strict=True):
        bottom -= inches / sum(tall)
        place = (0, bottom, 1, inches / sum(tall))
        axes = figure.add_axes(place, xlim=(0, WIDTH), ylim=(layout.head - inches, layout.head))
        axes.set_axis_off()
        _draw(axes, layout, heading)
    _legend(axes, [stage for layout in layouts for stage in layout.stages])
    return figure


# --- layout ---------------------------------------------------------------------------------------


def _fit(stages: list[Stage]) -> _Layout:
    """Stretch the slabs so that the network fills the figure's width."""
    # The width grows in proportion to the stretch, so two trials tell which stretch fits.
    narrow, wide = _lay_out(stages, 1.0).end, _lay_out(stages, 2.0).end
    room = WIDTH - 0.35
    return _lay_out(stages, min(2.5, 1 + (room - narrow) / (wide - narrow)))


def _lay_out(stages: list[Stage], stretch: float) -> _Layout:
    """Place all stages from left to right; layers with weights are ``stretch`` times as wide."""
    layout = _Layout(stages, sorted({s.shape[1:] for s in stages}, reverse=True))
    x = 0.6
    for index, stage in enumerate(stages):
        row = layout.rows.index(stage.shape[1:])
        if stage.kind == "upsampling":  # the skip connection's slab stands to its left
            x = _lay_out_skip(layout, index, row, x + _GAP / 2, stretch)
        if stage.kind == "add":
            layout.circles[index] = x + 0.12
            x += 0.24
        if stage.kind in {"gate", "concat", "add"}:
            continue  # drawn as a circle, or as two slabs side by side
        boxes = []
        for layer in stage.layers or (Layer(stage.kind, stage.shape[0]),):
            kind = stage.kind if stage.kind in {"input", "head"} else layer.kind
            if kind == "add" or (layer.kernel == 1 and kind == "convolution"):
                continue  # a shortcut: drawn as an arc
            thick = kind in {"convolution", "upsampling"}
            width = stretch * _thickness(layer.channels) if thick else _STRIPE
            boxes.append(_Box(kind, layer.channels, row, x, width))
            x += width
        layout.boxes[index] = boxes
        x += _GAP
    layout.end = x
    return layout


def _lay_out_skip(layout: _Layout, upsampling: int, row: int, x: float, stretch: float) -> float:
    """Place a skip connection's slab, after its gate if it has one; return the x where it ends."""
    stages = layout.stages
    concat = next(i for i, s in enumerate(stages) if s.kind == "concat" and upsampling in s.sources)
    skip, _ = layout.sources(concat)
    if stages[skip].kind == "gate":
        layout.circles[skip] = x + _CIRCLE
        x += 2 * _CIRCLE + 0.12
    channels = stages[skip].shape[0]
    layout.copies[concat] = _Box("copy", channels, row, x, stretch * _thickness(channels))
    return x + layout.copies[concat].width


def _thickness(channels: int) -> float:
    """Width of a slab in inches: 0.1 for 16 channels, and 0.022 more for every doubling."""
    return 0.10 + 0.022 * math.log2(max(channels, 1) / 16)


# --- drawing --------------------------------------------------------------------------------------


def _draw(axes: Axes, layout: _Layout, heading: str) -> None:
    """Draw one network: slabs and their numbers, then all arrows, then sizes and heading."""
    for index, copy in layout.copies.items():
        _slab(axes, layout, copy)
        _skip(axes, layout, index)
    for index, boxes in layout.boxes.items():
        stage = layout.stages[index]
        for box in boxes:
            _slab(axes, layout, box)
        if stage.kind in {"input", "block", "head"}:
            _number(axes, layout, boxes, stage.shape[0])
        if any(layer.kind == "add" for layer in stage.layers):
            # An arc over a residual block, from its input to the addition before its last ReLU.
            top = layout.top(boxes[0].row) + 0.11 * layout.height(boxes[0].row)
            _arrow(axes, (boxes[0].x, top), (boxes[-1].x + _STRIPE, top), bend=-0.55)
    for index, copy in layout.copies.items():
        upsampling = layout.boxes[layout.sources(index)[1]]
        _number(axes, layout, [copy, *upsampling], layout.stages[index].shape[0])
    _between_rows(axes, layout)
    for row, (height, width) in enumerate(layout.rows):  # in pixels, at the left
        left = min(box.x for boxes in layout.boxes.values() for box in boxes if box.row == row)
        y = layout.middle(row)
        axes.text(left - 0.06, y, f"{width}×{height}", size=POINTS, ha="right", va="center")
    _additions(axes, layout)
    size = f"{sum(stage.parameters for stage in layout.stages):,} parameters"
    title = f"{heading}, {size}"
    axes.text(0.05, layout.head - 0.03, title, size=POINTS + 1, weight="bold", va="top")


def _slab(axes: Axes, layout: _Layout, box: _Box) -> None:
    """Draw one slab with its front, lid and right side, seen from above and the right."""
    top, height = layout.top(box.row), layout.height(box.row)
    left, right, bottom = box.x, box.x + box.width, top - height
    back = 0.11 * height
    colour = to_rgb(LAYERS[box.kind])
    dark = tuple(0.8 * c for c in colour)
    front = [(left, bottom), (right, bottom), (right, top), (left, top)]
    lid = [(left, top), (right, top), (right + back, top + back), (left + back, top + back)]
    side = [(right, bottom), (right + back, bottom + back), (right + back, top + back)]
    for corners, face in ((front, colour), (lid, dark), ([*side, (right, top)], dark)):
        axes.add_patch(Polygon(corners, facecolor=face, edgecolor="#333333", linewidth=0.4))


def _number(axes: Axes, layout: _Layout, boxes: Sequence[_Box], channels: int) -> None:
    """Write the number of channels below a stage."""
    first, last = boxes[0], boxes[-1]
    y = layout.top(first.row) - layout.height(first.row) - 0.03
    centre = (first.x + last.x + last.width) / 2
    axes.text(centre, y, str(channels), size=POINTS, ha="center", va="top")


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0
) -> None:
    way: dict[str, Any] = {"shrinkA": 0, "shrinkB": 0, "connectionstyle": f"arc3,rad={bend}"}
    head: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 6}
    axes.add_patch(FancyArrowPatch(start, end, **way, **head, **_LINE, zorder=3))


def _skip(axes: Axes, layout: _Layout, concat: int) -> None:
    """Draw the arrow from the encoder to the decoder, through the gate if there is one."""
    copy, (source, upsampling) = layout.copies[concat], layout.sources(concat)
    y, end = layout.middle(copy.row), copy.x
    if source in layout.circles:
        centre = layout.circles[source]
        _arrow(axes, (centre + _CIRCLE, y), (end, y))
        _circle(axes, centre, y, "α")
        # The gate's other input is what was upsampled: from below, into the circle.
        signal = layout.boxes[upsampling][0]
        bottom = y - 0.36 * layout.height(copy.row)
        axes.plot([centre, centre, signal.x], [y, bottom, bottom], zorder=3, **_LINE)
        _arrow(axes, (centre, bottom), (centre, y - _CIRCLE))
        source = next(s for s in layout.stages[source].sources if s != upsampling)
        end = centre - _CIRCLE
    last = layout.boxes[source][-1]
    _arrow(axes, (last.x + last.width, y), (end, y))


def _circle(axes: Axes, x: float, y: float, text: str) -> None:
    axes.add_patch(
        Circle((x, y), _CIRCLE, facecolor="white", edgecolor="#333333", linewidth=0.8, zorder=4)
    )
    axes.text(x, y, text, size=POINTS, ha="center", va="center_baseline", zorder=5)


def _between_rows(axes: Axes, layout: _Layout) -> None:
    """Draw arrows down into each pooling and up into each transposed convolution."""
    for index, stage in enumerate(layout.stages):
        if stage.kind not in {"pooling", "upsampling"}:
            continue
        box, before = layout.boxes[index][0], layout.boxes[stage.sources[0]][-1]
        x, y, top = box.x + box.width / 2, layout.middle(before.row), layout.top(box.row)
        down = stage.kind == "pooling"
        corner = before.x + before.width if down else before.x
        axes.plot([corner, x], [y, y], zorder=0, **_LINE)
        end = top + 0.03 if down else top - layout.height(box.row) - 0.17
        _arrow(axes, (x, y), (x, end))


def _additions(axes: Axes, layout: _Layout) -> None:
    """Draw the stroke's way from the input, along the top, to the addition at the end."""
    y, lid = layout.middle(0), 0.22
    for index, x in layout.circles.items():
        if layout.stages[index].kind != "add":
            continue
        first, head = layout.boxes[0][0], layout.boxes[index - 1][-1]
        axes.plot([first.x, first.x, x], [0.0, lid, lid], zorder=3, **_LINE)
        _arrow(axes, (x, lid), (x, y + _CIRCLE))
        _arrow(axes, (head.x + head.width, y), (x - _CIRCLE, y))
        _circle(axes, x, y, "+")
        text = "the stroke, channel 0 of the input (0 or 1)"
        axes.text(WIDTH / 2, lid - 0.04, text, size=POINTS, ha="center", va="top")


def _legend(axes: Axes, stages: Sequence[Stage]) -> None:
    """Explain in the lower right corner the colours and signs that the figure uses."""
    layers = {layer.kind for stage in stages for layer in stage.layers}
    kinds = {stage.kind for stage in stages}
    signs = {"16": "channels"}
    if "add" in {layer.kind for s in stages if s.kind == "block" for layer in s.layers}:
        signs["arc"] = "shortcut"
    if "gate" in kinds:
        signs["α"] = "attention gate"
    x, y = WIDTH - 1.95, axes.get_ylim()[0] + 0.1
    for sign, text in signs.items():
        axes.text(x + 0.06, y + 0.05, sign, size=POINTS, va="center_baseline", ha="center")
        axes.text(x + 0.2, y + 0.05, text, size=POINTS, va="center_baseline")
        y += 0.15
    used = layers | kinds | {"copy"}
    for kind in reversed([kind for kind in LEGEND if kind in used]):
        swatch = [(x, y), (x + 0.12, y), (x + 0.12, y + 0.1), (x, y + 0.1)]
        face = LAYERS[kind]
        axes.add_patch(Polygon(swatch, facecolor=face, edgecolor="#333333", linewidth=0.4))
        axes.text(x + 0.2, y + 0.05, LEGEND[kind], size=POINTS, va="center_baseline")
        y += 0.15
