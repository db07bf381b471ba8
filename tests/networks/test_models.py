"""One suite over every architecture: sizes, odd pictures, gradients, export, reload."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nseg_lib import config, networks
from nseg_lib.config import Config, ModelConfig
from nseg_lib.networks import UNet
from nseg_lib.networks.attention import AttentionGate
from nseg_lib.networks.catalog import FAMILIES
from nseg_lib.networks.inputs import CHANNELS, network_input
from nseg_lib.networks.weights import save_weights
from nseg_lib.prompt import Prompt
from nseg_lib.refine import Refiner

PARAMETERS = {
    "tiny16-32_bce-dice": 117_681,
    "res16-32_bce-dice": 117_681,
    "tiny16-128_bce-dice": 1_944_049,
    "res16-128_bce-dice": 1_944_049,
    "tiny16-128_bce-dice-bound": 1_944_049,
    "res16-128_bce-dice-bound": 1_944_049,
    "res32-256_bce-dice-bound": 7_765_985,
    "attn32-256_bce-dice-bound": 7_854_717,
}
"""Counted in the released code's networks."""

GFLOP = {"16-32": 15.1, "16-128": 28.4, "res32-256": 113.2, "attn32-256": 115.7}
"""Of a picture of 640x480."""

every_architecture = pytest.mark.parametrize(
    "model",
    [
        ModelConfig(architecture=architecture, widths=widths, inputs=inputs)
        for architecture in ("tiny", "res", "attn", "blockres")
        for widths, inputs in (([8], "rgb"), ([16, 32], "gray_sobel"), ([8, 24, 8], "gray_sobel"))
    ],
    ids=lambda m: f"{m.architecture}{'-'.join(map(str, m.widths))}-{m.inputs}",
)


def test_the_eight_come_first_and_have_the_published_costs() -> None:
    assert config.names()[:8] == tuple(PARAMETERS)
    for name, parameters in PARAMETERS.items():
        size, gflop = networks.size(name), next(v for k, v in GFLOP.items() if k in name)
        assert size.parameters == parameters
        assert size.gflop == pytest.approx(gflop, abs=0.05)


@every_architecture
def test_odd_and_even_picture_sizes_give_one_logit_a_pixel(model: ModelConfig) -> None:
    network = networks.build(model).eval()
    for size in ((64, 48), (37, 51), (9, 33)):
        with torch.no_grad():
            logits = network(torch.rand(2, CHANNELS[model.inputs], *size))
        assert logits.shape == (2, 1, *size)
        assert logits.isfinite().all()


@every_architecture
def test_a_picture_must_leave_the_bottleneck_a_pixel(model: ModelConfig) -> None:
    network, channels = networks.build(model), CHANNELS[model.inputs]
    least = 2 ** len(model.widths)
    with torch.no_grad():
        assert network(torch.rand(1, channels, least, least)).shape == (1, 1, least, least)
        for height, width in ((least - 1, 64), (64, least - 1), (1, 1)):
            says = f"picture must be at least {least}×{least} px, got {height}×{width}"
            with pytest.raises(ValueError, match=says):
                network(torch.rand(1, channels, height, width))


@pytest.mark.parametrize("widths", [[], [0], [16, 20]])
@pytest.mark.parametrize("family", FAMILIES.values())
def test_a_network_of_impossible_widths_says_which(family: type[UNet], widths: list[int]) -> None:
    with pytest.raises(ValueError, match="widths must be one or more multiples of 8, got") as error:
        family(widths)
    assert str(error.value).endswith(str(widths))


@every_architecture
def test_every_parameter_gets_a_gradient(model: ModelConfig) -> None:
    network = networks.build(model)
    network(torch.rand(1, CHANNELS[model.inputs], 33, 47)).square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A constant added before a normalisation over the whole map changes nothing.
    assert [n for n in without if not n.endswith("bias") and "score.0" not in n] == []


@every_architecture
def test_an_exported_network_answers_alike(model: ModelConfig) -> None:
    network = networks.build(model).eval()
    x = torch.rand(1, CHANNELS[model.inputs], 40, 56)
    exported = torch.export.export(network, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network(x))


@every_architecture
def test_a_saved_network_loads_as_it_was(model: ModelConfig, tmp_path: Path) -> None:
    network = networks.build(model).eval()
    whole = Config(name="any", model=model)
    save_weights(network, whole, tmp_path / "w.safetensors")
    refiner = Refiner.load(tmp_path / "w.safetensors")
    assert refiner.config == whole
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (31, 45, 3), dtype=np.uint8)
    stroke = rng.random((31, 45)) > 0.7
    x = torch.from_numpy(network_input(image, stroke, model.inputs))[None]
    with torch.no_grad():
        assert np.array_equal(refiner.logits(image, Prompt(stroke)), network(x)[0, 0].numpy())
    assert list(tmp_path.iterdir()) == [tmp_path / "w.safetensors"]


def test_res_is_tiny_plus_the_stroke() -> None:
    torch.manual_seed(0)
    tiny = networks.build(ModelConfig(architecture="tiny", widths=[16, 32]))
    res = networks.build(ModelConfig(architecture="res", widths=[16, 32]))
    res.load_state_dict(tiny.state_dict())
    x = torch.rand(1, 3, 24, 24)
    assert torch.equal(res(x), tiny(x) + x[:, :1])


def test_attention_weighs_each_skip_pixel_between_nothing_and_all() -> None:
    gate = AttentionGate(16)
    skip, signal = torch.rand(2, 16, 6, 5), torch.rand(2, 16, 6, 5)
    weights = gate.weights(signal, skip)
    assert weights.shape == (2, 1, 6, 5)
    assert ((weights > 0) & (weights < 1)).all()
    assert torch.equal(gate(signal, skip), skip * weights)
