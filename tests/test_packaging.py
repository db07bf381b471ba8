"""pyproject.toml, constraints.txt and environment.yml say the same."""

from __future__ import annotations

import tomllib
from itertools import chain
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import nseg_lib

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
        pinned = pins().get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{text}: not in constraints.txt"
        assert requirement.specifier.contains(pinned), f"{text}: constraints.txt has {pinned}"


def test_conda_installs_the_same_package() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "python=3.11" in dependencies
    (pip,) = (d["pip"] for d in dependencies if isinstance(d, dict))
    extras = ",".join(PROJECT["optional-dependencies"])
    assert pip == ["--constraint constraints.txt", f"--editable .[{extras}]"]
    assert f"-e '.[{extras}]'" in (ROOT / "Makefile").read_text()


def test_the_version_is_the_packages() -> None:
    assert PROJECT["version"] == nseg_lib.__version__


def test_no_package_that_the_project_avoids() -> None:
    direct = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not direct & {"torchvision", "timm", "torchmetrics", "opencv-python"}
