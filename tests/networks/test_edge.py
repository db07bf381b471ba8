"""The edge network: what it starts from, what it is asked, and how it is trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_cli import nseg
from torch.nn import functional as F

from nseg_lib import config as configuration
from nseg_lib.config import ConfigError, EdgeConfig, EdgeFitConfig
from nseg_lib.data import coco
from nseg_lib.networks import UNet, edge
from nseg_lib.networks.edge import EdgeNet, edge_input, finish, is_careful, surroundings
from nseg_lib.networks.looks import TwoLooks, two_looks
from nseg_lib.networks.promptnet import PromptNet, build
from nseg_lib.networks.weights import save_weights
from nseg_lib.prompt import Prompt
from nseg_lib.refine import Refiner
from nseg_lib.training import refiner as training
from nseg_lib.training import refiner_data as data
from nseg_lib.training import refiner_loop
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


def disc(radius, row=150, column=200, shape=(300, 400)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def photo(found):
    return np.where(found[..., None], 200, 40).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (16, 16), (3, 50), (1, 1)])
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
            assert not torch.equal(network(changed), answer)


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
    paper, network = UNet((16, 32)), EdgeNet((8, 24))
    network.start_from(paper.state_dict())
    mine = network.unet.decoder[0].layers[0].weight  # sees 24 of the skip and 24 from below
    theirs = paper.decoder[0].layers[0].weight
    assert torch.equal(mine[:, :24], theirs[:24, :24])
    assert torch.equal(mine[:, 24:], theirs[:24, 32:56])
    first = network.unet.encoder[0].layers[0].weight
    assert torch.allclose(first[:, :12].sum(1), paper.encoder[0].layers[0].weight[:8].sum(1))


def test_left_and_right_make_no_difference():
    torch.manual_seed(0)
    network, paint = EdgeNet(WIDTHS).eval(), disc(40, 140, 170)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    logits = np.where(disc(50, 150, 180), 2, -2).astype(np.float32)
    one = finish(network, image, paint, logits)
    mirrored = (np.ascontiguousarray(a[:, ::-1]) for a in (image, paint, logits))
    assert np.allclose(finish(network, *mirrored)[:, ::-1], one, atol=1e-4)


def test_what_it_sees():
    found = disc(80)
    image, logits = photo(found), np.where(found, 9, -2).astype(np.float32)
    seen = edge_input(image, found, logits)
    assert seen.shape == (edge.CHANNELS, 300, 400)
    assert seen.dtype == np.float32
    assert (seen[0] == found).all()
    assert set(np.unique(seen[3])) == {-0.5, 1.0}
    assert np.allclose(seen[4:, 150, 200], 200 / 255 - 127 / 255)


def test_a_careful_mask_is_smooth_paint_that_the_answer_holds():
    whole = disc(80)
    bitten = whole & ~disc(30, row=60)
    assert is_careful(whole, whole)
    assert is_careful(bitten, whole)
    assert is_careful(disc(80, row=0), disc(80, row=0)), "cut by the picture's border"
    assert not is_careful(whole, disc(70)), "it reaches beyond the answer"
    assert not is_careful(disc(30), whole), "a dab"
    assert not is_careful(disc(3), disc(3))
    assert not is_careful(np.zeros_like(whole), whole)
    line = np.zeros_like(whole)
    line[145:151, 125:275] = line[100:200, 197:203] = True
    assert not is_careful(line, line)
    assert not is_careful(whole & ~disc(72), whole & ~disc(72)), "an outline"
    dots = disc(9, 120, 170) | disc(9, 180, 170) | disc(9, 120, 230) | disc(9, 180, 230)
    assert not is_careful(dots, dots)
    box = np.zeros_like(whole)
    box[80:210, 130:270] = True
    assert not is_careful(box, box)
    steps = np.kron(disc(5, 10, 12, (20, 25)), np.ones((16, 16))) > 0
    assert not is_careful(steps, steps), "blocks"


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


class Paint(EdgeNet):
    """Answers what was painted, and remembers what it was given."""

    def forward(self, x):
        self.given = x
        return x[:, :1] * 10 - 5


def test_a_small_object_in_a_large_picture_is_seen_at_its_own_size():
    found = disc(60, 600, 800, (1200, 1600))
    network, logits = Paint(WIDTHS), np.where(found, 1, -1).astype(np.float32)
    finished = finish(network, photo(found), found, logits)
    assert network.given.shape[2:] == (119 + 64, 119 + 64)
    assert ((finished > 0) == found).all()
    assert (finished[0] == -1).all()


class Same(EdgeNet):
    """The same logit everywhere."""

    def forward(self, x):
        return torch.full_like(x[:, :1], self.logit)


class Finds(torch.nn.Module):
    """Looks that find what was brushed, and an edge network that finds nothing."""

    def __init__(self):
        super().__init__()
        self.edge = Same(WIDTHS)
        self.edge.logit = -7

    def forward(self, x):
        return 2 * x[:, 3:4] - 1


def test_only_a_careful_mask_alone_is_finished():
    found, line = disc(80), np.zeros((300, 400), bool)
    line[145:150, 125:275] = True
    predictor = TwoLooks(Finds(), configuration.NetworkConfig(zoom=None))
    for prompt, finished in (
        (Prompt(found), True),
        (Prompt(found, np.zeros_like(found), np.zeros_like(found)), True),
        (Prompt(found, ~disc(120)), False),
        (Prompt(found, mask=found), False),
        (Prompt(line), False),
    ):
        logits = predictor.logits(photo(found), prompt)
        assert (logits[150, 200] < -6) == finished


@pytest.mark.parametrize(
    ("logit", "answer"), [(-0.3, "none"), (-0.2, "paint"), (0.2, "paint"), (0.3, "all")]
)
def test_in_doubt_it_stays_as_it_was_painted(logit, answer):
    paint, network = disc(60), Same(WIDTHS)
    network.logit = logit
    logits = np.full(paint.shape, -3, np.float32)
    found = finish(network, photo(paint), paint, logits)[surroundings(paint, logits).window] > 0
    painted = paint[surroundings(paint, logits).window]
    expected = {"none": painted & False, "paint": painted, "all": painted | True}
    assert (found == expected[answer]).all()


def test_a_large_object_is_shrunk_to_the_size_that_the_network_knows():
    found = disc(500, 600, 800, (1200, 1600))
    network, logits = Paint(WIDTHS), np.where(found, 1, -1).astype(np.float32)
    finished = finish(network, photo(found), found, logits)
    assert max(network.given.shape) == edge.LARGEST
    assert np.count_nonzero((finished > 0) ^ found) < 0.01 * np.count_nonzero(found)


@pytest.mark.parametrize("shape", [(20, 300), (60, 1600)])
def test_a_narrow_picture_is_finished_too(shape):
    stroke = np.zeros(shape, bool)
    stroke[2:-2, 100:150] = True
    stroke[2:4, 100:104] = False
    image = np.zeros((*shape, 3), np.uint8)
    logits = np.where(stroke, 1, -1).astype(np.float32)
    edges = lite0().edge
    assert edges is not None
    assert finish(EdgeNet(edges.widths).eval(), image, stroke, logits).shape == shape


def test_without_an_edge_network_the_looks_are_all(tmp_path):
    config = lite0(SMALL | {"edge": None})
    refiner = Refiner(build(config), config)
    image, prompt = photo(disc(80)), Prompt(disc(80))
    looks = two_looks(refiner.network, config.network, image, prompt)
    assert (refiner.logits(image, prompt) == looks).all()


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


def windows(folder, mix=None, looks=None, **settings):
    config = EdgeConfig(
        widths=WIDTHS,
        objects=4,
        mix=mix or {"erode": 1.0},
        training=EdgeFitConfig(size=(64,), **settings),
    )
    asked = []

    def sure(image, paint):
        asked.append(image.shape)
        return np.where(paint, 2.5, -2.5).astype(np.float32)

    return EdgeWindows(coco.load_split(folder, "train"), config, looks or sure), asked


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


def test_only_careful_masks_are_trained_on(tiny_data):
    found, asked = windows(tiny_data, {"sparse_object": 0.5, "box": 0.3, "erode": 0.2})
    for index in range(4):
        _, mask, paint, _ = found._object(index)
        assert is_careful(paint, paint)
        assert mask.shape == paint.shape
    assert len(asked) == 4, "the looks are asked where the paint alone does not decide"
    beyond, _ = windows(tiny_data, looks=lambda image, paint: np.full(paint.shape, -1.0))
    with pytest.raises(ConfigError, match=r"'edge\.mix'.*agree with no smooth mask"):
        beyond[(0, 0, 64)]


def test_a_window_s_planes_belong_together(tiny_data, monkeypatch):
    monkeypatch.setattr(data, "_recolour", lambda colours, rng: colours)
    cut, whole = [], []
    near = data._window_near
    monkeypatch.setattr(data, "_window_near", lambda *a: cut.append(near(*a)) or cut[-1])
    found, _ = windows(tiny_data)
    of = found._object
    monkeypatch.setattr(found, "_object", lambda index: whole.append(of(index)) or whole[-1])
    flipped = 0
    for step in range(12):
        x, target, counts = found[(step, 0, 64)]
        assert x.shape == (edge.CHANNELS, 64, 64)
        planes = torch.cat((x, target, counts)).numpy()
        image, mask, paint, logits = (plane[cut[-1]] for plane in whole[-1])
        height, width = mask.shape
        assert mask.any()
        expected = (paint, *np.moveaxis(image / 255 - 127 / 255, -1, 0), mask, np.ones_like(mask))
        for plane in (planes, planes[..., ::-1]):
            given = plane[:, :height, :width]
            if np.allclose(given[[0, *range(4, 9)]], np.stack(expected), atol=1e-3):
                break
        else:
            raise AssertionError("not what was cut out, nor its mirror image")
        flipped += plane is not planes
        assert np.allclose(given[3], logits / edge.SURE)
        assert (plane[3, height:] == -1).all()
        assert not plane[:3, height:].any()
        assert not plane[4:, :, width:].any()
    assert 0 < flipped < 12


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
def test_a_cut_training_goes_on_as_if_it_had_not_been(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(refiner_loop, "LOG_EVERY", 1)
    whole = train(tiny_data, tmp_path / "whole").read_bytes()
    looks = tmp_path / "whole" / "weights.safetensors"
    recipe = lite0(SMALL).edge
    with monkeypatch.context() as patch:
        step = refiner_loop.Learner.step
        cut = lambda learner, n, loss: step(learner, n, loss) if n < 2 else 1 / 0  # noqa: E731
        patch.setattr(refiner_loop.Learner, "step", cut)
        with pytest.raises(ZeroDivisionError):
            training.train_edge(recipe, looks, tiny_data, tmp_path / "cut", workers=0)
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    weights = training.train_edge(recipe, looks, tiny_data, tmp_path / "cut", workers=0)
    assert weights is not None
    assert weights.read_bytes() == whole
    said = []
    training.train_edge(recipe, looks, tiny_data, tmp_path / "cut", workers=0, say=said.append)
    assert said == [f"{weights}: already trained"]


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


def test_upscaling_is_not_what_makes_the_edge():
    """Each of the four pixels of a place has an answer of its own."""
    torch.manual_seed(0)
    answer = EdgeNet(WIDTHS).eval()(torch.rand(1, edge.CHANNELS, 16, 16))
    coarse = F.interpolate(F.avg_pool2d(answer, 2), scale_factor=2)
    assert (answer - coarse).abs().max() > 1e-3
