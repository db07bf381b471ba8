"""Losses against formulas worked out another way, and what each must prefer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss as MonaiDice
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from nseg_lib.config import LossConfig
from nseg_lib.training.losses import (
    RefinementLoss,
    SobelLoss,
    dice_loss,
    kervadec_loss,
    signed_distance,
)


def square(left: int = 10, size: int = 12) -> Tensor:
    target = torch.zeros(1, 1, 32, 40)
    target[..., 8:20, left : left + size] = 1
    return target


def as_logits(mask: Tensor, sure: float = 8.0) -> Tensor:
    return (2 * mask - 1) * sure


LOSSES = {
    "bce": F.binary_cross_entropy_with_logits,
    "dice": dice_loss,
    "sobel": SobelLoss(),
    "kervadec": kervadec_loss,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
def test_the_right_mask_costs_less_than_a_shifted_one_and_a_small_shift_less(loss) -> None:  # type: ignore[no-untyped-def]
    costs = [float(loss(as_logits(square(10 + shift)), square())) for shift in (0, 1, 3, 6)]
    if loss is LOSSES["sobel"]:  # sees only the edge's neighbourhood, so it stops growing
        assert costs[0] < costs[1] < costs[2]
        assert costs[3] > costs[1]
    else:
        assert costs == sorted(costs)
        assert len(set(costs)) == 4


@every_loss
def test_gradients_are_finite_even_where_nothing_is_there(loss) -> None:  # type: ignore[no-untyped-def]
    for target in (torch.zeros(1, 1, 9, 7), torch.ones(1, 1, 9, 7), square()[..., :20, :20]):
        for value in (0.0, -30.0, 30.0):
            logits = torch.full_like(target, value, requires_grad=True)
            loss(logits, target).backward()
            assert logits.grad is not None
            assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "target", "says"),
    [
        (
            torch.zeros(2, 1, 8, 9),
            torch.ones(2, 8, 9),
            r"N×1×H×W, got \(2, 1, 8, 9\) and \(2, 8, 9\)",
        ),
        (torch.zeros(2, 8, 9), torch.ones(2, 8, 9), r"must both be N×1×H×W, got \(2, 8, 9\)"),
        (torch.zeros(1, 3, 8, 9), torch.ones(1, 3, 8, 9), r"must both be N×1×H×W, got \(1, 3"),
        (torch.zeros(0, 1, 8, 9), torch.ones(0, 1, 8, 9), r"must both be N×1×H×W, got \(0, 1"),
        (
            torch.zeros(1, 1, 8, 9),
            torch.ones(1, 1, 8, 9).byte(),
            "target must be float, got torch.u",
        ),
        (
            torch.zeros(1, 1, 8, 9).int(),
            torch.ones(1, 1, 8, 9),
            "logits must be float, got torch.i",
        ),
        (torch.zeros(1, 1, 8, 9), 255 * torch.eye(9)[None, None, :8], "within 0..1, got 0 to 255"),
        (torch.zeros(1, 1, 8, 9), torch.full((1, 1, 8, 9), -1.0), "within 0..1, got -1 to -1"),
        (torch.zeros(1, 1, 8, 9), torch.full((1, 1, 8, 9), torch.nan), "within 0..1, got nan"),
    ],
)
@pytest.mark.parametrize(
    "loss",
    [dice_loss, SobelLoss(), kervadec_loss, RefinementLoss(LossConfig())],
    ids=["dice", "sobel", "kervadec", "sum"],
)
def test_bad_logits_and_targets_are_named_in_one_line(loss, logits, target, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=says) as error:
        loss(logits, target)
    assert "\n" not in str(error.value)


def test_dice_agrees_with_monai() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 21, 33)
    target = (torch.rand(2, 1, 21, 33) > 0.6).float()
    monai = MonaiDice(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    torch.testing.assert_close(dice_loss(logits, target), monai(logits, target))


def test_sobel_agrees_with_scipy() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(1, 1, 24, 31), (torch.rand(1, 1, 24, 31) > 0.5).float()

    def magnitude(u: Tensor) -> np.ndarray:
        array = u[0, 0].numpy().astype(np.float64)
        parts = [ndimage.sobel(array, axis, mode="constant") for axis in (0, 1)]
        return np.sqrt(parts[0] ** 2 + parts[1] ** 2 + 1e-8)

    expected = np.mean((magnitude(torch.sigmoid(logits)) - magnitude(target)) ** 2)
    assert float(SobelLoss()(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_signed_distance_is_negative_inside_and_counts_pixels_outside() -> None:
    mask = np.zeros((9, 20), bool)
    mask[:, 5:12] = True
    assert signed_distance(mask)[4].tolist() == pytest.approx(
        [5, 4, 3, 2, 1, 0, -1, -2, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8], abs=1e-3
    )
    assert not signed_distance(np.zeros((4, 4), bool)).any()
    assert not signed_distance(np.ones((4, 4), bool)).any()


@pytest.mark.parametrize("inside", [np.uint8(1), np.uint8(255), np.float32(0.6), np.int64(1)])
def test_signed_distance_is_the_same_of_a_mask_in_any_dtype(inside: np.generic) -> None:
    mask = np.zeros((9, 20), bool)
    mask[3:6, 5:12] = True
    assert np.array_equal(signed_distance(mask * inside), signed_distance(mask))
    with pytest.raises(ValueError, match=r"mask must be H×W, got shape \(1, 9, 20\)"):
        signed_distance(mask[None])


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    logits, target = as_logits(square(12), 1.5), square()
    config = LossConfig(bce=0.4, dice=0.4, boundary=0.2)
    expected = (
        0.4 * F.binary_cross_entropy_with_logits(logits, target)
        + 0.4 * dice_loss(logits, target)
        + 0.2 * SobelLoss()(logits, target)
    )
    torch.testing.assert_close(RefinementLoss(config)(logits, target), expected)


def test_a_term_of_no_weight_is_not_computed() -> None:
    logits, target = as_logits(square()), square()
    assert set(RefinementLoss(LossConfig()).terms(logits, target)) == {"bce", "dice"}
    kervadec = RefinementLoss(LossConfig(bce=0, dice=0, boundary=2, boundary_kind="kervadec"))
    torch.testing.assert_close(kervadec(logits, target), 2 * kervadec_loss(logits, target))
