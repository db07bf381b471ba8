"""README and the guides: commands that there are, links that lead somewhere, a true table."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import tomllib
from pathlib import Path
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import typer
from browser import serving
from click import Command, Group, UsageError
from skimage import data
from typer.testing import CliRunner

from nseg_lib.provenance import PROJECT
from reproduction.commands import app

TEXTS = sorted(
    [
        PROJECT / "README.md",
        *(PROJECT / "docs").glob("*.md"),
        *(PROJECT / "docs/guides").glob("*.md"),
    ]
)
NAMES = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
TARGETS = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
EXTRAS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def commands(path: Path) -> list[list[str]]:
    """The words of every command in a text's shell blocks, settings of the environment left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    found = []
    for line in lines:
        for part in line.split("#")[0].split("&&"):
            words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
            found += [words] if words else []
    return found


def parse(command: Command, words: list[str]) -> None:
    """Read a command line as nseg would, without running it."""
    while isinstance(command, Group):
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    fault = ""
    try:
        command.make_context("nseg", list(words))
    except UsageError as error:
        fault = error.format_message()
    assert (
        not fault or "does not exist" in fault
    )  # a file that is not there is no fault of the text


@NAMES
def test_every_command_is_one_that_there_is(path: Path) -> None:
    for words in commands(path):
        match words[0]:
            case "nseg":
                parse(typer.main.get_command(app), words[1:])
            case "make":
                assert set(words[1:]) <= TARGETS, words
            case "pip":
                extras = re.findall(r"\[(.+)\]", words[-1])
                assert not extras or set(extras[0].split(",")) <= EXTRAS.keys(), words
            case "srun" | "torchrun":
                name = "nseg" if "nseg" in words else "nseg_lib.cli"
                parse(typer.main.get_command(app), words[words.index(name) + 1 :])
            case "python" | "bash":
                assert (PROJECT / words[1]).is_file(), words
            case other:
                assert other in {"label-studio", "label-studio-ml", "nuctl"}, words


@NAMES
def test_every_link_leads_to_a_file(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"https?:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_readme_is_short_and_its_table_is_that_of_the_rows() -> None:
    sys.path.insert(0, str(PROJECT / "docs"))
    try:
        import front
    finally:
        sys.path.remove(str(PROJECT / "docs"))
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert front.BEGIN + front.headline(PROJECT) + front.END in text


ELSEWHERE = {
    "pip install .": "make setup",
    "pip install .[train]": "make setup",
    "make setup": "make setup",
    "make test": "make test",
    "make reproduce": "make reproduce",
    "make site": "[site]",
    "nseg verify --profile half": "nseg verify --profile half",
    ".venv/bin/jupyter lab notebooks": "make test",
    "python3 -m venv .venv": "make setup",
    "conda env create -f environment.yml": "",
}
"""README's command that takes minutes → the words of ``.ci/run`` by which CI runs it, or the same
steps; empty where nothing does, as README says of conda. ``tests/widget`` starts JupyterLab."""


def test_every_command_of_readme_runs_here_or_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = PROJECT / "README.md"
    inline = re.findall(
        r"`((?:nseg|make|python3|pip|conda|\.venv/bin) ?[^`]*)`", readme.read_text(encoding="utf-8")
    )
    parts = (part for line in inline for part in line.split("&&"))
    found = [*commands(readme), *(words for part in parts if len(words := shlex.split(part)) > 1)]
    ci = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.jpg", data.astronaut()[..., ::-1])
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/coffee.jpg", data.coffee()[..., ::-1])
    drawn = 0
    for words in found:
        if words[:2] == ["nseg", "draw"]:
            # As a person would, but with no browser; stopped as Ctrl+C does.
            command = [sys.executable, "-m", "reproduction.commands", *words[1:], "--no-browser"]
            with serving(command, tmp_path) as (server, address):
                assert urlopen(address, timeout=60).status == 200
                server.send_signal(signal.SIGINT)
                assert server.wait(60) in (0, 130)
            drawn += 1
        else:
            assert ELSEWHERE[" ".join(words)] in ci, words
    assert drawn == 2
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    assert "refine" in done.output


def test_the_guides_commands_refine_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = cv2.resize(data.astronaut(), (512, 512))[..., ::-1]
    cv2.imwrite("photo.jpg", photo)
    for name, x in (("stroke", 200), ("not_this", 20)):
        painted = np.zeros((512, 512), np.uint8)
        cv2.line(painted, (x, 150), (x, 400), 255, 12)
        cv2.imwrite(f"{name}.png", painted)
    guide = PROJECT / "docs" / "guides" / "refine.md"
    run = 0
    for words in commands(guide):
        files = [word for word in words if word.endswith((".json", "photos"))]
        if words[:2] == ["nseg", "refine"] and not files:
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, (words, done.output)
            run += 1
    assert run == 5
    assert {"photo_mask.png", "photo_mask_overlay.png", "better.png"} <= {
        *map(str, Path().iterdir())
    }
    blocks = re.findall(r"^```python\n(.*?)^```", guide.read_text(encoding="utf-8"), re.S | re.M)
    space: dict[str, object] = {}
    for block in blocks:
        exec(block, space)
    assert isinstance(space["mask"], np.ndarray)
    assert space["mask"].dtype == bool
