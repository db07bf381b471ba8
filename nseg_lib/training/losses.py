"""The losses: the paper's objective (section 2.4), its terms, and the interactive refiner's.

All losses take logits, float N×1×H×W, and targets in {0, 1}, float N×1×H×W, and return a scalar.
The paper's raise ValueError for another shape or dtype, or for a target beyond 0..1; only on a GPU
are the values not looked at, since every step would wait for them. What each loss rewards is shown
on a toy edge in chapter ``05_losses``.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional as F

from nseg_lib.config import FitConfig, LossConfig


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


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""One minus the soft Dice coefficient, over the whole batch as in the released code.

    .. math:: 1 - \frac{2 \sum p t + 1}{\sum p + \sum t + 1}, \quad p = \sigma(\ell)

    Milletari et al. 2016, with sums instead of sums of squares and a smoothing of 1.
    """
    _check(logits, target)
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


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

    H×W of any dtype, of which a pixel above ½ is inside → float32 H×W.
    """
    inside = mask > 0.5
    if inside.all() or not inside.any():
        return np.zeros(inside.shape, np.float32)
    # SciPy's distances are exact. OpenCV's differ in the sixth digit between two runs.
    outer, inner = distance_transform_edt(~inside), distance_transform_edt(inside)
    # The edge is the outermost pixels inside: they are at 0, and their neighbours outside at 1.
    return (outer - np.maximum(inner - 1, 0)).astype(np.float32)


def kervadec_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""Boundary loss of Kervadec et al. 2019 (eq. 5), an ablation that the paper does not have.

    .. math:: \mathrm{mean}\left(\phi_t \, \sigma(\ell)\right)

    where :math:`\phi_t` is the signed distance to the target's edge, here over the picture's
    diagonal so that its weight does not depend on the picture's size.
    """
    _check(logits, target)
    height, width = target.shape[-2:]
    masks = target.detach().cpu().numpy()
    distances = np.stack([signed_distance(mask) for mask in masks[:, 0]])[:, None]
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
        weighted = [getattr(self.config, name) * value for name, value in terms.items()]
        return torch.stack(weighted).sum()


def refiner_loss(logits: Tensor, target: Tensor, counts: Tensor, fit: FitConfig) -> Tensor:
    r"""What the interactive refiner minimises, averaged over the batch.

    .. math:: \mathrm{BCE} + \lambda_o \left(1 - \frac{\sum p t + 1}{\sum p + t - p t + 1}\right)
        + \lambda_b \, \mathrm{mean}\left(|\nabla p| - |\nabla t|\right)^2, \quad p = \sigma(\ell)

    Cross-entropy, one minus soft IoU (Rahman and Wang, "Optimizing Intersection-Over-Union in Deep
    Neural Networks for Image Segmentation", ISVC 2016), and the paper's boundary loss.

    Args:
        logits, target: float N×1×H×W.
        counts: float N×1×H×W, 0 where a pixel is beyond the picture, 1 elsewhere.
        fit: its ``overlap`` and ``boundary`` are the weights above; ``edge`` and ``focal`` weigh
            the pixels of the cross-entropy.
    """
    # Pixels within two of the object's edge count 1 + edge times: there, dilation and erosion by
    # a 5x5 square differ.
    dilated, eroded = F.max_pool2d(target, 5, 1, 2), -F.max_pool2d(-target, 5, 1, 2)
    weight = counts * (1 + fit.edge * (dilated - eroded))
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if fit.focal:
        # exp(-entropy) is the probability of the right answer (Lin et al., "Focal Loss for Dense
        # Object Detection", ICCV 2017).
        entropy = entropy * (1 - torch.exp(-entropy)) ** fit.focal
    value = (weight * entropy).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1)
    p = logits.sigmoid()
    if fit.overlap:
        both = (p * counts * target).sum((1, 2, 3))
        union = (p * counts + target * counts).sum((1, 2, 3)) - both
        value = value + fit.overlap * (1 - (both + 1) / (union + 1))
    if fit.boundary:
        magnitude = SobelLoss().to(logits.device).magnitude
        apart = (magnitude(p) - magnitude(target)).square() * counts
        value = value + fit.boundary * apart.sum() / counts.sum().clamp(min=1)
    return value.mean()
