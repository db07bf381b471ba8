"""Run commands of ``nseg`` in the process of the tests."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from reproduction import commands as cli


class Done(NamedTuple):
    """What a command left: exit status and the two streams."""

    status: int
    stdout: str
    stderr: str


def nseg(*arguments: object, status: int = 0) -> Done:
    """Run a command in this process, as the installed ``nseg`` would."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["nseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    done = Done(int(stopped.value.code or 0), out.getvalue(), err.getvalue())
    assert done.status == status, done
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def refused(*arguments: object) -> str:
    """What a command says in its one line that writes nothing."""
    before = contents(Path())
    said = nseg(*arguments, status=2).stderr
    assert len(said.strip().splitlines()) == 1, said
    assert contents(Path()) == before
    return said


@pytest.fixture(scope="session")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    settings = ("--set", "training.epochs=2", "--set", "model.widths=[8]", "--workers", 0)
    done = nseg("train", "res16-32_bce-dice", "--data", tiny_data, "--out", out, *settings)
    assert "epoch   1" in done.stdout
    weights = out / "weights.safetensors"
    sidecar = json.loads(weights.with_name(f"{weights.name}.json").read_text())
    assert sidecar["config"]["training"]["epochs"] == 2
    return weights
