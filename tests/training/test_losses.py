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
from nseg_lib.training import losses
from nseg_lib.training.losses import RefinementLoss, SobelLoss, dice_loss, kervadec_loss

MEAN = LossConfig()
LOGITS, TARGET = torch.zeros(2, 1, 8, 9), torch.ones(2, 1, 8, 9)


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
def test_the_right_mask_costs_less_than_a_shifted_one_and_a_small_shift_less(loss) -> None:
    costs = [float(loss(as_logits(square(10 + shift)), square())) for shift in (0, 1, 3, 6)]
    assert costs[0] < costs[1] < costs[2]
    # Sobel sees only the edge's neighbourhood, so it stops growing.
    assert costs[3] > costs[1 if loss is LOSSES["sobel"] else 2]


@every_loss
def test_gradients_are_finite_even_where_nothing_is_there(loss) -> None:
    for target in (torch.zeros(1, 1, 9, 7), torch.ones(1, 1, 9, 7), square()[..., :20, :20]):
        for value in (0.0, -30.0, 30.0):
            logits = torch.full_like(target, value, requires_grad=True)
            loss(logits, target).backward()
            assert logits.grad is not None
            assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "target", "says"),
    [
        (LOGITS, TARGET[:, 0], r"N×1×H×W, got \(2, 1, 8, 9\) and \(2, 8, 9\)"),
        (LOGITS[:, 0], TARGET[:, 0], r"must both be N×1×H×W, got \(2, 8, 9\)"),
        (LOGITS.expand(2, 3, 8, 9), TARGET.expand(2, 3, 8, 9), r"N×1×H×W, got \(2, 3"),
        (LOGITS[:0], TARGET[:0], r"must both be N×1×H×W, got \(0, 1"),
        (LOGITS, TARGET.byte(), "target must be float, got torch.u"),
        (LOGITS.int(), TARGET, "logits must be float, got torch.i"),
        (LOGITS, 255 * TARGET, "within 0..1, got 255 to 255"),
        (LOGITS, -TARGET, "within 0..1, got -1 to -1"),
        (LOGITS, torch.nan * TARGET, "within 0..1, got nan"),
    ],
)
@pytest.mark.parametrize(
    "loss", [dice_loss, SobelLoss(), kervadec_loss, RefinementLoss(LossConfig())]
)
def test_bad_logits_and_targets_are_named_in_one_line(loss, logits, target, says):
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


def test_signed_distance_is_negative_inside_and_counts_pixels_outside():
    mask = np.zeros((9, 20), bool)
    mask[:, 5:12] = True
    for inside in (True, np.uint8(255), np.float32(0.6)):  # the same in any dtype
        assert losses.signed_distance(mask * inside)[4].tolist() == pytest.approx(
            [5, 4, 3, 2, 1, 0, -1, -2, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8], abs=1e-3
        )
    assert not losses.signed_distance(mask & False).any()
    assert not losses.signed_distance(mask | True).any()


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
