"""The scripts for a remote GPU: parts that fit, an order that survives a cut, what comes back."""

from __future__ import annotations

import importlib
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from nseg_lib import config
from nseg_lib.provenance import PROJECT
from reproduction import ingredients, profiles


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts are found from their own folder, as when one is started."""
    monkeypatch.syspath_prepend(PROJECT / "workflow" / "gpu")


def script(name: str) -> ModuleType:
    return importlib.reload(importlib.import_module(name))


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_a_data_set_travels_in_parts_that_fit_and_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(7):
        write(tmp_path / "here" / "data" / "x" / "train" / f"{i}.jpg", 20_000 + i)
    with pytest.raises(ValueError, match="no frozen strokes"):
        script("pack").pack(tmp_path / "here", Path("data/x"), tmp_path / "packed")
    write(tmp_path / "here" / "data" / "x" / "strokes" / "val_erode_seed0.json", 100)
    (tmp_path / "here" / "data" / "x" / "linked.jpg").symlink_to("train/3.jpg")
    packed = tmp_path / "packed"
    limit = 60_000
    found = script("pack").pack(tmp_path / "here", Path("data/x"), packed, limit)
    assert [path.name for path in found] == ["data1.tar", "data2.tar", "data3.tar", "data4.tar"]
    assert all(path.stat().st_size < limit + 20_480 for path in found), "a tar is padded"
    run = script("run")
    monkeypatch.setattr(run, "ROOT", tmp_path / "there")
    monkeypatch.setattr(run, "NEEDED", {"pathlib": "pathlib"})
    run.unpack(packed)
    arrived = sorted((tmp_path / "there" / "data" / "x").rglob("*.jpg"))
    assert len(arrived) == 8
    assert not any(path.is_symlink() for path in arrived)
    assert "MISSING" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="do not fit into a part"):
        script("pack").pack(tmp_path / "here", Path("data/x"), packed, 10_000)
    with pytest.raises(ValueError, match="no data set here"):
        script("pack").pack(tmp_path / "here", Path("data/none"), packed)


def test_the_first_seed_of_all_models_comes_first() -> None:
    names = ingredients.artefacts(PROJECT, profiles.load(PROJECT, "paper"))
    found = script("run").order(names)
    models = len(config.names())
    assert len(found) == 3 * models
    assert {name.rpartition("_")[2] for name in found[:models]} == {"seed1"}
    assert found[0].startswith("train/tiny16-32")
    assert set(found) <= {*names}
    asked = "res16-32_bce-dice_seed2,tiny16-32_bce-dice_seed3"
    assert script("run").order(names, asked) == [f"train/{name}" for name in asked.split(",")]
    with pytest.raises(ValueError, match="has no tiny_seed1; one is "):
        script("run").order(names, "tiny_seed1")


def test_a_step_there_needs_and_makes_what_it_does_here() -> None:
    profile, run = profiles.load(PROJECT, "paper"), script("run")
    sums, tiny = "data/coco1000/SHA256SUMS", "runs/paper/tiny16-32_bce-dice/seed1"
    weights, rows = f"{tiny}/weights.safetensors", "reports/paper/rows"
    for step, needed, made in (
        ("train/tiny16-32_bce-dice_seed1", [], weights),
        ("evaluate/baselines", [], f"{rows}/baselines.csv"),
        ("evaluate/tiny16-32_bce-dice_seed1", [weights], f"{rows}/tiny16-32_bce-dice_seed1.csv"),
        ("measure/pictures", [], "reports/paper/measured/pictures.csv"),
    ):
        found = run.files(profile, step)
        assert [[str(path) for path in part] for part in found] == [[sums, *needed], [made]]
    needed = run.files(profile, "measure/redraws")[0]
    assert [path.parent.parent.name for path in needed[1:]] == [*config.THE_EIGHT[:2]]


def test_what_comes_back_is_small_and_leaves_no_row_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = script("run")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "FULL", 9_000_000)
    for seed in (1, 2):
        for model, size in (("tiny16-32", 900_000), ("tiny16-128", 7_900_000), ("attn", 9_000_000)):
            folder = tmp_path / "runs" / "paper" / model / f"seed{seed}"
            write(folder / "weights.safetensors", size)
            write(folder / "last.ckpt", 10)
            write(folder.with_name(f"seed{seed}.replaced") / "log.csv", 10)
            write(folder / "log.csv", 500)
            write(tmp_path / "reports" / "paper" / "rows" / f"{model}_seed{seed}.csv", 30_000)
    names: list[str] = []
    for path in run.bring_back("paper", tmp_path / "out"):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert len(names) == len(set(names))
    assert sum(name.endswith("log.csv") for name in names) == 6
    assert sum("/rows/" in name for name in names) == 6
    weights = sorted(name for name in names if name.endswith(".safetensors"))
    assert [name.split("/")[2:4] for name in weights] == [
        ["tiny16-128", "seed1"],
        ["tiny16-32", "seed1"],
        ["tiny16-32", "seed2"],
    ]
    assert not any("last.ckpt" in name for name in names)
