"""The classical baselines: what they gain on an easy picture, and that they never crash."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from nseg_lib.arrays import Image, Mask
from nseg_lib.evaluation import baselines
from nseg_lib.evaluation.baselines import BASELINES, SEEDED, Baseline, Segment
from nseg_lib.evaluation.metrics import iou
from nseg_lib.prompt import Prompt


def refined(name: str, image: Image, stroke: Mask, scale: float = 1.0) -> Mask:
    return Baseline(BASELINES[name], scale).logits(image, Prompt(stroke)) > 0


def seeded(name: str, image: Image, *prompt: Mask | None) -> Mask:
    return Baseline(SEEDED[name]).logits(image, Prompt(*prompt)) > 0


def disc(height: int, width: int, radius: float) -> Mask:
    rows, columns = np.mgrid[:height, :width]
    return np.asarray(np.hypot(rows - height // 2, columns - width // 2) <= radius)


def noisy_picture(target: Mask) -> Image:
    """A reddish object on a bluish ground, both noisy."""
    noise = np.random.default_rng(0).normal(0, 12, (*target.shape, 3))
    colours = np.where(target[..., None], (190, 70, 60), (60, 80, 170))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


def dilated(mask: Mask, radius: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Image, Mask]:
    """Flat or noisy pictures of any small size, under a rectangle or a few stray pixels."""
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = np.full((height, width, 3), draw(st.integers(0, 255)), np.uint8)
    if draw(st.booleans()):
        image = rng.integers(0, 256, image.shape, dtype=np.uint8)
    stroke = rng.random((height, width)) < draw(st.sampled_from([0.0, 0.03, 0.97, 1.0]))
    y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    stroke[y : y + draw(st.integers(1, 30)), x : x + draw(st.integers(1, 30))] = True
    return image, stroke


@pytest.mark.parametrize("name", ["grabcut", "watershed"])
def test_an_object_is_found_from_a_stroke_within_it_and_its_ring(name: str) -> None:
    """An object's edge is found up to 15 px beyond the stroke, and 8 px at half scale."""
    target, stroke = disc(160, 200, 50), disc(160, 200, 40)
    assert iou(stroke, target) < 0.7
    assert iou(refined(name, noisy_picture(target), stroke), target) > 0.98
    target, stroke = disc(160, 200, 45), disc(160, 200, 30)
    image = np.where(target[..., None], (190, 70, 60), (60, 80, 170)).astype(np.uint8)
    predicted = refined(name, image, stroke)
    assert (predicted & ~dilated(stroke, 14)).any()
    assert not (predicted & ~dilated(stroke, 15)).any()
    assert not (refined(name, image, stroke, 0.5) & ~dilated(stroke, 8)).any()


def test_identity_changes_nothing_and_dilation_grows_by_4_px_at_native_scale() -> None:
    stroke = np.zeros((40, 40), bool)
    stroke[20, 20] = True
    image = noisy_picture(stroke)
    assert np.array_equal(refined("identity", image, stroke), stroke)
    assert np.array_equal(refined("dilation", image, stroke), dilated(stroke, 4))
    assert np.array_equal(refined("dilation", image, stroke, 0.5), dilated(stroke, 2))
    assert refined("dilation", image, stroke, 0.01).sum() == 5  # never less than 1 px


@pytest.mark.parametrize("segment", [*BASELINES.values(), *SEEDED.values()])
def test_the_same_input_gives_the_same_bits(segment: Segment) -> None:
    """Wherever it lies in memory, and whatever was computed before: GrabCut draws from OpenCV's
    global generator."""
    image = cv2.resize(data.coffee(), (128, 96), interpolation=cv2.INTER_AREA)
    stroke, background = disc(96, 128, 25), ~disc(96, 128, 60)
    expected = Baseline(segment).logits(image, Prompt(stroke, background))
    for offset in range(1, 34, 4):
        cv2.setRNGSeed(offset)
        planes = [lying_at(plane, offset) for plane in (image, stroke, background)]
        found = Baseline(segment).logits(planes[0], Prompt(*planes[1:]))
        assert np.array_equal(found, expected)
        assert np.array_equal(planes[0], image)
        assert np.array_equal(planes[1], stroke)


def lying_at(array: NDArray[Any], offset: int) -> NDArray[Any]:
    """A copy that begins ``offset`` bytes into its memory."""
    copy = np.empty(array.size + offset, array.dtype)[offset:].reshape(array.shape)
    copy[:] = array
    return copy


@pytest.mark.parametrize("name", BASELINES)
@given(pictures(), st.sampled_from([1.0, 0.5]))
@settings(deadline=None, max_examples=40)
def test_the_mask_keeps_the_strokes_core_and_stays_within_the_ring(
    name: str, picture: tuple[Image, Mask], scale: float
) -> None:
    image, stroke = picture
    predicted = refined(name, image, stroke, scale)
    assert predicted.shape == stroke.shape
    assert predicted.any()
    assert not (predicted & ~dilated(stroke, round(15 * scale))).any()
    core = cv2.erode(stroke.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert not (core & ~predicted).any()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("spared", [0, 3])
def test_a_stroke_over_almost_everything_comes_back(name: str, spared: int) -> None:
    stroke = np.ones((20, 30), bool)
    stroke[0, :spared] = False
    predicted = refined(name, noisy_picture(stroke), stroke)
    assert np.array_equal(predicted, stroke) or (name == "dilation" and predicted.all())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="stroke is empty"):
        refined("dilation", np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), bool))


# --- seeded ---------------------------------------------------------------------------------------


def bar(height: int, width: int, row: int, columns: slice) -> Mask:
    """A horizontal line, 5 px wide."""
    line = np.zeros((height, width), bool)
    line[row - 2 : row + 3, columns] = True
    return line


@pytest.mark.parametrize("name", [*SEEDED][1:])
def test_an_easy_object_is_found_from_lines_on_both(name: str) -> None:
    target = disc(160, 200, 50)
    stroke = bar(160, 200, 80, slice(70, 130))
    background = bar(160, 200, 8, slice(10, 190)) | bar(160, 200, 152, slice(10, 190))
    # Stored column by column, as a mask that comes from COCO's RLE.
    strokes = np.asfortranarray(stroke), np.asfortranarray(background)
    predicted = seeded(name, noisy_picture(target), *strokes)
    assert iou(stroke, target) < 0.1
    assert iou(predicted, target) > 0.97


@pytest.mark.parametrize("name", ["watershed", "random_walker"])
def test_a_line_on_the_background_keeps_a_twin_out(name: str) -> None:
    """Two equal discs, which GrabCut's colour models alone cannot tell apart."""
    one = np.zeros((160, 320), bool)
    one[:, :160] = disc(160, 160, 50)
    twin = one[:, ::-1]
    stroke = bar(160, 320, 80, slice(50, 110))
    background = bar(160, 320, 80, slice(210, 270)) | bar(160, 320, 8, slice(10, 310))
    predicted = seeded(name, noisy_picture(one | twin), stroke, background)
    assert (predicted & one).sum() > 0.9 * one.sum()
    assert (predicted & twin).sum() < 0.1 * twin.sum()


@pytest.mark.parametrize("name", ["grabcut", "watershed"])
def test_a_coarse_mask_is_refined_in_its_ring(name: str) -> None:
    image, stroke = noisy_picture(disc(160, 200, 45)), disc(160, 200, 35)
    assert baselines.is_coarse_mask(stroke)
    assert not baselines.is_coarse_mask(bar(160, 200, 80, slice(70, 130)))
    for nothing in (None, np.zeros_like(stroke)):
        assert np.array_equal(seeded(name, image, stroke, nothing), refined(name, image, stroke))


def test_grabcut_goes_on_from_the_last_answer() -> None:
    """The object's second half has another colour: only the last answer says it belongs."""
    target = disc(160, 200, 50)
    image = noisy_picture(target)
    image[:80][target[:80]] = (60, 170, 60)
    stroke = bar(160, 200, 110, slice(80, 120))
    background = bar(160, 200, 8, slice(10, 190))
    predicted = seeded("grabcut", image, stroke, background, target)
    assert iou(predicted, target) > 0.97


@pytest.mark.parametrize("name", SEEDED)
@given(pictures(), st.booleans(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_any_strokes_will_do(
    name: str, picture: tuple[Image, Mask], drawn: bool, seed: int
) -> None:
    image, stroke = picture
    rng = np.random.default_rng(seed)
    background = (rng.random(stroke.shape) < 0.1 * drawn) & ~stroke
    for mask in (None, rng.random(stroke.shape) < 0.5):
        predicted = seeded(name, image, stroke, background, mask)
        assert predicted.dtype == np.bool_
        assert predicted.shape == stroke.shape
