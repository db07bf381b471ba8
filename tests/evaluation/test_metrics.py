"""Metrics against independent implementations, on the cases that go wrong, and their laws."""

import math

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.metrics import compute_hausdorff_distance
from scipy.spatial.distance import directed_hausdorff

from nseg_lib.arrays import Mask
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.metrics import DISTANCES, METRICS, evaluate_mask

OVERLAPS = [name for name in METRICS if name not in DISTANCES]


@st.composite
def blobs(draw: st.DrawFn, height: int, width: int) -> Mask:
    """Rectangles, also of one pixel or none, noise, everything; two of them without a third."""
    rows, columns = np.mgrid[:height, :width]
    found = []
    for kind in draw(st.lists(st.sampled_from(["box", "noise", "full"]), min_size=1, max_size=3)):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(y, height)), draw(st.integers(x, width))
        box = (rows >= y) & (rows < bottom) & (columns >= x) & (columns < right)
        noise = np.random.default_rng(y).random(box.shape) < draw(
            st.sampled_from([0.02, 0.5, 0.95])
        )
        found.append({"box": box, "noise": noise, "full": box | True}[kind])
    first, second, hole = (*found, rows < 0, rows < 0)[:3]
    return (first | second) & ~hole


@st.composite
def mask_sets(draw: st.DrawFn, count: int = 2) -> tuple[Mask, ...]:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return tuple(draw(blobs(height, width)) for _ in range(count))


def disc(height: int, width: int, y: int, x: int, radius: float) -> Mask:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows - y, columns - x) <= radius


# --- independent implementations ---------------------------------------------------------------


def monai_hausdorff(predicted: Mask, target: Mask, percentile: float | None) -> float:
    tensors = (torch.from_numpy(mask)[None, None] for mask in (predicted, target))
    return float(compute_hausdorff_distance(*tensors, True, percentile=percentile))


def coco_band(mask: Mask, backend: str) -> Mask:
    rle = coco_mask._mask.encode(np.asfortranarray(mask[..., None], dtype=np.uint8))[0]
    band = coco_mask.rleToBoundary(rle, dilation_ratio=0.02, backend=backend)
    return coco_mask._mask.decode([band])[:, :, 0] > 0


def released_boundary(mask: Mask) -> Mask:
    """The released code's boundary: mask minus its erosion by max-pooling the complement."""
    soft = torch.from_numpy(mask.astype(np.float32))[None, None]
    pooled = torch.nn.functional.max_pool2d(1 - soft, kernel_size=3, stride=1, padding=1)
    return (soft - (1 - pooled))[0, 0].numpy() > 0.5


def plain_iou(first: Mask, second: Mask) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


@given(mask_sets())
@settings(deadline=None)
def test_distances_agree_with_monai_and_scipy(masks: tuple[Mask, Mask]) -> None:
    predicted, target = masks
    assume(predicted.any() and target.any())
    contour = metrics.hausdorff_contour(predicted, target)
    assert contour == pytest.approx(monai_hausdorff(predicted, target, None), rel=1e-6)
    hd95 = metrics.hd95(predicted, target)
    # MONAI interpolates between two distances in 32 bits.
    assert hd95 == pytest.approx(monai_hausdorff(predicted, target, 95), rel=1e-5, abs=1e-5)
    p, t = np.argwhere(predicted), np.argwhere(target)
    expected = max(directed_hausdorff(p, t)[0], directed_hausdorff(t, p)[0])
    assert metrics.hausdorff_region(predicted, target) == pytest.approx(expected, rel=1e-6)


@given(mask_sets())
@settings(deadline=None)
def test_overlaps_agree_with_their_plain_definitions(masks: tuple[Mask, Mask]) -> None:
    predicted, target = masks
    values = evaluate_mask(predicted, target)
    assert values["pixel_accuracy"] == pytest.approx(np.mean(predicted == target))
    assert values["iou"] == plain_iou(predicted, target)
    if predicted.any() == target.any():
        boundaries = released_boundary(predicted), released_boundary(target)
        assert values["boundary_iou_1px"] == plain_iou(*boundaries)
    bands = coco_band(predicted, "opencv"), coco_band(target, "opencv")
    assert values["boundary_iou"] == plain_iou(*bands)


@pytest.mark.parametrize("shape", [(480, 640), (640, 223), (97, 201)])
def test_boundary_iou_agrees_to_the_pixel_at_native_sizes(shape: tuple[int, int]) -> None:
    """Bands of 4 to 16 px, one mask cut off by the border; both of the oracle's backends."""
    height, width = shape
    target = disc(height, width, height // 2, width // 2, 0.4 * min(shape))
    predicted = disc(height, width, height // 3, width // 4, 0.5 * min(shape))
    for backend in ("opencv", "mask_api"):
        expected = plain_iou(coco_band(predicted, backend), coco_band(target, backend))
        assert metrics.boundary_iou(predicted, target) == expected


# --- the cases that go wrong -------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0, 5, 99], ids=["a pixel", "a disc", "full"])
def test_an_empty_mask_is_the_diagonal_away_from_any_other(radius: int) -> None:
    empty, target = np.zeros((30, 40), bool), disc(30, 40, 9, 9, radius)
    for values in (evaluate_mask(empty, target), evaluate_mask(target, empty)):
        assert [values[name] for name in DISTANCES] == [50.0, 50.0, 50.0]
        assert values["iou"] == values["boundary_iou"] == values["boundary_iou_1px"] == 0
        assert values["pixel_accuracy"] == pytest.approx(1 - target.mean())


def test_the_border_is_a_contour_except_for_the_1px_boundary() -> None:
    """A full mask against the left half: each definition of "boundary" answers differently."""
    full = np.ones((20, 20), bool)
    left = full.copy()
    left[:, 10:] = False
    values = evaluate_mask(left, full)
    assert values["boundary_iou_1px"] == 0  # the full mask has no boundary, the left half has one
    # d = 1: the full mask's band is 76 px, the half's 56, and they share all but its right side.
    assert values["boundary_iou"] == pytest.approx(38 / (76 + 56 - 38))
    assert values["hausdorff_contour"] == values["hausdorff_region"] == 10
    # Half of the right column, for one, is 10 px away from the half's contour.
    assert values["hd95"] == 10


# --- laws --------------------------------------------------------------------------------------


@given(mask_sets())
@settings(deadline=None)
def test_bounds_symmetry_and_perfection(masks: tuple[Mask, Mask]) -> None:
    predicted, target = masks
    values = evaluate_mask(predicted, target)
    assert tuple(values) == METRICS
    assert all(type(value) is float and math.isfinite(value) for value in values.values())
    assert all(0 <= values[name] <= 1 for name in OVERLAPS)
    assert all(0 <= values[name] <= math.hypot(*target.shape) for name in DISTANCES)
    assert values["hd95"] <= values["hausdorff_contour"]
    assert values == pytest.approx(evaluate_mask(target, predicted))
    for mask in (target, target & False, target | True):
        perfect = {name: 0.0 if name in DISTANCES else 1.0 for name in METRICS}
        assert evaluate_mask(mask, mask) == perfect
    assert (values["iou"] == 1) == (values["hausdorff_region"] == 0) == (predicted == target).all()


@given(mask_sets(), st.integers(0, 9), st.sampled_from([np.fliplr, np.flipud, np.transpose]))
@settings(deadline=None)
def test_moving_or_mirroring_both_masks_changes_nothing(masks, y, mirror) -> None:
    """Also that the crop to their joint box is exact."""
    height, width = masks[0].shape
    canvas, moved = np.zeros((2, 2, height + 11, width + 11), bool)
    canvas[:, 1 : 1 + height, 1 : 1 + width] = masks
    moved[:, 1 + y : 1 + y + height, 10 - y : 10 - y + width] = masks
    expected = evaluate_mask(*canvas)
    assert evaluate_mask(*moved) == expected
    assert evaluate_mask(*map(mirror, canvas)) == pytest.approx(expected, rel=1e-12)


def test_the_same_masks_give_the_same_bits() -> None:
    """Wherever their copies lie in memory, on which OpenCV's distance transform depends."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        predicted = np.zeros(rng.integers(60, 200, 2), bool)
        predicted[::7] = True
        target = rng.random(predicted.shape) < 0.001
        found = set()
        for _ in range(12):
            moves_the_next = [np.empty(rng.integers(1, 30_000), np.uint8) for _ in range(3)]
            found.add(tuple(evaluate_mask(predicted, target).values()))
            del moves_the_next
        assert len(found) == 1


@given(mask_sets(count=3))
@settings(deadline=None)
def test_each_function_returns_what_evaluate_mask_does(masks: tuple[Mask, Mask, Mask]) -> None:
    predicted, target, ignore = masks
    assume(not ignore.all())
    singly = {name: getattr(metrics, name)(predicted, target, ignore) for name in METRICS}
    assert singly == evaluate_mask(predicted, target, ignore)


# --- undecided pixels --------------------------------------------------------------------------


@given(mask_sets(count=4))
@settings(deadline=None)
def test_no_metric_sees_what_is_predicted_on_undecided_pixels(masks: tuple[Mask, ...]) -> None:
    predicted, target, ignore, scribble = masks
    assume(not ignore.all())
    expected = pytest.approx(evaluate_mask(predicted, target, ignore))
    assert evaluate_mask(np.where(ignore, scribble, predicted), target, ignore) == expected
    right = np.where(ignore, scribble, target)
    assert evaluate_mask(predicted, right, ignore) == expected
    assert evaluate_mask(right, target, ignore) == pytest.approx(evaluate_mask(target, target))


def test_accuracy_and_iou_count_decided_pixels_only() -> None:
    target = np.array([[1, 1, 0, 0, 0]], bool)
    ignore = np.array([[0, 1, 1, 0, 0]], bool)
    predicted = np.array([[1, 0, 1, 0, 1]], bool)
    assert metrics.pixel_accuracy(predicted, target, ignore) == pytest.approx(2 / 3)
    assert metrics.iou(predicted, target, ignore) == 0.5
    assert metrics.hausdorff_region(predicted, target, ignore) == 4


# --- bad input ---------------------------------------------------------------------------------

GOOD = np.ones((4, 5), bool)


@pytest.mark.parametrize(
    ("predicted", "target", "ignore", "message"),
    [
        (GOOD.astype(np.uint8), GOOD, None, r"predicted must be a bool array H×W, got uint8 of"),
        (GOOD, GOOD.astype(float), None, r"target must be a bool array H×W, got float64 of shape"),
        (GOOD.tolist(), GOOD, None, r"predicted must be a bool array H×W, got list of shape"),
        (GOOD[None], GOOD, None, r"predicted must be .*got bool of shape \(1, 4, 5\)"),
        (GOOD.T, GOOD, None, r"predicted must have the target's shape \(4, 5\), got .*\(5, 4\)"),
        (GOOD, GOOD, GOOD[1:], r"ignore must have the target's shape \(4, 5\)"),
        (GOOD, GOOD, GOOD, r"ignore marks every pixel"),
        (GOOD[:0], GOOD[:0], None, r"target must have pixels, got bool of shape \(0, 5\)"),
    ],
)
def test_bad_masks_are_named_in_one_line(predicted, target, ignore, message) -> None:
    for function in (evaluate_mask, metrics.hd95):
        with pytest.raises(ValueError, match=message) as error:
            function(predicted, target, ignore)
        assert "\n" not in str(error.value)
