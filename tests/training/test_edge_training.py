"""The training of the edge network: its examples, its place after the looks, its command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from command_line import nseg
from safetensors.torch import load_file
from trainings import SHORT, lite0

from nseg_lib.config import ConfigError, EdgeConfig, EdgeFitConfig
from nseg_lib.data import coco
from nseg_lib.networks import edge
from nseg_lib.networks.edge import is_careful
from nseg_lib.networks.edge_unet import EdgeNet
from nseg_lib.networks.promptnet import build
from nseg_lib.networks.weights import save_weights
from nseg_lib.refine import Refiner
from nseg_lib.training import refiner as training
from nseg_lib.training.refiner_data import EdgeWindows

WIDTHS = (8, 16)
LOOKS = SHORT | {"training.steps": 1, "training.cycles": 1}
EDGE = {
    "edge": lite0().edge.model_dump(mode="json"), "edge.widths": WIDTHS, "edge.start": None,
    "edge.objects": 4, "edge.mix": {"erode": 1.0}, "edge.training.steps": 3,
    "edge.training.size": [64], "edge.training.batch_size": 2,
}  # fmt: skip


def windows(folder, mix=None, answer=None, items=0, **settings):
    """The first items, and the paint that the refiner was asked about."""
    fit = EdgeFitConfig(size=(64,), **settings)
    config = EdgeConfig(widths=WIDTHS, objects=4, mix=mix or {"erode": 1.0}, training=fit)
    asked = []

    def sure(image, paint):
        asked.append(paint)
        return np.where(paint, 2.5, -2.5).astype(np.float32)

    found = EdgeWindows(coco.load_split(folder, "train"), config, answer or sure)
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
    assert 0 < len(asked) <= 4, "the refiner is asked where the paint alone does not decide"
    assert all(is_careful(paint, paint) for paint in asked)
    with pytest.raises(ConfigError, match=r"'edge\.mix'.*agrees with no smooth mask"):
        windows(tiny_data, answer=lambda image, paint: np.full(paint.shape, -1.0), items=1)


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


@pytest.fixture(autouse=True)
def sure_looks(monkeypatch):
    """Looks that find what was painted, for a network of random weights finds anything."""
    monkeypatch.setattr(
        training.looks, "answer", lambda n, c, image, prompt: np.where(prompt.object, 2.5, -2.5)
    )


def train(folder, out, **options):
    return training.train(lite0(LOOKS | EDGE), folder, out, **{"workers": 0} | options)


def test_it_is_trained_after_the_looks_and_saved_with_them(tiny_data, tmp_path):
    """Time that is up stops it resumably, and how many workers there are changes nothing."""
    with pytest.raises(ValueError, match="minutes is nan; a number is needed"):
        train(tiny_data, tmp_path / "run", minutes=float("nan"))
    assert not (tmp_path / "run").exists()
    assert train(tiny_data, tmp_path / "run", minutes=-1) is None
    weights = train(tiny_data, tmp_path / "run")
    assert weights == tmp_path / "run" / "edge" / "weights.safetensors"
    assert train(tiny_data, tmp_path / "helped", workers=1).read_bytes() == weights.read_bytes()
    trained = tmp_path / "run" / "weights.safetensors"
    looks, whole = load_file(trained), load_file(weights)
    assert all(torch.equal(value, whole[key]) for key, value in looks.items())
    assert {key.split(".")[0] for key in whole.keys() - looks.keys()} == {"edge"}
    torch.manual_seed(lite0().edge.training.seed)
    fresh = EdgeNet(WIDTHS).state_dict()
    changed = sum(not torch.equal(whole[f"edge.{key}"], fresh[key].half()) for key in fresh)
    assert changed > len(fresh) / 3, "steps of a warm-up, in half precision"
    refiner = Refiner.load(weights)
    assert isinstance(refiner.network.edge, EdgeNet)
    assert refiner.config == lite0(LOOKS | EDGE)
    record = json.loads(weights.with_name("weights.safetensors.json").read_text())
    assert record["config"]["edge"]["widths"] == list(WIDTHS)
    assert record["looks"] == json.loads(trained.with_name("weights.safetensors.json").read_text())


@pytest.fixture
def looks(tmp_path):
    """The weights of a refiner without an edge network."""
    save_weights(build(lite0(LOOKS)), lite0(LOOKS), tmp_path / "looks.safetensors")
    return tmp_path / "looks.safetensors"


def test_it_can_start_from_a_shipped_network(tiny_data, tmp_path, looks):
    start = {"edge.widths": [16, 32], "edge.start": "tiny16-32_bce-dice"}
    recipe = lite0(LOOKS | EDGE | start | {"edge.training.learning_rate": 1e-9}).edge
    weights = training.train_edge(recipe, looks, tiny_data, tmp_path / "edge", workers=0)
    paper = Refiner.from_pretrained("tiny16-32_bce-dice").network.state_dict()
    deepest = load_file(weights)["edge.unet.bottleneck.layers.0.weight"]
    assert torch.allclose(deepest.float(), paper["bottleneck.layers.0.weight"], atol=1e-3)
    record = json.loads(weights.with_name("weights.safetensors.json").read_text())
    used = [source["path"].rpartition("/")[2] for source in record["inputs"]]
    assert used[1:] == ["looks.safetensors", "tiny16-32_bce-dice.safetensors"]


def test_the_command_trains_one_for_looks_that_are_there(tiny_data, tmp_path, looks):
    sets = [f"--set={k}={json.dumps(v)}" for k, v in EDGE.items() if k != "edge"]
    common = ("train-refiner", "--data", tiny_data, "--out", tmp_path / "run", "--workers", 0)
    said = nseg(*common, "--edge-for", looks, *sets).stdout.replace("\n", "")
    assert said.endswith("run/edge/weights.safetensors")
    assert Refiner.load(tmp_path / "run" / "edge" / "weights.safetensors").network.edge is not None
    other = nseg(*common, "--edge-for", looks, "--set=network.look=96", status=2)
    assert "--edge-for trains the edge network alone (got --set network.look)" in other.stderr
    gone = nseg(*common, "--edge-for", tmp_path / "gone", status=2)
    assert "gone: no such checkpoint" in gone.stderr
    # The folder belongs to the looks that it was trained for.
    save_weights(build(lite0(LOOKS)), lite0(LOOKS), looks)
    again = nseg(*common, "--edge-for", looks, *sets, status=2)
    assert "another configuration or other data" in " ".join(again.stderr.split())


def test_only_an_interactive_refiner_gets_one(tiny_data, tmp_path):
    paper = Refiner.from_pretrained("tiny16-32_bce-dice")
    save_weights(paper.network, paper.config, tmp_path / "paper.safetensors")
    recipe = lite0(LOOKS | EDGE).edge
    with pytest.raises(ConfigError, match="not an interactive refiner's weights"):
        training.train_edge(recipe, tmp_path / "paper.safetensors", tiny_data, tmp_path / "x")
    assert not (tmp_path / "x").exists()
