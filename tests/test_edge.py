"""The edge network: what it starts from, what it is asked, and how it is trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from nseg_lib import coco
from nseg_lib.config import ConfigError
from nseg_lib.interactive import config as recipes
from nseg_lib.interactive import edge, inference, training
from nseg_lib.interactive.config import EdgeConfig, FitConfig
from nseg_lib.interactive.data import EdgeWindows
from nseg_lib.interactive.edge import EdgeNet, edge_input, finish, is_paint, surroundings
from nseg_lib.interactive.network import PromptNet, build
from nseg_lib.losses import SobelLoss
from nseg_lib.models import UNet
from nseg_lib.refine import Refiner, save_weights

WIDTHS = (8, 16)
SMALL = {
    "network.look": 64,
    "network.zoom": 64,
    "training.pretrained": False,
    "training.steps": 1,
    "training.cycles": 1,
    "training.size": [64],
    "training.batch_size": 2,
    "edge.widths": WIDTHS,
    "edge.start": None,
    "edge.objects": 4,
    "edge.prompts.mix": {"erode": 1.0},
    "edge.training.steps": 3,
    "edge.training.size": [64],
    "edge.training.batch_size": 2,
}


def disc(radius, row=150, column=200, shape=(300, 400)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def photo(found):
    return np.where(found[..., None], 200, 40).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (16, 16)])
def test_it_answers_at_any_size_and_sees_every_channel(size):
    torch.manual_seed(0)
    network = EdgeNet(WIDTHS).eval()
    x = torch.rand(1, edge.CHANNELS, *size)
    with torch.no_grad():
        answer = network(x)
        assert answer.shape == (1, 1, *size)
        for channel in range(edge.CHANNELS):
            changed = x.clone()
            changed[:, channel] = 1 - changed[:, channel]
            assert not torch.allclose(network(changed), answer)


def test_it_starts_as_the_paper_s_network_at_half_size():
    torch.manual_seed(0)
    paper, network = UNet((16, 32)).eval(), EdgeNet((16, 32)).eval()
    network.start_from(paper.state_dict())
    small = torch.rand(1, 3, 24, 40)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    rest = torch.rand(1, edge.CHANNELS - 3, 48, 80)  # logits and colours: not yet looked at
    with torch.no_grad():
        expected = paper(small).repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.allclose(network(torch.cat((large, rest), 1)), expected, atol=1e-5)


def test_levels_of_fewer_channels_take_the_first_of_each_source():
    paper, network = UNet((16, 32)), EdgeNet((16, 24))
    network.start_from(paper.state_dict())
    mine = network.unet.decoder[0].layers[0].weight  # sees 24 of the skip and 24 from below
    theirs = paper.decoder[0].layers[0].weight
    assert torch.equal(mine[:, :24], theirs[:24, :24])
    assert torch.equal(mine[:, 24:], theirs[:24, 32:56])


def test_what_it_sees():
    found = disc(80)
    image, logits = photo(found), np.where(found, 9, -2).astype(np.float32)
    seen = edge_input(image, found, logits)
    assert seen.shape == (edge.CHANNELS, 300, 400)
    assert seen.dtype == np.float32
    assert (seen[0] == found).all()
    assert set(np.unique(seen[3])) == {-0.5, 1.0}
    assert np.allclose(seen[4:, 150, 200], 200 / 255 - 127 / 255)


def test_paint_is_a_mask_rather_than_lines_dots_or_a_box():
    assert is_paint(disc(80))
    assert is_paint(disc(80) & ~disc(30, row=80))
    assert is_paint(disc(80, row=0)), "cut by the picture's border"
    assert not is_paint(disc(3))
    line = np.zeros((300, 400), bool)
    line[145:151, 125:275] = True
    line[100:200, 197:203] = True
    assert not is_paint(line)
    assert not is_paint(disc(80) & ~disc(72)), "an outline"
    box = np.zeros((300, 400), bool)
    box[80:210, 130:270] = True
    assert not is_paint(box)
    assert not is_paint(np.zeros((300, 400), bool))


def test_it_has_its_say_round_the_paint_alone():
    torch.manual_seed(0)
    paint = disc(30)
    logits = np.where(disc(40), 3, -3).astype(np.float32)
    before = logits.copy()
    finished = finish(EdgeNet(WIDTHS).eval(), photo(disc(35)), paint, logits)
    crop = surroundings(paint, logits)
    assert crop.top == 150 - 39 - 32
    outside = np.ones(paint.shape, bool)
    outside[crop.window] = False
    assert (finished[outside] == logits[outside]).all()
    assert (finished[crop.window] != logits[crop.window]).mean() > 0.9
    assert (logits == before).all()


@pytest.fixture
def refiner(tmp_path):
    torch.manual_seed(0)
    config = recipes.load(overrides=SMALL)
    save_weights(build(config), config, tmp_path / "weights.safetensors")
    return Refiner.load(tmp_path / "weights.safetensors")


def test_only_paint_alone_is_finished(refiner, monkeypatch):
    asked = []

    def finish(network, image, paint, logits):
        asked.append(paint)
        return np.full_like(logits, -7)

    monkeypatch.setattr(edge, "finish", finish)
    found = disc(80)
    assert (refiner.logits(photo(found), found) == -7).all()
    refiner.logits(photo(found), found, background=~disc(120))
    refiner.logits(photo(found), found, mask=found)
    line = np.zeros_like(found)
    line[145:150, 125:275] = True
    refiner.logits(photo(found), line)
    assert len(asked) == 1


def test_a_large_picture_is_finished_at_the_size_that_it_knows(refiner, monkeypatch):
    sizes = []

    def finish(network, image, paint, logits):
        sizes.append((image.shape, image.dtype, paint.shape, paint.dtype, logits.shape))
        return np.where(paint, 5, -5).astype(np.float32)

    monkeypatch.setattr(edge, "finish", finish)
    found = disc(320, 600, 800, (1200, 1600))
    logits = refiner.logits(photo(found), found)
    assert sizes == [((480, 640, 3), np.uint8, (480, 640), np.bool_, (480, 640))]
    assert logits.shape == (1200, 1600)
    assert np.count_nonzero((logits > 0) ^ found) < 0.01 * np.count_nonzero(found)


def test_without_an_edge_network_the_looks_are_all(tmp_path):
    config = recipes.load(overrides=SMALL | {"edge": None})
    refiner = Refiner(build(config), config)
    found = disc(80)
    nothing = np.zeros_like(found)
    looks = inference.two_looks(refiner.network, config.network, photo(found), found, nothing, None)
    assert (refiner.logits(photo(found), found) == looks).all()


def test_the_paper_s_boundary_loss_can_be_added():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 16, 16)
    target, counts = (torch.rand(2, 1, 16, 16) > 0.5).float(), torch.ones(2, 1, 16, 16)
    without = training.loss(logits, target, counts, 0.0)
    added = training.loss(logits, target, counts, 0.0, boundary=2.0)
    assert torch.allclose(added, without + 2 * SobelLoss()(logits, target))


def windows(data, looks=None, **settings):
    config = EdgeConfig(
        widths=WIDTHS,
        objects=4,
        prompts=recipes.PromptConfig(mix={"erode": 1.0}),
        training=FitConfig(size=(64,), pretrained=False, **settings),
    )
    asked = []

    def sure(image, paint):
        asked.append(image.shape)
        return np.where(paint, 2.5, -2.5).astype(np.float32)

    return EdgeWindows(coco.load_split(data, "train"), config, looks or sure), asked


def test_a_window_depends_on_its_key_alone_and_objects_are_looked_at_once(tiny_data):
    first, asked = windows(tiny_data)
    keys = [(step, slot, 64) for step in range(6) for slot in range(2)]
    seen = [first[key] for key in keys]
    assert len(asked) <= 4
    again, _ = windows(tiny_data)
    for key, planes in reversed(list(zip(keys, seen, strict=True))):
        assert all(torch.equal(a, b) for a, b in zip(planes, again[key], strict=True))
    assert not torch.equal(seen[0][0], seen[1][0])
    other, _ = windows(tiny_data, seed=1)
    assert not torch.equal(other[keys[0]][0], seen[0][0])


def test_a_window_s_planes_belong_together(tiny_data):
    found, _ = windows(tiny_data)
    for step in range(12):
        x, target, counts = found[(step, 0, 64)]
        assert x.shape == (edge.CHANNELS, 64, 64)
        inside = counts[0] > 0
        assert torch.allclose(x[3][inside], (x[0][inside] * 2 - 1) * 2.5 / edge.SURE, atol=0.01)
        assert (x[3][~inside] == -1).all()
        others = torch.cat((x[:3], x[4:], target))
        assert not others[:, ~inside].any()
        bitten = (x[0] > target[0]).sum() / target.sum().clamp(min=1)
        assert bitten < 0.1, "erode takes away"
        assert target.any()


def train(data, out, **settings):
    return training.train(recipes.load(overrides=SMALL | settings), data, out, workers=0)


def test_it_is_trained_after_the_looks_and_saved_with_them(tiny_data, tmp_path):
    weights = train(tiny_data, tmp_path)
    assert weights == tmp_path / "edge" / "weights.safetensors"
    looks, whole = load_file(tmp_path / "weights.safetensors"), load_file(weights)
    assert all(torch.equal(value, whole[key]) for key, value in looks.items())
    assert {key.split(".")[0] for key in whole.keys() - looks.keys()} == {"edge"}
    torch.manual_seed(recipes.load().edge.training.seed)
    fresh = EdgeNet(WIDTHS).state_dict()
    changed = sum(not torch.equal(whole[f"edge.{key}"], fresh[key].half()) for key in fresh)
    assert changed > len(fresh) / 3, "steps of a warm-up, in half precision"
    refiner = Refiner.load(weights)
    assert isinstance(refiner.network.edge, EdgeNet)
    assert refiner.config == recipes.load(overrides=SMALL)
    record = json.loads((tmp_path / "edge" / "weights.safetensors.json").read_text())
    assert record["config"]["edge"]["widths"] == list(WIDTHS)


def test_a_cut_training_goes_on_as_if_it_had_not_been(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    whole = train(tiny_data, tmp_path / "whole").read_bytes()
    looks = tmp_path / "whole" / "weights.safetensors"
    recipe = recipes.load(overrides=SMALL).edge
    step = training._State.step
    monkeypatch.setattr(training._State, "step", lambda s, n, v: step(s, n, v) if n < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training.train_edge(recipe, looks, tiny_data, tmp_path / "cut", workers=0)
    monkeypatch.setattr(training._State, "step", step)
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    weights = training.train_edge(recipe, looks, tiny_data, tmp_path / "cut", workers=0)
    assert weights is not None
    assert weights.read_bytes() == whole
    said = []
    training.train_edge(recipe, looks, tiny_data, tmp_path / "cut", workers=0, say=said.append)
    assert said == [f"{weights}: already trained"]


def test_a_folder_belongs_to_the_looks_that_it_was_trained_for(tiny_data, tmp_path):
    train(tiny_data, tmp_path / "one")
    other = tmp_path / "other.safetensors"
    config = recipes.load(overrides=SMALL | {"edge": None})
    save_weights(build(config), config, other)
    recipe = recipes.load(overrides=SMALL).edge
    with pytest.raises(ConfigError, match="another recipe or other data"):
        training.train_edge(recipe, other, tiny_data, tmp_path / "one" / "edge", workers=0)


def test_only_an_interactive_refiner_gets_one(tiny_data, tmp_path):
    paper = Refiner.from_pretrained("tiny16-32_bce-dice")
    save_weights(paper.network, paper.config, tmp_path / "paper.safetensors")
    recipe = recipes.load(overrides=SMALL).edge
    with pytest.raises(ConfigError, match="only an interactive refiner"):
        training.train_edge(recipe, tmp_path / "paper.safetensors", tiny_data, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_start_that_is_not_as_deep_is_refused():
    with pytest.raises(ConfigError, match="edge"):
        recipes.load(overrides={"edge.start": "tiny16-32_bce-dice"})


def test_the_shipped_refiner_has_one():
    network = Refiner.from_pretrained().network
    assert isinstance(network, PromptNet)
    assert isinstance(network.edge, EdgeNet)


def test_upscaling_is_not_what_makes_the_edge():
    """Each of the four pixels of a place has an answer of its own."""
    torch.manual_seed(0)
    answer = EdgeNet(WIDTHS).eval()(torch.rand(1, edge.CHANNELS, 16, 16))
    coarse = F.interpolate(F.avg_pool2d(answer, 2), scale_factor=2)
    assert (answer - coarse).abs().max() > 1e-3
