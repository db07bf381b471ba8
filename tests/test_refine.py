"""The refiner: what goes in, what comes out, what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from skimage import data as pictures

from nseg_lib import Refiner, config, networks
from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.data.scaling import rescale
from nseg_lib.evaluation.metrics import iou
from nseg_lib.networks.weights import PRETRAINED, save_weights, shipped
from nseg_lib.prompt import Prompt
from nseg_lib.sample import make_sample
from nseg_lib.strokes.drawing import rasterize

rng = np.random.default_rng(0)
IMAGE = rng.integers(0, 256, (45, 61, 3), dtype=np.uint8)
STROKE = rng.random((45, 61)) > 0.8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    loaded = config.load("res16-32_bce-dice", {"model.widths": [8]})
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(networks.build(loaded.model), loaded, path)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSamples:
    root = make_sample(tmp_path_factory.mktemp("data") / "sample", pictures=8)
    return EvaluationSamples(coco.load_split(root, "photos"))


def test_refine_gives_a_mask_of_the_pictures_size(checkpoint: Path) -> None:
    refiner = Refiner.load(checkpoint)
    mask = refiner.refine(IMAGE, STROKE)
    assert mask.dtype == np.bool_
    assert mask.shape == (45, 61)
    probability = 1 / (1 + np.exp(-refiner.logits(IMAGE, Prompt(STROKE)).astype(float)))
    assert np.array_equal(mask, probability > 0.5)


@pytest.mark.parametrize("name", PRETRAINED)
def test_what_the_package_ships_improves_strokes_over_real_photographs(
    name: str, photographs: EvaluationSamples
) -> None:
    refiner = Refiner.from_pretrained(name)
    assert refiner.config.name == name
    gained = [
        iou(refiner.refine(s.image, s.stroke), s.mask) - iou(s.stroke, s.mask) for s in photographs
    ]
    assert np.mean(gained) > 0.02


@pytest.mark.parametrize(
    ("image", "stroke", "error", "says"),
    [
        (IMAGE.astype(float), STROKE, TypeError, "image must be uint8 in 0..255, got float64"),
        (IMAGE, STROKE.astype(np.uint8), TypeError, "stroke must be bool"),
        ("photo.jpg", STROKE, TypeError, "image must be a NumPy array, got str"),
        (IMAGE, None, TypeError, "stroke is missing"),
        (IMAGE[..., 0], STROKE, ValueError, r"image must have shape \(height, width, 3\)"),
        (IMAGE, STROKE.T, ValueError, r"height and width \(45, 61\), got \(61, 45\)"),
        (IMAGE, STROKE & False, ValueError, "stroke is empty: brush over the object first"),
        (np.ma.array(IMAGE), STROKE, TypeError, "image must be a NumPy array, got MaskedArray"),
        (IMAGE, torch.from_numpy(STROKE), TypeError, "stroke must be a NumPy array, got Tensor"),
    ],
)
def test_wrong_input_says_what_is_expected(
    checkpoint: Path, image: object, stroke: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Refiner.load(checkpoint).refine(image, stroke)  # type: ignore[arg-type]


def test_what_is_no_checkpoint_is_named(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="no pretrained 'sam'; there are: lite1, lite0, attn16"):
        Refiner.from_pretrained("sam")
    with pytest.raises(ValueError, match="no such checkpoint"):
        Refiner.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="is a folder, not a checkpoint"):
        Refiner.load(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"PK\x03\x04 a pickle perhaps")
    with pytest.raises(ValueError, match=r"foreign\.safetensors: not a safetensors file"):
        Refiner.load(foreign)
    config = Refiner.load(checkpoint).config.model_dump()
    odd = config | {"model": config["model"] | {"widths": [9]}}
    for metadata, says in (
        (None, "has no 'nseg_config' in its metadata; not written by nseg"),
        ("{", "'nseg_config': not valid JSON"),
        ("[1]", "'nseg_config': expected a mapping of settings"),
        (json.dumps(config), "weights do not fit res16-32_bce-dice: 'encoder"),
        (json.dumps(odd), r"'nseg_config': .*'model\.widths\.0': Input should be a multiple of 8"),
    ):
        known = {"nseg_config": metadata} if metadata else None
        save_file({"a": torch.zeros(1)}, foreign, metadata=known)
        with pytest.raises(ValueError, match=rf"foreign\.safetensors: {says}"):
            Refiner.load(foreign)


@pytest.mark.parametrize("name", ["lite0", "tiny16-32_bce-dice"])
def test_broken_weights_are_no_empty_mask(name: str) -> None:
    refiner = Refiner.from_pretrained(name)
    with torch.no_grad():
        next(refiner.network.parameters()).fill_(torch.nan)
    for scale in (None, 1.0):
        with pytest.raises(ValueError, match=f"{name}: its answer is not finite"):
            refiner.refine(IMAGE, STROKE, scale=scale)


def test_a_checkpoint_or_device_of_another_type_is_named() -> None:
    for wrong in (None, 5, b"lite1"):
        with pytest.raises(TypeError, match="checkpoint must be a name or a path, got "):
            Refiner.load(wrong)  # type: ignore[arg-type]
    for device in (None, 0):
        with pytest.raises(ValueError, match=f"device must be cpu, cuda or cuda:N, got {device}"):
            Refiner.from_pretrained(device=device)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["lite0", "tiny16-32_bce-dice"])
def test_a_refiner_can_be_copied_and_sent_to_another_process(name: str) -> None:
    refiner = Refiner.from_pretrained(name)
    mask = refiner.refine(IMAGE, STROKE)
    for twin in (copy.deepcopy(refiner), pickle.loads(pickle.dumps(refiner))):
        assert np.array_equal(twin.refine(IMAGE, STROKE), mask)


@pytest.mark.parametrize("name", ["lite0", "tiny16-32_bce-dice"])
def test_weights_of_another_kind_of_number_are_refused(name: str, tmp_path: Path) -> None:
    about = Refiner.from_pretrained(name).config.model_dump_json()
    arrays = load_file(shipped(name))
    key = max(arrays, key=lambda each: arrays[each].size)
    for value, said in ((arrays[key].astype(np.int8), "is int8"), (arrays[key] * np.nan, "finite")):
        save_arrays(arrays | {key: value}, tmp_path / "w.safetensors", {"nseg_config": about})
        with pytest.raises(ValueError, match=rf"w\.safetensors: .*{said}"):
            Refiner.load(tmp_path / "w.safetensors")


def test_correcting_needs_an_object_stroke_too() -> None:
    with pytest.raises(ValueError, match="brush over the object first, also to take a part"):
        Refiner.from_pretrained().refine(IMAGE, STROKE & False, background=STROKE, mask=~STROKE)


def test_a_background_that_covers_all_that_is_meant_is_refused() -> None:
    refiner, box = Refiner.from_pretrained(), (4, 6, 40, 30)
    everything = np.ones_like(STROKE)
    for asked, what in (({"stroke": STROKE}, "stroke"), ({"box": box}, "box")):
        with pytest.raises(ValueError, match=f"background covers all of the {what}; is it inv"):
            refiner.refine(IMAGE, background=everything, **asked)
    beside = np.zeros_like(STROKE)
    beside[10:13, 20:23] = True  # all that is brushed in the box, and more is outside it
    with pytest.raises(ValueError, match="background covers all of the stroke"):
        refiner.refine(IMAGE, beside | ~Prompt(beside, box=box).inside, beside, box=box)


def test_a_part_and_the_whole_can_be_asked_for() -> None:
    refiner, image = Refiner.from_pretrained(), np.ascontiguousarray(pictures.astronaut()[:400])
    stroke = {"kind": "object", "points": [[180, 250, 3], [240, 330, 3]]}  # on her suit
    line = rasterize([stroke], *image.shape[:2]).object
    part, usual, whole = (
        refiner.refine(image, line, extent=extent) for extent in ("part", "object", "whole")
    )
    assert 0 < part.sum() < 0.9 * usual.sum() < 0.9 * whole.sum()
    # A mask to correct shows by itself how much is meant.
    corrected = refiner.refine(image, line, mask=part)
    assert (refiner.refine(image, line, mask=part, extent="whole") == corrected).all()
    with pytest.raises(ValueError, match="extent is 'all'; allowed: part, object, whole"):
        refiner.refine(image, line, extent="all")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="sees object strokes alone"):
        Refiner.from_pretrained("tiny16-32_bce-dice").refine(image, line, extent="part")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:-1", "cuda:99"])
def test_a_device_that_there_is_not_is_named(checkpoint: Path, device: str) -> None:
    with pytest.raises(ValueError, match="device"):
        Refiner.load(checkpoint, device)


@pytest.mark.parametrize("name", ["tiny16-32_bce-dice", "res16-128_bce-dice"])
def test_a_picture_may_be_smaller_than_the_network_s_poolings(name: str) -> None:
    refiner = Refiner.from_pretrained(name)
    for size in ((1, 40), (3, 200), (7, 1), (1, 1)):
        image, stroke = np.zeros((*size, 3), np.uint8), np.ones(size, bool)
        assert refiner.refine(image, stroke).shape == size


def test_shrinking_keeps_picture_mask_and_stroke_together() -> None:
    mask = np.zeros((45, 61), bool)
    mask[10:30, 20:50] = True
    image, small, stroke = rescale(IMAGE, mask, mask, 0.5)
    assert image.shape == (22, 30, 3)
    assert np.array_equal(small, stroke)
    assert small.mean() == pytest.approx(mask.mean(), rel=0.1)
    assert rescale(IMAGE, mask, STROKE, 1.0)[0] is IMAGE


def test_a_network_asked_at_another_scale_answers_at_the_picture_s_size():
    refiner = Refiner.from_pretrained("tiny16-32_bce-dice")
    assert refiner.scale == 0.5
    image = np.random.default_rng(0).integers(0, 255, (61, 80, 3), np.uint8)
    stroke = np.zeros((61, 80), bool)
    stroke[30, 20:60] = True  # half a pixel wide at that scale
    logits = refiner.logits(image, Prompt(stroke))
    assert (logits.shape, logits.dtype) == ((61, 80), np.float32)
    native = refiner.logits(image, Prompt(stroke), 1)
    assert not np.allclose(logits, native, atol=0.1)
    assert (native == refiner.predictor.logits(image, Prompt(stroke))).all()
    assert (refiner.refine(image, stroke, scale=1) == (native > 0)).all()
    assert (refiner.refine(image, stroke) == (logits > 0)).all(), "as it was trained"
    for scale in (0, -1, 2, float("nan")):
        with pytest.raises(ValueError, match="scale must be above 0 and at most 1"):
            refiner.refine(image, stroke, scale=scale)
    with pytest.raises(TypeError, match="scale must be a number, got str"):
        refiner.refine(image, stroke, scale="1")


def test_a_box_alone_and_a_box_with_a_stroke_keep_the_answer_inside() -> None:
    refiner, box = Refiner.from_pretrained(), (4, 6, 40, 30)
    outside = np.ones(IMAGE.shape[:2], bool)
    outside[6:30, 4:40] = False
    alone = refiner.refine(IMAGE, box=box)
    assert not alone[outside].any()
    # The same said with masks: the box painted full, and background all round it.
    assert Prompt(np.zeros_like(STROKE), box=box).planes[0].sum() == (~outside).sum()
    dot = np.zeros_like(STROKE)
    dot[10:13, 20:23] = True
    assert not refiner.refine(IMAGE, dot, box=box)[outside].any()


@pytest.mark.parametrize(
    ("box", "error", "said"),
    [
        ((9, 5, 9, 8), ValueError, "left < right"),
        ((0, 0, 9, 10_000), ValueError, "none below 0"),
        ((0.5, 0, 9, 9), TypeError, "four whole numbers"),
        ((0, 0, 9), TypeError, "four whole numbers"),
        (5, TypeError, "four whole numbers"),
        ((False, False, True, True), TypeError, "four whole numbers"),
    ],
)
def test_a_box_that_does_not_fit_is_told_in_one_line(
    box: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Refiner.from_pretrained().refine(IMAGE, box=box)


def test_a_box_on_a_smaller_picture_holds_the_same_part() -> None:
    prompt = Prompt(np.zeros((200, 300), bool), box=(51, 41, 201, 151))
    assert prompt.shrunk((150, 100)).box == (25, 20, 101, 76)


def test_the_probability_is_above_a_half_where_the_mask_is_and_follows_the_temperature() -> None:
    refiner = Refiner.from_pretrained()
    mask, sure = refiner.refine(IMAGE, STROKE, return_probability=True)
    assert sure.dtype == np.float32
    assert ((sure > 0.5) == mask).all()
    assert (mask == refiner.refine(IMAGE, STROKE)).all()
    network = refiner.config.network.model_copy(update={"temperature": 4.0})  # type: ignore[union-attr]
    doubtful = Refiner(refiner.network, refiner.config.model_copy(update={"network": network}))
    again, unsure = doubtful.refine(IMAGE, STROKE, return_probability=True)
    assert (again == mask).all()
    assert np.abs(unsure - 0.5).max() < np.abs(sure - 0.5).max()


def test_the_probability_is_0_beyond_what_was_looked_at() -> None:
    """Else a large picture would make a small object's mask look doubtful."""
    image = np.zeros((600, 800, 3), np.uint8)
    image[280:320, 380:420] = 200
    stroke = np.zeros((600, 800), bool)
    stroke[290:310, 390:410] = True
    _, sure = Refiner.from_pretrained().refine(image, stroke, return_probability=True)
    assert sure.any()
    assert not sure[:100].any()
    assert not sure[:, -100:].any()
