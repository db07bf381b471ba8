"""The commands that regenerate the paper: where they run, and which weights they ship."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import nseg, refused

from nseg_lib.networks.weights import shipped


@pytest.mark.parametrize("command", ["status", "reproduce", "verify", "evidence"])
def test_outside_a_checkout_the_commands_of_the_paper_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    says = f"{tmp_path}: has no workflow/profiles; run this inside a checkout of nseg"
    assert says in refused(command)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'another'\n")
    assert says in refused(command)


def test_ship_takes_what_the_package_offers_and_brings_the_checksums_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, weights = "tiny16-32_bce-dice", tmp_path / "nseg_lib" / "weights"
    run = tmp_path / "runs" / "half" / name / "seed42"
    for folder in (run, weights, tmp_path / "workflow" / "profiles"):
        folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    good, record = run / "weights.safetensors", run / "weights.safetensors.json"
    shutil.copy(shipped(name), good)
    record.write_text('{"new": 1}')
    (weights / "lite0.safetensors").write_text("there")
    (weights / "SHA256SUMS").write_text("old")
    monkeypatch.chdir(tmp_path)
    said = nseg("ship", "tiny16-128_bce-dice", status=2).stderr
    assert "'tiny16-128_bce-dice' is not one of lite1, " in said
    assert "first add it to PRETRAINED in nseg_lib/networks/weights.py" in said
    assert len(said.splitlines()) == 1
    nseg("ship", name)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=weights, check=True)
    listed = [line.split()[1] for line in (weights / "SHA256SUMS").read_text().splitlines()]
    assert listed == ["lite0.safetensors", f"{name}.safetensors"]
    assert (weights / f"{name}.json").read_text() == '{"new": 1}'
    before = {path: path.read_bytes() for path in weights.iterdir()}
    for written, says in (
        (bytes(12_000_001), "at most 12,000,000 can be shipped"),
        (b"new", "weights.safetensors: not a safetensors file"),
        (shipped("res16-32_bce-dice").read_bytes(), f"is res16-32_bce-dice, not {name}"),
        (None, "weights.safetensors: no such file"),
    ):
        good.unlink() if written is None else good.write_bytes(written)
        assert says in nseg("ship", name, status=2).stderr
    shutil.copy(shipped(name), good)
    record.write_text("[")
    assert "weights.safetensors.json: not valid JSON" in nseg("ship", name, status=2).stderr
    assert {path: path.read_bytes() for path in weights.iterdir()} == before
