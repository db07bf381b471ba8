"""The edge network: its first weights, its input, and the part of a mask that it decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nseg_lib.config import NetworkConfig
from nseg_lib.networks import UNet, edge
from nseg_lib.networks.edge import edge_input, finish, is_careful, surroundings
from nseg_lib.networks.edge_unet import EdgeNet
from nseg_lib.networks.loading import TorchEngine
from nseg_lib.networks.looks import Looks
from nseg_lib.prompt import Prompt

WIDTHS = (8, 16)


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
    one = finish(TorchEngine(network), image, paint, logits)
    mirrored = (np.ascontiguousarray(a[:, ::-1]) for a in (image, paint, logits))
    assert np.allclose(finish(TorchEngine(network), *mirrored)[:, ::-1], one, atol=1e-4)


def test_what_it_sees():
    found = disc(80)
    image, logits = photo(found), np.where(found, 9, -2).astype(np.float32)
    seen = edge_input(image, found, logits)
    assert seen.shape == (edge.CHANNELS, 300, 400)
    assert seen.dtype == np.float32
    assert (seen[0] == found).all()
    assert set(np.unique(seen[3])) == {-0.5, 1.0}
    assert np.allclose(seen[4:, 150, 200], 200 / 255 - 127 / 255)


WHOLE = disc(80)
LINE = np.zeros_like(WHOLE)
LINE[145:151, 125:275] = LINE[100:200, 197:203] = True
DOTS = disc(9, 120, 170) | disc(9, 180, 170) | disc(9, 120, 230) | disc(9, 180, 230)
BOX = np.zeros_like(WHOLE)
BOX[80:210, 130:270] = True
BLOCKS = np.kron(disc(5, 10, 12, (20, 25)), np.ones((16, 16))) > 0


@pytest.mark.parametrize(
    ("stroke", "found", "careful"),
    [
        pytest.param(WHOLE, WHOLE, True, id="whole"),
        pytest.param(WHOLE & ~disc(30, row=60), WHOLE, True, id="bitten"),
        pytest.param(disc(80, row=0), disc(80, row=0), True, id="cut by the picture's border"),
        pytest.param(WHOLE, disc(70), False, id="reaches beyond the answer"),
        pytest.param(disc(30), WHOLE, False, id="a dab"),
        pytest.param(disc(3), disc(3), False, id="a dot"),
        pytest.param(WHOLE & False, WHOLE, False, id="nothing"),
        pytest.param(LINE, LINE, False, id="lines"),
        pytest.param(WHOLE & ~disc(72), WHOLE & ~disc(72), False, id="an outline"),
        pytest.param(DOTS, DOTS, False, id="dots"),
        pytest.param(BOX, BOX, False, id="a box"),
        pytest.param(BLOCKS, BLOCKS, False, id="blocks"),
    ],
)
def test_a_careful_mask_is_smooth_paint_that_the_answer_holds(stroke, found, careful):
    assert is_careful(stroke, found) == careful


def test_it_has_its_say_round_the_paint_alone():
    torch.manual_seed(0)
    paint = disc(30)
    logits = np.where(disc(40), 3, -3).astype(np.float32)
    before = logits.copy()
    finished = finish(TorchEngine(EdgeNet(WIDTHS).eval()), photo(disc(35)), paint, logits)
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


@pytest.mark.parametrize(("radius", "side"), [(60, 119 + 64), (500, edge.LARGEST)])
def test_an_object_in_a_large_picture_is_seen_at_its_own_size_or_the_largest(radius, side):
    found = disc(radius, 600, 800, (1200, 1600))
    network, logits = Paint(WIDTHS), np.where(found, 1, -1).astype(np.float32)
    finished = finish(TorchEngine(network), photo(found), found, logits)
    assert max(network.given.shape) == side
    assert np.count_nonzero((finished > 0) ^ found) <= 0.01 * (radius > 60) * found.sum()
    assert (finished[0] == -1).all() == (radius == 60), "beyond the crop the looks' answer stays"


class Same(EdgeNet):
    """The same logit everywhere."""

    def forward(self, x):
        return torch.full_like(x[:, :1], self.logit)


class Finds(Same):
    """Looks that find what was brushed, and an edge network that finds nothing."""

    def __init__(self):
        super().__init__(WIDTHS)
        self.edge = Same(WIDTHS)
        self.edge.logit = -7

    def forward(self, x):
        return 2 * x[:, 3:4] - 1


def test_only_a_careful_mask_alone_is_finished():
    predictor, nothing = Looks(TorchEngine(Finds()), NetworkConfig(looks=1)), WHOLE & False
    for prompt, finished in (
        (Prompt(WHOLE), True),
        (Prompt(WHOLE, nothing, nothing), True),
        (Prompt(WHOLE, ~disc(120)), False),
        (Prompt(WHOLE, mask=WHOLE), False),
        (Prompt(LINE), False),
    ):
        logits = predictor.logits(photo(WHOLE), prompt)
        assert (logits[150, 200] < -6) == finished


@pytest.mark.parametrize(
    ("logit", "answer"), [(-0.3, "none"), (-0.2, "paint"), (0.2, "paint"), (0.3, "all")]
)
def test_in_doubt_it_stays_as_it_was_painted(logit, answer):
    paint, network = disc(60), Same(WIDTHS)
    network.logit = logit
    logits = np.full(paint.shape, -3, np.float32)
    found = (
        finish(TorchEngine(network), photo(paint), paint, logits)[
            surroundings(paint, logits).window
        ]
        > 0
    )
    painted = paint[surroundings(paint, logits).window]
    expected = {"none": painted & False, "paint": painted, "all": painted | True}
    assert (found == expected[answer]).all()


@pytest.mark.parametrize("shape", [(20, 300), (60, 1600)])
def test_a_narrow_picture_is_finished_too(shape):
    stroke = np.zeros(shape, bool)
    stroke[2:-2, 100:150] = True
    stroke[2:4, 100:104] = False
    image = np.zeros((*shape, 3), np.uint8)
    logits = np.where(stroke, 1, -1).astype(np.float32)
    assert finish(TorchEngine(EdgeNet((16, 32, 64)).eval()), image, stroke, logits).shape == shape
