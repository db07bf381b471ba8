"""Exercises of chapters 03, 06 and 07: the networks."""

from __future__ import annotations

import math

import numpy as np

from nseg_lib.course.exercises.checking import Case, square

_INSIDE = square(2, 6)

CASES: dict[str, list[Case]] = {}

# --- 03_unet --------------------------------------------------------------------------------------

# unet_parameters(widths, in_channels): the parameters of the whole U-Net.
CASES["unet_parameters"] = [
    Case(([8], 3), 6_697, "one level: encoder, bottleneck, up, decoder, head"),
    Case(([16, 32], 3), 117_681, "a group norm has two parameters per channel"),
    Case(([16, 32, 64, 128], 3), 1_944_049),
    Case(([16, 32], 4), 117_825, "more input channels change the first convolution only"),
]

# receptive_field(levels): side in px of the area that one bottleneck value sees.
CASES["receptive_field"] = [
    Case((1,), 14, "a 3x3 convolution adds twice the step between its inputs"),
    Case((2,), 32, "a 2x2 pooling adds one step, then doubles it"),
    Case((4,), 140),
]


# --- 06_two_residuals -----------------------------------------------------------------------------

# strength(p, wanted): what to add to the logit of p to get the probability wanted.
CASES["strength"] = [
    Case((0.5, 0.5), 0.0),
    Case((0.5, 0.9), math.log(9), "the logit of 0.5 is 0"),
    Case((0.9, 0.5), -math.log(9), "it may be negative"),
    Case((0.2, 0.8), 2 * math.log(4), "from logit to logit"),
]

# shortcuts_cost(widths, in_channels): the parameters of all shortcuts of a block-residual U-Net.
CASES["shortcuts_cost"] = [
    Case(([16, 32, 64, 128], 3), 87_824, "every block of this network needs one"),
    Case(([8], 3), 3 * 8 + 8 + 8 * 16 + 16 + 16 * 8 + 8, "encoder, bottleneck and decoder"),
    Case(([8], 8), 8 * 16 + 16 + 16 * 8 + 8, "where the channels agree it is the identity"),
]


# --- 07_attention ---------------------------------------------------------------------------------

# gate_parameters(channels): parameters of an attention gate; 16 divides channels.
CASES["gate_parameters"] = [
    Case((16,), 315, "two 1x1 convolutions and their norms, the score, and its norm"),
    Case((32,), 1_139),
    Case((256,), 66_435),
]

# best_threshold_iou(alpha, mask): the highest IoU that a threshold on alpha reaches.
_ALPHA = np.where(_INSIDE, 0.7, 0.2)
_ALPHA[0, :4] = 0.9  # four pixels outside that are brighter than the object
CASES["best_threshold_iou"] = [
    Case((np.where(_INSIDE, 0.6, 0.1), _INSIDE), 1.0),
    Case((_ALPHA, _INSIDE), 16 / 20, "the best threshold need not be one half"),
    Case((np.where(_INSIDE, 0.4, 0.3), _INSIDE), 1.0, "it may be below one half"),
    Case((np.full((8, 8), 0.5), _INSIDE), 16 / 64, "a flat map predicts everything or nothing"),
]
