"""Data sets: the scale of their pictures, and the batches of a training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nseg_lib.config import DataConfig
from nseg_lib.data import coco
from nseg_lib.data.datasets import EpochBatches, TrainingPairs, collate
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.data.scaling import scaled_size


@pytest.mark.parametrize("scale", [-1.0, 0.0, 1.5, float("nan"), float("inf")])
def test_a_scale_beyond_0_to_1_is_refused_and_leaves_nothing(
    tiny_data: Path, tmp_path: Path, scale: float
) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data", ignore=lambda *_: {"strokes"})
    with pytest.raises(ValueError, match=f"scale must be above 0 and at most 1, got {scale}"):
        EvaluationSamples(coco.load_split(root, "val"), scale=scale)
    assert not (root / "strokes").exists()


def test_a_scaled_picture_has_at_least_a_pixel() -> None:
    assert scaled_size(481, 640, 0.5) == (240, 320)
    assert scaled_size(48, 64, 1e-6) == (1, 1)


def test_batches_hold_pictures_of_one_size_and_every_picture_once(tiny_data: Path) -> None:
    pairs = TrainingPairs(coco.load_split(tiny_data, "train"), DataConfig(), "gray_sobel", 1)
    sizes = pairs.sizes()
    batches = EpochBatches(sizes, batch_size=2, seed=1)
    orders = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        listed = list(batches)
        assert len(listed) == len(batches)
        assert sorted(i for batch in listed for i, _ in batch) == list(range(7))
        assert {draw for batch in listed for _, draw in batch} == {epoch}
        assert all(len({sizes[i] for i, _ in batch}) == 1 for batch in listed)
        assert max(map(len, listed)) == 2
        orders.append([i for batch in listed for i, _ in batch])
        for batch in listed:
            stacked = collate([pairs[key] for key in batch])
            assert stacked is not None
            assert stacked[0].shape[2:] == stacked[1].shape[2:] == sizes[batch[0][0]]
    assert orders[0] != orders[1]


def test_three_processes_share_the_batches_and_are_in_step() -> None:
    shares = [EpochBatches([(8, 8)] * 7, 1, 0, rank, 3) for rank in range(3)]
    assert [len(list(share)) for share in shares] == [len(share) for share in shares] == [3] * 3
    pictures = sorted(i for share in shares for batch in share for i, _ in batch)
    assert pictures == list(range(7)), "each picture once"
    assert {share.padding for share in shares} == {2}
