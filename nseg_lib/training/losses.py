"""The training objective (section 2.4): binary cross-entropy, Dice and boundary, weighted.

All losses take logits, float N×1×H×W, and targets in {0, 1}, float N×1×H×W, and return a scalar.
Another shape or dtype, or a target beyond 0..1, is a ValueError; only on a GPU are the values not
looked at, since every step would wait for them. What each loss rewards is shown on a toy edge in
chapter ``06_losses_and_training``.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.config import LossConfig


def _check(logits: Tensor, target: Tensor) -> None:
    shapes = tuple(logits.shape), tuple(target.shape)
    if shapes[0] != shapes[1] or target.ndim != 4 or target.shape[1] != 1 or 0 in target.shape:
        raise ValueError(f"logits and target must both be N×1×H×W, got {shapes[0]} and {shapes[1]}")
    for name, tensor in (("logits", logits), ("target", target)):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be float, got {tensor.dtype}")
    if target.device.type == "cpu":
        low, high = torch.aminmax(target)
        if not (low >= 0 and high <= 1):
            raise ValueError(f"target must be within 0..1, got {low:g} to {high:g}")


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    r"""One minus the soft Dice coefficient, over the whole batch as in the released code.

    .. math:: 1 - \frac{2 \sum p t + 1}{\sum p + \sum t + 1}, \quad p = \sigma(\ell)

    Milletari et al. 2016, with sums instead of sums of squares and a smoothing of 1.
    """
    _check(logits, target)
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * target).sum() + smooth) / (p.sum() + target.sum() + smooth)


class SobelLoss(nn.Module):
    r"""The paper's "boundary loss": mean squared error between Sobel magnitudes.

    .. math:: \mathrm{mean}\left(|\nabla p| - |\nabla t|\right)^2, \quad
        |\nabla u| = \sqrt{(S_x * u)^2 + (S_y * u)^2 + 10^{-8}}

    The 3x3 kernels are not normalised, so a step edge has magnitude 4; the border is padded with
    zeros, so an object that touches it has an edge there. Both as in the released code.
    """

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        horizontal = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        kernels = torch.stack((horizontal, horizontal.T)).unsqueeze(1)
        self.register_buffer("kernels", kernels, persistent=False)

    def magnitude(self, u: Tensor) -> Tensor:
        """Sobel magnitude, float N×1×H×W → float N×1×H×W."""
        gradient = F.conv2d(u, self.kernels, padding=1)
        return torch.sqrt(gradient.square().sum(dim=1, keepdim=True) + 1e-8)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        _check(logits, target)
        return F.mse_loss(self.magnitude(torch.sigmoid(logits)), self.magnitude(target))


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance in pixels to the mask's edge, negative inside; zeros for an empty or full mask.

    Args:
        mask: H×W of any dtype; a pixel above ½ is inside.

    Returns:
        float32 H×W.

    Raises:
        ValueError: a mask that is no plane.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask must be H×W, got shape {mask.shape}")
    inside = (mask > 0.5).astype(np.uint8)
    if inside.all() or not inside.any():
        return np.zeros(mask.shape, np.float32)
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return outer - np.maximum(inner - 1, 0)


def kervadec_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""Boundary loss of Kervadec et al. 2019 (eq. 5), an ablation that the paper does not have.

    .. math:: \mathrm{mean}\left(\phi_t \, \sigma(\ell)\right)

    where :math:`\phi_t` is the signed distance to the target's edge, here over the picture's
    diagonal so that its weight does not depend on the picture's size.
    """
    _check(logits, target)
    height, width = target.shape[-2:]
    masks = target.detach().cpu().numpy()[:, 0]
    distances = np.stack([signed_distance(mask) for mask in masks])[:, None]
    phi = torch.from_numpy(distances).to(logits) / float(np.hypot(height, width))
    return (phi * torch.sigmoid(logits)).mean()


class RefinementLoss(nn.Module):
    """The weighted sum of a configuration's terms; a term of weight 0 is not computed."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.sobel = SobelLoss()

    def terms(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each term that counts, unweighted, under its name in the configuration."""
        _check(logits, target)
        terms = {}
        if self.config.bce:
            terms["bce"] = F.binary_cross_entropy_with_logits(logits, target)
        if self.config.dice:
            terms["dice"] = dice_loss(logits, target)
        if self.config.boundary:
            boundary = kervadec_loss if self.config.boundary_kind == "kervadec" else self.sobel
            terms["boundary"] = boundary(logits, target)
        return terms

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        terms = self.terms(logits, target)
        return torch.stack([getattr(self.config, k) * v for k, v in terms.items()]).sum()
