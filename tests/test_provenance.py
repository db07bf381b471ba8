"""Sidecars: complete, free of the machine's paths, and honest about the code's version."""

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nseg_lib import provenance
from nseg_lib.files import sha256, write_atomic
from nseg_lib.provenance import code_version, portable_path, write_sidecar


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "reports").mkdir(parents=True)
    (folder / "code.py").write_text("x = 1\n")
    (folder / "reports" / "table.csv").write_text("1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_sidecar_holds_all_that_is_needed(tmp_path: Path) -> None:
    source = tmp_path / "annotations.json"
    source.write_bytes(b"{}")
    config = {"seed": 1, "widths": (16, 32)}
    sidecar = write_sidecar(tmp_path / "t.csv", config, [source], 1.23456, dropped=3)
    assert sidecar == tmp_path / "t.csv.json"
    record = json.loads(sidecar.read_text())
    assert record["artefact"] == "t.csv"
    assert record["config"] == {"seed": 1, "widths": [16, 32]}
    digest = hashlib.sha256(b"{}").hexdigest()
    assert record["inputs"] == [{"path": "annotations.json", "sha256": digest}]
    assert record["seconds"] == 1.235
    assert record["dropped"] == 3
    assert record["packages"]["numpy"] == np.__version__
    assert set(record["packages"]) == set(provenance.PACKAGES)
    assert record["device"]
    assert record["python"].startswith("3.")
    assert [p.name for p in tmp_path.iterdir() if p != source] == ["t.csv.json"]


def test_a_pydantic_configuration_is_written_as_plain_data(tmp_path: Path) -> None:
    from pydantic import BaseModel

    class Settings(BaseModel):
        root: Path
        rate: float = 1e-3

    sidecar = write_sidecar(tmp_path / "w", Settings(root=tmp_path / "coco"), [], 0, device="GPU")
    record = json.loads(sidecar.read_text())
    assert record["config"] == {"root": "coco", "rate": 0.001}
    assert record["device"] == "GPU"


def test_no_path_or_name_of_the_machine_gets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "PROJECT", tmp_path / "project")
    inside = tmp_path / "project" / "data" / "a.json"
    inside.parent.mkdir(parents=True)
    inside.write_text("1")
    outside = tmp_path / "elsewhere.json"
    outside.write_text("2")
    config = {"root": str(outside), "more": [{"path": inside}], "relative": "data/a.json"}
    sidecar = write_sidecar(inside.parent / "t.png", config, [inside, outside], 1, at=tmp_path)
    text = sidecar.read_text()
    record = json.loads(text)
    assert [entry["path"] for entry in record["inputs"]] == ["data/a.json", "elsewhere.json"]
    assert record["config"]["root"] == "elsewhere.json"
    assert record["config"]["more"] == [{"path": "data/a.json"}]
    assert record["config"]["relative"] == "data/a.json"
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text


def test_paths_within_the_project_survive_a_link_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setattr(provenance, "PROJECT", tmp_path / "link")
    assert portable_path(tmp_path / "real" / "a") == portable_path(tmp_path / "link" / "a") == "a"
    assert portable_path(tmp_path / "link") == "link"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"x": float("nan")}, "inputs": []}, r"t\.csv\.json: .*only JSON data"),
        ({"config": {"x": {1, 2}}, "inputs": []}, r"t\.csv\.json: .*set.*only JSON data"),
        ({"config": None, "inputs": ["missing"]}, r"missing: no such file"),
        ({"config": None, "inputs": [], "commit": "x"}, r"extra: commit already written"),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        write_sidecar(tmp_path / "t.csv", seconds=0, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_commit_and_what_makes_it_dirty(repository: Path) -> None:
    commit, dirty = code_version(repository)
    assert commit is not None
    assert len(commit) == 40
    assert dirty is False
    (repository / "reports" / "table.csv").write_text("2\n")
    (repository / "reports" / "new.csv").write_text("3\n")
    assert code_version(repository) == (commit, False), "artefacts are not code"
    for name in ("photo_mask.png", "results/rows.csv"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("4")
    assert code_version(repository) == (commit, False), "nor are masks and rows of a user"
    (repository / "nseg_lib").mkdir()
    (repository / "nseg_lib" / "new.py").write_text("")
    assert code_version(repository) == (commit, True), "a new module is"
    (repository / "nseg_lib" / "new.py").unlink()
    (repository / "code.py").write_text("x = 2\n")
    assert code_version(repository) == (commit, True)


def test_outside_a_repository_of_its_own_there_is_no_commit(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = repository / "venv" / "site-packages"
    installed.mkdir(parents=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")  # a repository without a commit
    for folder in (installed, empty, tmp_path):
        assert code_version(folder) == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert code_version(repository) == (None, None)
    for told, expected in (("abc", ("abc", False)), ("abc+", ("abc", True))):
        monkeypatch.setenv("NSEG_COMMIT", told)  # a copy of the code says which commit it is of
        assert code_version(tmp_path) == expected
    monkeypatch.delenv("NSEG_COMMIT")
    monkeypatch.setattr(provenance, "PROJECT", tmp_path)
    record = json.loads(write_sidecar(tmp_path / "t", None, [], 0).read_text())
    assert record["commit"] is None
    assert record["dirty"] is None


def test_a_folder_is_hashed_by_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> Path:
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / name

    first = sha256(folder("a", {"x": "1", "deep/y": "2"}))
    assert sha256(folder("b", {"deep/y": "2", "x": "1"})) == first
    assert sha256(folder("c", {"x": "1", "deep/y": "3"})) != first
    assert sha256(folder("d", {"x": "1", "deep/z": "2"})) != first


def test_a_path_that_cannot_be_written_to_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / ("x" * 256), "too long")):
        with pytest.raises(OSError, match=f"{path.name}: cannot be written: .*{reason}") as caught:
            write_atomic(path, "text")
        assert ".part" not in str(caught.value)
    assert not list(tmp_path.iterdir())
