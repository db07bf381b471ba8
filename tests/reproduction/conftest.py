"""The committed evidence of the profile ``half``, read once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nseg_lib.evaluation.summary import one_training
from nseg_lib.provenance import PROJECT
from reproduction import evidence
from reproduction.evidence import Evidence


@pytest.fixture(scope="session")
def half() -> Evidence:
    return evidence.load(PROJECT, "half")


@pytest.fixture(scope="session")
def single(half: Evidence) -> Evidence:
    """The same with one training of each network."""
    logs = {model: runs[:1] for model, runs in half.logs.items()}
    return replace(half, results=one_training(half.results), logs=logs)
