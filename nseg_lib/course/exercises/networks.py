"""Exercises of chapters 03 to 05: the networks."""

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

# with_stroke(p): the probability that p becomes when 1 is added to its logit.
CASES["with_stroke"] = [
    Case((0.5,), math.e / (1 + math.e), "probability to logit, add 1, and back"),
    Case((0.1,), 0.1 * math.e / (0.9 + 0.1 * math.e), "the odds p / (1 - p) are multiplied by e"),
    Case((0.95,), 0.95 * math.e / (0.05 + 0.95 * math.e)),
]

# strength(p): what to add to the logits so that a pixel of probability 0.5 gets p.
CASES["strength"] = [
    Case((0.5,), 0.0),
    Case((0.9,), math.log(9), "the logit of 0.5 is 0"),
    Case((0.99,), math.log(99)),
]

# checkpoint_mib(parameters): weights and Adam's two moments in float32, in MiB.
CASES["checkpoint_mib"] = [
    Case((117_681,), 117_681 * 12 / 2**20, "three float32 numbers per parameter; MiB is 2**20"),
    Case((7_854_717,), 7_854_717 * 12 / 2**20),
]

# shortcut_parameters(inputs, outputs): the parameters of a block's shortcut.
CASES["shortcut_parameters"] = [
    Case((16, 32), 544, "a 1x1 convolution with bias"),
    Case((32, 32), 0, "if the channels agree, the shortcut is the identity"),
    Case((256, 128), 32_896),
]


# --- 07_attention ---------------------------------------------------------------------------------

# gate_parameters(channels): parameters of an attention gate; 16 divides channels.
CASES["gate_parameters"] = [
    Case((16,), 315, "two 1x1 convolutions and their norms, the score, and its norm"),
    Case((32,), 1_139),
    Case((256,), 66_435),
]

# apply_gate(skip, scores): skip C×H×W, each pixel times the sigmoid of its score.
rng = np.random.default_rng(5)
skip, scores = rng.normal(size=(3, 4, 5)), rng.normal(size=(4, 5))
CASES["apply_gate"] = [
    Case((skip, scores), skip / (1 + np.exp(-scores)), "all channels share a pixel's weight"),
    Case((skip, np.zeros((4, 5))), skip / 2, "a score of 0 has the weight one half"),
]

# contrast(attention, mask): mean attention inside the object minus that outside.
attention = np.where(_INSIDE, 0.9, 0.2)
CASES["contrast"] = [
    Case((attention, _INSIDE), 0.7),
    Case((attention, ~_INSIDE), -0.7, "inside minus outside; it may be negative"),
    Case((np.full((8, 8), 0.4), ~_INSIDE), 0.0),
]
