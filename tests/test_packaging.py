"""pyproject.toml, constraints.txt and environment.yml agree; the Makefile passes words on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import nseg_lib
from nseg_lib import extras

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {str(canonicalize_name(name)): version for name, version in pairs}


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    wanted = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in wanted:
        requirement = Requirement(text)
        if requirement.name == "nseg":  # an extra that brings another one
            continue
        pinned = pins().get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{text}: not in constraints.txt"
        assert requirement.specifier.contains(pinned), f"{text}: constraints.txt has {pinned}"


def test_conda_installs_the_same_package() -> None:
    found = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert found.keys() == {"name", "channels", "dependencies"}
    dependencies = found["dependencies"]
    assert [d for d in dependencies if isinstance(d, str)] == ["python=3.11", "make", "pip"]
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.11")
    (pip,) = (d["pip"] for d in dependencies if isinstance(d, dict))
    extras = ",".join(name for name in PROJECT["optional-dependencies"] if name != "site")
    assert pip == ["--constraint constraints.txt", f"--editable .[{extras}]"]
    assert f"-e '.[{extras}]'" in (ROOT / "Makefile").read_text()


def test_the_version_is_the_packages() -> None:
    assert PROJECT["version"] == nseg_lib.__version__


def test_no_package_that_the_project_avoids() -> None:
    direct = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not direct & {"torchvision", "timm", "torchmetrics", "opencv-python"}


ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
"""Without what a ``make`` around the tests, as in ``make test``, would tell another one."""

HARD = 'a b; touch x\' "q" $HOME `id` $(shell touch y) #1'


@pytest.mark.parametrize("given", ["on the command line", "in the environment"])
def test_what_a_user_gives_to_make_is_no_command(tmp_path: Path, given: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.ready", ".venv/bin/nseg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    nseg = tmp_path / ".venv" / "bin" / "nseg"
    nseg.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    nseg.chmod(0o755)
    words = {"COCO": HARD, "MODELS": f"m,{HARD}", "PROFILE": "smoke"}
    on_line = given == "on the command line"
    done = subprocess.run(
        ["make", "reproduce", *(f"{k}={v}" for k, v in words.items() if on_line)],
        cwd=tmp_path, env=ENVIRONMENT | ({} if on_line else words),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = ["reproduce", "--profile", "smoke", "--coco", HARD, "--models", f"m,{HARD}"]
    assert done.stdout.splitlines() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".venv", "Makefile", "constraints.txt", "pyproject.toml"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a:b", "a{b", "a$b"])
def test_a_folder_that_pip_cannot_install_into_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, tmp_path / name)
    done = subprocess.run(
        ["make", "setup"], cwd=tmp_path / name, env=ENVIRONMENT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stdout == (
        f"{tmp_path / name}: pip cannot install into a folder with : {{ }} or $ in its name; "
        "rename or move it\n"
    )
    assert not (tmp_path / name / ".venv").exists()


DRAW_ALONE = """
import importlib.abc, sys, threading, os, signal
from pathlib import Path

class Blocked(importlib.abc.MetaPathFinder):  # as if only the plain install were there
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocked())
import numpy as np
from nseg_lib import Refiner
from nseg_lib.widget import StrokeCanvas
line = {"kind": "object", "points": [[10, 20, 3], [50, 20, 3]]}
canvas = StrokeCanvas(np.zeros((40, 60, 3), np.uint8), Refiner.from_pretrained())
canvas.strokes = [line]
assert canvas.mask.any()
from reproduction import commands
def run(*words):
    sys.argv = ["nseg", *words]
    try:
        commands.main()
    except SystemExit as stopped:
        return stopped.code
from PIL import Image
os.chdir(FOLDER)
for folder in ("photos", "masks"):
    Path(folder).mkdir()
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(f"{folder}/a.png")
Image.fromarray(np.pad(np.full((30, 30), 255, np.uint8), ((30, 30), (40, 50)))).save("masks/a.png")
assert run("refine", "photos/a.png", "--click", "60,40", "-o", "m.png") == 0
assert run("refine", "photos", "--batch", "masks", "-o", "out") == 0
assert run("refine", "photos/a.png", "--click", "6,4", "-c", "tiny16-32_bce-dice") == 2
assert run("refine", "photos/a.png", "--click", "6,4", "--device", "cuda") == 2
assert run("models") == run("models", "--json") == 0
assert run("train", "tiny16-32_bce-dice", "--data", ".") == 2
assert run("status") == 2
threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
sys.argv = ["nseg", "draw", "--no-browser"]
commands.main()
"""


def test_drawing_and_refining_need_nothing_but_the_plain_install(tmp_path: Path) -> None:
    """None of what the extras bring is imported: for its name, the module's is taken."""
    optional = chain(*PROJECT["optional-dependencies"].values())
    names = {Requirement(text).name.replace("-", "_") for text in optional}
    names |= {"jupyter_client", "jupyter_server", "zmq", "IPython.kernel"}
    names -= {"pygments", "jinja2", "pillow_heif"}  # rich and torch need two; one is looked for
    code = DRAW_ALONE.replace("BLOCKED", repr(names)).replace("FOLDER", repr(str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 143, done.stderr
    assert "draw at http://127.0.0.1:" in done.stdout
    said = done.stderr.splitlines()
    command = extras.install_command("train")
    assert f"nseg: tiny16-32_bce-dice needs PyTorch: {command}" in said
    assert f"nseg: device cuda needs PyTorch: {command}" in said
    assert f"nseg: this needs torch: {command}" in said
    assert f"nseg: these come with nseg; to list and train all others: {command}" in said
    assert "117,681" in done.stdout
    assert '"parameters": 117681' in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'nseg[heif]'"),
        (
            {"url": "file:///a%20b/nseg", "dir_info": {"editable": True}},
            "pip install -e '/a b/nseg[heif]'",
        ),
        ({"url": "file:///src/nseg", "dir_info": {}}, "pip install '/src/nseg[heif]'"),
        (
            {"url": "file:///w/nseg-0.1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'nseg[heif] @ file:///w/nseg-0.1.0-py3-none-any.whl'",
        ),
        (
            {"url": "https://x.org/nseg", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'nseg[heif] @ git+https://x.org/nseg@abc'",
        ),
    ],
)
def test_a_missing_extra_is_installed_as_nseg_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: object, command: str
) -> None:
    folder = tmp_path / "nseg-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: nseg\nVersion: 0.1.0\n")
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    assert extras.install_command("heif") == command
