"""The interactive refiner's network: its crops, its input, and the prompts that it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trainings import TINY, lite0

from nseg_lib.config import NetworkConfig
from nseg_lib.networks import crops, looks, promptnet
from nseg_lib.networks.crops import Crop
from nseg_lib.networks.loading import TorchEngine
from nseg_lib.networks.promptnet import PromptNet
from nseg_lib.prompt import Prompt
from nseg_lib.refine import Refiner


def square(height=120, width=160, top=40, left=50, side=30):
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize(
    "mask", [square(), square(top=0, left=0), square(120, 160, 0, 0, 120), square(9, 9, 8, 8, 1)]
)
def test_both_looks_hold_the_strokes_and_stay_in_the_picture(mask):
    box = crops.bounding_box(mask)
    for crop in (crops.look(mask, np.zeros_like(mask)), crops.zoom(mask)):
        assert 0 <= crop.top <= box.top < box.bottom <= crop.bottom <= mask.shape[0]
        assert 0 <= crop.left <= box.left < box.right <= crop.right <= mask.shape[1]


def test_the_first_look_is_wide_and_the_second_is_close():
    mask = square()
    wide, close = crops.look(mask, np.zeros_like(mask)), crops.zoom(mask)
    assert wide.longer > 2 * 30
    assert close == Crop(28, 82, 38, 92)
    assert close.overlap(close._replace(left=65, right=119)) == pytest.approx(1 / 3)
    assert close.overlap(Crop(0, 9, 0, 9)) == 0


def test_the_first_look_takes_in_background_strokes_nearby():
    stroke = square(700, 900, top=310, left=410, side=80)  # its middle: row 350, column 450
    background = np.zeros_like(stroke)
    assert crops.look(stroke, background) == Crop(80, 620, 180, 720)
    background[50:53, 300:320] = True
    background[340:360, 140:143] = True
    background[340:360, 800:810] = True  # more than four times 80 pixels away
    assert crops.look(stroke, background) == Crop(50, 620, 140, 720)
    assert crops.look(stroke, background, beside=0) == Crop(80, 620, 180, 720)


def test_a_thin_stroke_survives_shrinking_and_the_frame_is_filled_up():
    image = np.full((400, 600, 3), 255, np.uint8)
    stroke = np.zeros((400, 600), bool)
    stroke[200, 100:500] = True
    channels, (height, width) = crops.crop_input(
        image, (stroke, ~stroke), Crop(0, 400, 0, 600), 96, 32
    )
    assert (height, width) == (64, 96)
    assert channels.shape == (5, 64, 96)
    assert 0.1 < channels[3].max() < 1
    channels, size = crops.crop_input(image, (stroke,), Crop(0, 300, 0, 600), 96, 96)
    assert channels.shape == (4, 96, 96)
    assert size == (48, 96)
    assert np.allclose(channels[:3, 48:], crops.GREY)
    assert not channels[3, 48:].any()


def test_similarity_is_the_cosine_to_the_mean_under_the_stroke():
    torch.manual_seed(0)
    features, prompts = torch.randn(2, 5, 4, 4), (torch.rand(2, 2, 4, 4) > 0.7).float()
    prompts[1, 1] = 0
    found = promptnet.stroke_similarity(features, prompts)
    unit = features / features.norm(dim=1, keepdim=True)
    mean = unit[0][:, prompts[0, 0] > 0].mean(1)
    cosine = (unit[0] * mean[:, None, None]).sum(0) / mean.norm()
    assert torch.allclose(found[0, 0], cosine, atol=1e-5)
    assert not found[1, 1].any()


@pytest.mark.parametrize("similarity", [True, False])
@pytest.mark.parametrize("distance", [True, False])
def test_the_network_answers_at_its_input_s_size_and_sees_every_channel(similarity, distance):
    torch.manual_seed(0)
    network = PromptNet(similarity=similarity, distance=distance).eval()
    x = torch.rand(1, 6, 64, 96)
    with torch.no_grad():
        answer = network(x)
        assert answer.shape == (1, 1, 64, 96)
        for channel in range(6):
            changed = x.clone()
            changed[:, channel] = 1 - changed[:, channel]
            assert not torch.allclose(network(changed), answer)


def test_nearness_falls_by_steps_of_the_chessboard():
    stroke = torch.zeros(1, 1, 9, 9)
    stroke[..., 4, 4] = 1
    near = promptnet.nearness(stroke, reach=4)[0, 0]
    rows, columns = np.indices((9, 9))
    steps = np.maximum(abs(rows - 4), abs(columns - 4))
    assert np.allclose(near, np.clip(1 - steps / 4, 0, 1))


@pytest.fixture
def refiner():
    torch.manual_seed(0)
    return Refiner(promptnet.build(lite0(TINY)), lite0(TINY))


@pytest.mark.parametrize("shape", [(120, 160), (33, 500), (5, 7), (1, 1)])
def test_any_picture_and_any_number_of_prompts(refiner, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    stroke = np.zeros(shape, bool)
    stroke[shape[0] // 2, shape[1] // 2] = True
    for more in ({}, {"background": ~stroke}, {"mask": stroke}, {"mask": np.zeros_like(stroke)}):
        logits = refiner.logits(image, Prompt(stroke, **more))
        assert logits.shape == shape
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()
        assert (refiner.refine(image, stroke, **more) == (logits > 0)).all()


def test_no_pixel_that_was_marked_as_background_is_object(refiner):
    """However thin the mark is on a large picture."""
    image = np.zeros((1500, 2000, 3), np.uint8)
    image[300:1200, 400:1600] = (200, 60, 60)
    stroke, background = np.zeros((2, 1500, 2000), bool)
    stroke[600:900, 600:1300] = True
    found = refiner.refine(image, stroke)
    background[:, 800:802] = True
    assert (found & background).any()
    assert not (refiner.refine(image, stroke, background) & background).any()


def test_prompts_and_weights_of_a_wrong_kind_are_refused(refiner):
    image, stroke = np.zeros((20, 30, 3), np.uint8), square(20, 30, 5, 5, 5)
    with pytest.raises(TypeError, match="background must be bool"):
        refiner.refine(image, stroke, background=stroke.astype(np.uint8))
    with pytest.raises(ValueError, match="mask must have the picture's height and width"):
        refiner.refine(image, stroke, mask=np.zeros((5, 5), bool))
    papers = Refiner.from_pretrained("tiny16-32_bce-dice")
    assert not papers.corrects
    with pytest.raises(ValueError, match="sees object strokes alone"):
        papers.refine(image, stroke, background=~stroke)
    with pytest.raises(ValueError, match="not the weights of EfficientNet-Lite0"):
        promptnet.load_imagenet(refiner.network, {"conv.weight": torch.zeros(3)})


def test_a_correction_changes_what_hangs_together_with_its_marks_and_nothing_else():
    last, found, stroke, background = np.zeros((4, 100, 100), bool)
    last[20:40, 20:40] = last[70:80, 20:30] = True
    found[20:40, 20:50] = True  # grown to the right, where the stroke asks for it
    found[60:70, 70:90] = True  # grown elsewhere too, and the part below is lost
    stroke[30, 44:48] = True
    logits = np.where(found, 3, -3).astype(np.float32)
    corrected = looks.correct_near_marks(logits, stroke, background, last) > 0
    assert (corrected == (last | (found & (np.indices(last.shape)[0] < 50)))).all()
    # A mark is obeyed whatever the network says, and what was asked for nowhere stays its own.
    stroke[90, 90] = True
    assert looks.correct_near_marks(logits, stroke, background, last)[90, 90] > 0
    assert (looks.correct_near_marks(logits, last, background, last) == logits).all()


@pytest.mark.parametrize("kind", ["object", "background"])
def test_a_stroke_on_the_object_takes_nothing_away_and_one_on_the_background_adds_nothing(kind):
    last, found, stroke, background = np.zeros((4, 100, 100), bool)
    last[20:60, 20:40] = True
    found[20:50, 20:50] = True  # grown to the right, and cut off below
    (stroke if kind == "object" else background)[45:55, 38:42] = True  # touches both changes
    logits = np.where(found, 3, -3).astype(np.float32)
    corrected = looks.correct_near_marks(logits, stroke, background, last) > 0
    expected = last | found | stroke if kind == "object" else last & found
    assert (corrected == expected).all()


def test_every_further_look_starts_from_what_the_last_one_found(refiner):
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    prompt = Prompt(np.indices((120, 160))[0] == 60)
    seen = [
        looks.Looks(TorchEngine(refiner.network), NetworkConfig(look=64, zoom=96, looks=n)).logits(
            image, prompt
        )
        for n in (1, 2, 3)
    ]
    assert not (seen[0] == seen[1]).all()
    assert not (seen[1] == seen[2]).all()
