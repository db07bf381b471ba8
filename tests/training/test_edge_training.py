"""The training of the edge network: its examples, its place after the looks, its command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_cli import nseg

from nseg_lib import config as configuration
from nseg_lib.config import ConfigError, EdgeConfig, EdgeFitConfig
from nseg_lib.data import coco
from nseg_lib.networks import edge
from nseg_lib.networks.edge import EdgeNet, is_careful
from nseg_lib.networks.promptnet import PromptNet, build
from nseg_lib.networks.weights import save_weights
from nseg_lib.refine import Refiner
from nseg_lib.training import refiner as training
from nseg_lib.training.losses import SobelLoss, refiner_loss
from nseg_lib.training.refiner_data import EdgeWindows

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
    "edge.mix": {"erode": 1.0},
    "edge.training.steps": 3,
    "edge.training.size": [64],
    "edge.training.batch_size": 2,
}


def lite0(overrides=None):
    """The shipped refiner's recipe, with other settings."""
    return configuration.load("lite0", overrides, kind=configuration.RefinerConfig)


def test_the_paper_s_boundary_loss_can_be_added():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 16, 16)
    target, counts = (torch.rand(2, 1, 16, 16) > 0.5).float(), torch.ones(2, 1, 16, 16)
    fit, plain = EdgeFitConfig(boundary=2.0), EdgeFitConfig(boundary=0.0)
    without = refiner_loss(logits, target, counts, plain)
    added = refiner_loss(logits, target, counts, fit)
    assert torch.allclose(added, without + 2 * SobelLoss()(logits, target))
    counts[..., 8:] = 0
    some = refiner_loss(logits, target, counts, fit)
    logits[..., 11:] = 9
    assert refiner_loss(logits, target, counts, fit) == some


def windows(folder, mix=None, looks=None, items=0, **settings):
    """The first items, and the paint that the looks were asked about."""
    config = EdgeConfig(
        widths=WIDTHS,
        objects=4,
        mix=mix or {"erode": 1.0},
        training=EdgeFitConfig(size=(64,), **settings),
    )
    asked = []

    def sure(image, paint):
        asked.append(paint)
        return np.where(paint, 2.5, -2.5).astype(np.float32)

    found = EdgeWindows(coco.load_split(folder, "train"), config, looks or sure)
    return [found[(step, 0, 64)] for step in range(items)], asked


def test_a_window_depends_on_its_seed_and_key_and_objects_are_looked_at_once(tiny_data):
    first, asked = windows(tiny_data, items=8)
    again, _ = windows(tiny_data, items=8)
    other, _ = windows(tiny_data, items=8, seed=1)
    assert len(asked) <= 4
    for one, same, different in zip(first, again, other, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not torch.equal(one[0], different[0])


def test_only_careful_masks_are_trained_on(tiny_data):
    _, asked = windows(tiny_data, {"sparse_object": 0.5, "box": 0.3, "erode": 0.2}, items=6)
    assert 0 < len(asked) <= 4, "the looks are asked where the paint alone does not decide"
    assert all(is_careful(paint, paint) for paint in asked)
    with pytest.raises(ConfigError, match=r"'edge\.mix'.*agree with no smooth mask"):
        windows(tiny_data, looks=lambda image, paint: np.full(paint.shape, -1.0), items=1)


def test_a_window_s_planes_belong_together(tiny_data):
    seen, _ = windows(tiny_data, items=12, augment=False)
    for x, target, counts in seen:
        paint, logits, colours, inside = x[0] > 0, x[3], x[4:], counts[0] > 0
        assert x.shape == (edge.CHANNELS, 64, 64)
        assert torch.equal(logits[inside], torch.where(paint, 2.5, -2.5)[inside] / edge.SURE)
        assert (logits[~inside] == -1).all(), "beyond the picture"
        assert not x[:3, ~inside].any()
        assert (paint & (target[0] > 0)).sum() > 0.9 * paint.sum(), "the paint is on its object"
        bright = colours.mean(0) > 0.1  # the pictures' objects are brighter than what is round them
        assert ((bright == (target[0] > 0)) | ~inside).float().mean() > 0.95


@pytest.fixture
def sure_looks(monkeypatch):
    """Looks that find what was painted, for a network of random weights finds anything."""
    monkeypatch.setattr(
        training, "two_looks", lambda n, c, image, prompt: np.where(prompt.object, 2.5, -2.5)
    )


def train(folder, out, workers=0, **settings):
    config = lite0(SMALL | settings)
    return training.train(config, folder, out, workers=workers)


@pytest.mark.usefixtures("sure_looks")
def test_it_is_trained_after_the_looks_and_saved_with_them(tiny_data, tmp_path):
    weights = train(tiny_data, tmp_path)
    assert weights == tmp_path / "edge" / "weights.safetensors"
    looks, whole = load_file(tmp_path / "weights.safetensors"), load_file(weights)
    assert all(torch.equal(value, whole[key]) for key, value in looks.items())
    assert {key.split(".")[0] for key in whole.keys() - looks.keys()} == {"edge"}
    torch.manual_seed(lite0().edge.training.seed)
    fresh = EdgeNet(WIDTHS).state_dict()
    changed = sum(not torch.equal(whole[f"edge.{key}"], fresh[key].half()) for key in fresh)
    assert changed > len(fresh) / 3, "steps of a warm-up, in half precision"
    refiner = Refiner.load(weights)
    assert isinstance(refiner.network.edge, EdgeNet)
    assert refiner.config == lite0(SMALL)
    record = json.loads((tmp_path / "edge" / "weights.safetensors.json").read_text())
    assert record["config"]["edge"]["widths"] == list(WIDTHS)
    assert record["looks"] == json.loads((tmp_path / "weights.safetensors.json").read_text())


@pytest.mark.usefixtures("sure_looks")
def test_workers_change_nothing(tiny_data, tmp_path):
    alone = train(tiny_data, tmp_path / "alone")
    assert train(tiny_data, tmp_path / "helped", workers=1).read_bytes() == alone.read_bytes()


@pytest.mark.usefixtures("sure_looks")
def test_it_can_start_from_a_shipped_network(tiny_data, tmp_path):
    settings = {"edge.widths": [16, 32], "edge.start": "tiny16-32_bce-dice"}
    weights = train(tiny_data, tmp_path, **settings, **{"edge.training.learning_rate": 1e-9})
    paper = Refiner.from_pretrained("tiny16-32_bce-dice").network.state_dict()
    deepest = load_file(weights)["edge.unet.bottleneck.layers.0.weight"]
    assert torch.allclose(deepest.float(), paper["bottleneck.layers.0.weight"], atol=1e-3)
    record = json.loads(weights.with_name("weights.safetensors.json").read_text())
    used = [source["path"] for source in record["inputs"]]
    assert [path.rpartition("/")[2] for path in used[1:]] == [
        "weights.safetensors",
        "tiny16-32_bce-dice.safetensors",
    ]


@pytest.mark.usefixtures("sure_looks")
def test_time_that_is_up_stops_it_resumably(tiny_data, tmp_path):
    config = lite0(SMALL)
    looks = training.train(lite0(SMALL | {"edge": None}), tiny_data, tmp_path)
    assert training.train(config, tiny_data, tmp_path, workers=0, minutes=-1) is None
    assert not (tmp_path / "edge" / "weights.safetensors").exists()
    assert looks.exists()
    assert training.train(config, tiny_data, tmp_path, workers=0).parent.name == "edge"


@pytest.mark.usefixtures("sure_looks")
def test_the_command_trains_one_for_looks_that_are_there(tiny_data, tmp_path):
    config = lite0(SMALL | {"edge": None})
    looks = tmp_path / "looks.safetensors"
    save_weights(build(config), config, looks)
    sets = [f"--set={k}={json.dumps(v)}" for k, v in SMALL.items() if k.startswith("edge")]
    common = ("train-refiner", "--data", tiny_data, "--out", tmp_path / "run", "--workers", 0)
    said = nseg(*common, "--edge-for", looks, *sets).stdout.replace("\n", "")
    assert said.endswith("run/edge/weights.safetensors")
    assert Refiner.load(tmp_path / "run" / "edge" / "weights.safetensors").network.edge is not None
    other = nseg(*common, "--edge-for", looks, "--set=network.look=96", status=2)
    assert "--edge-for trains the edge network alone (got --set network.look)" in other.stderr
    gone = nseg(*common, "--edge-for", tmp_path / "gone", status=2)
    assert "gone: no such checkpoint" in gone.stderr


@pytest.mark.usefixtures("sure_looks")
def test_a_folder_belongs_to_the_looks_that_it_was_trained_for(tiny_data, tmp_path):
    train(tiny_data, tmp_path / "one")
    other = tmp_path / "other.safetensors"
    config = lite0(SMALL | {"edge": None})
    save_weights(build(config), config, other)
    recipe = lite0(SMALL).edge
    with pytest.raises(ConfigError, match="another configuration or other data"):
        training.train_edge(recipe, other, tiny_data, tmp_path / "one" / "edge", workers=0)


def test_only_an_interactive_refiner_gets_one(tiny_data, tmp_path):
    paper = Refiner.from_pretrained("tiny16-32_bce-dice")
    save_weights(paper.network, paper.config, tmp_path / "paper.safetensors")
    recipe = lite0(SMALL).edge
    with pytest.raises(ConfigError, match="not an interactive refiner's weights"):
        training.train_edge(recipe, tmp_path / "paper.safetensors", tiny_data, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_start_that_is_not_as_deep_is_refused():
    with pytest.raises(ConfigError, match="edge"):
        lite0({"edge.start": "tiny16-32_bce-dice"})


def test_the_shipped_refiner_has_one():
    network = Refiner.from_pretrained().network
    assert isinstance(network, PromptNet)
    assert isinstance(network.edge, EdgeNet)
