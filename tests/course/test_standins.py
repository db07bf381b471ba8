"""What a chapter does not find is made once, beside the proper place and never in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_split

from nseg_lib import config
from nseg_lib.course import standins
from nseg_lib.data.coco import DataError
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.summary import read_folder
from nseg_lib.networks.weights import PRETRAINED, save_weights


def test_without_rows_the_shipped_networks_are_evaluated_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for name, count, first in (("train", 2, 1), ("val", 2, 20), ("test", 1, 40)):
        write_split(data, name, [(120, 160)] * count, first)
    wanted, rows = tmp_path / "runs" / "sample", tmp_path / "reports" / "sample" / "rows"

    shipped = standins.refiners(wanted)
    assert list(shipped) == [name for name in config.THE_EIGHT if name in PRETRAINED]
    assert "no network was trained here" in capsys.readouterr().out
    results = standins.evaluated(rows, shipped, data)
    frame = read_folder(results)
    assert list(dict.fromkeys(frame["method"])) == [*BASELINES, *shipped]
    assert set(frame["split"]) == {"val", "test"}
    assert not wanted.exists()
    assert not rows.exists()
    assert standins.evaluated(results, shipped, data) == results


def test_data_that_nobody_can_make_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"coco: no data set here; 'nseg data reduce' makes one"):
        standins.data_set(tmp_path / "coco")


def test_a_network_that_was_trained_here_goes_before_the_packages_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, model = tmp_path / "runs" / "sample", "attn32-256_bce-dice-bound"
    smaller = "attn16-32_bce-dice-bound"
    refiner = standins.refiner(wanted, model, smaller)
    assert refiner.config.name == smaller
    said = f"{smaller}, which comes with nseg, stands in for {model}"
    assert said in capsys.readouterr().out
    assert not wanted.exists()

    trained = wanted / model / "seed42" / "weights.safetensors"
    trained.parent.mkdir(parents=True)
    save_weights(refiner.network, refiner.config, trained)
    standins.refiner(wanted, model, smaller)
    assert f"{model}: trained, found in" in capsys.readouterr().out


def test_photographs_are_the_split_of_that_name_or_else_val(tmp_path: Path) -> None:
    sizes = [(120, 160), (140, 150)]
    write_split(tmp_path / "data", "val", sizes, 20)
    samples = standins.photographs(tmp_path / "data")
    assert [s.image_id for s in samples] == [20, 21]
    assert standins.photograph(samples, f"{21:012d}").image_id == 21
    largest = max(samples, key=lambda sample: sample.mask.mean())
    assert standins.photograph(samples, "camera").image_id == largest.image_id

    write_split(tmp_path / "data", "photos", sizes[:1], 40)
    assert [s.image_id for s in standins.photographs(tmp_path / "data")] == [40]
