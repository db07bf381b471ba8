"""The architecture figures show what the networks do, and can be read in print."""

from __future__ import annotations

import matplotlib as mpl
import pytest
import torch
from matplotlib.patches import Circle
from matplotlib.text import Text

mpl.use("Agg")

from nseg_lib import config, networks
from nseg_lib.course.diagrams import POINTS, WIDTH, architecture
from nseg_lib.course.tracing import trace


@pytest.mark.parametrize(
    "name",
    [
        "tiny16-32_bce-dice",
        "res16-32_bce-dice",
        "blockres16-128_bce-dice-bound",
        "attn32-256_bce-dice-bound",
    ],
)
def test_a_trace_has_every_parameter_and_every_skip(name: str) -> None:
    network = networks.build(config.load(name).model)
    stages = trace(network)
    levels = len(config.load(name).model.widths)
    assert sum(s.parameters for s in stages) == sum(p.numel() for p in network.parameters())
    concats = [s for s in stages if s.kind == "concat"]
    assert len(concats) == levels
    for concat in concats:
        skip, below = (stages[i] for i in concat.sources)
        assert below.kind == "upsampling"
        assert skip.kind == ("gate" if name.startswith("attn") else "block")
        assert skip.shape == below.shape
    assert stages[-1].kind == ("add" if name.startswith("res") else "head")
    assert stages[-1].shape == (1, 480, 640)


def test_a_network_that_loses_its_skips_loses_their_arrows() -> None:
    class WithoutSkips(networks.UNet):
        def weigh(self, depth: int, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(skip)

    concats = [s for s in trace(WithoutSkips([8, 16])) if s.kind == "concat"]
    assert [len(s.sources) for s in concats] == [1, 1]


def test_odd_sizes_are_traced_and_drawn() -> None:
    network = networks.AttentionUNet([8, 16])
    sizes = [s.shape[1:] for s in trace(network, 427, 333)]
    assert sizes[0] == sizes[-1] == (427, 333)
    architecture({"odd": network}, 427, 333)


@pytest.mark.parametrize("name", ["tiny16-32_bce-dice", "attn32-256_bce-dice-bound"])
def test_a_figure_can_be_read_at_column_width(name: str) -> None:
    figure = architecture({name: networks.build(config.load(name).model)})
    figure.canvas.draw()
    assert figure.get_size_inches()[0] == WIDTH
    texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    assert min(t.get_size() for t in texts) >= POINTS
    boxes = [t.get_window_extent() for t in texts if t.axes]
    assert all(b.x0 >= 0 and b.x1 <= figure.bbox.width for b in boxes)
    overlapping = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert overlapping == 0


def test_gates_additions_and_channels_are_in_the_figure() -> None:
    widths = [16, 32]
    for network, signs in (
        (networks.UNet(widths), []),
        (networks.MaskResidualUNet(widths), ["+"]),
        (networks.AttentionUNet(widths), ["α", "α"]),
    ):
        axes = architecture({"network": network}).axes[0]
        assert len([p for p in axes.patches if isinstance(p, Circle)]) == len(signs)
        written = [t.get_text() for t in axes.texts]
        assert all(written.count(sign) >= signs.count(sign) for sign in signs)
        assert {"3", "16", "32", "64", "1", "640×480", "320×240", "160×120"} <= set(written)
