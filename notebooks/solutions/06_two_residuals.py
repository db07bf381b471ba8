"""Solutions of chapter 06."""

import math


def with_stroke(p):
    logit = math.log(p / (1 - p))
    return 1 / (1 + math.exp(-(logit + 1)))


def strength(p):
    return math.log(p / (1 - p))


def checkpoint_mib(parameters):
    return 3 * 4 * parameters / 2**20


def shortcut_parameters(inputs, outputs):
    return 0 if inputs == outputs else inputs * outputs + outputs
