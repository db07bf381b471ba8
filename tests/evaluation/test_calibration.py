"""Calibration: the temperature that is found, and the table of reliability."""

import numpy as np
import pytest
from scipy.special import expit

from nseg_lib.evaluation.calibration import fit_temperature, reliability

rng = np.random.default_rng(0)
RIGHT = rng.normal(0, 2, 40_000).astype(np.float32)
TRUTH = rng.random(RIGHT.size) < expit(RIGHT)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_too_sure_or_too_doubtful_logits_is_found(temperature: float) -> None:
    assert fit_temperature(RIGHT * temperature, TRUTH) == pytest.approx(temperature, rel=0.05)


def test_what_is_calibrated_has_no_error_and_what_is_too_sure_has() -> None:
    good, bad = (reliability(expit(RIGHT * factor), TRUTH) for factor in (1, 4))
    assert len(good) == 10
    assert good["pixels"].sum() == RIGHT.size
    apart = [(table["probability"] - table["object"]).abs().mean() for table in (good, bad)]
    assert apart[0] < 0.02 < 0.1 < apart[1]
