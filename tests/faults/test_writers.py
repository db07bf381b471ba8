"""Every command that writes: if one write fails, the disk fills up, or the command is killed."""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_split
from fault_bench import Bench, bench, survives, tree  # noqa: F401 (a fixture)

from nseg_lib.provenance import PROJECT

SMALLEST = [
    "--set", "model.widths=[8]", "--set", "training.epochs=2", "--set", "data.scale=0.5",
]  # fmt: skip
"""The smallest network there is, for two epochs."""


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """A data set of its own, with its strokes drawn."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


def test_refine(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    rng = np.random.default_rng(0)
    stroke = np.zeros((60, 80), np.uint8)
    stroke[20:40, 30:50] = 255
    cv2.imwrite(str(tmp_path / "photo.png"), rng.integers(0, 255, (60, 80, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "stroke.png"), stroke)
    command = ["refine", "photo.png", "stroke.png", "-c", "tiny16-32_bce-dice", "-o", "out/m.png"]
    survives(bench, tmp_path / "out", command, prepare=Path.mkdir)


def test_sample(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    command = ["data", "sample", "--out", "out", "--pictures", "8", "--max-side", "128"]
    survives(bench, tmp_path / "out", command)


@pytest.mark.parametrize("copy", [[], ["--copy"]])
def test_reduce(bench: Bench, tmp_path: Path, data: Path, copy: list[str]) -> None:  # noqa: F811
    command = ["data", "reduce", "--coco", "data", "--split", "train", "--out", "out",
               "--images", "4", "--test-images", "2", *copy]  # fmt: skip
    survives(bench, tmp_path / "out", command, grows=("reduction.unfinished.json",))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """COCO's server, with one split of eight pictures."""
    write_split(tmp_path / "coco", "train2014", [(48, 64)] * 8, 1)
    name = "annotations/instances_train2014.json"
    with zipfile.ZipFile(
        tmp_path / "coco" / "annotations" / "annotations_trainval2014.zip", "w"
    ) as archive:
        archive.write(tmp_path / "coco" / name, name)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "coco"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_fetch(bench: Bench, tmp_path: Path, server: str) -> None:  # noqa: F811
    command = ["data", "fetch", "--out", "out", "--images", "4", "--test-images", "2",
               "--base-url", server, "--workers", "1"]  # fmt: skip
    # A download goes on from the bytes that it has, which is why they are kept.
    survives(bench, tmp_path / "out", command, grows=(".part", "reduction.unfinished.json"))


def test_refine_a_batch(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    """Three rough masks, a table that grows, and a COCO file at the end."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    square = [[10, 10, 40, 10, 40, 30, 10, 30]]
    images, annotations = [], []
    for number in (1, 2, 3):
        name = f"{number}.png"
        cv2.imwrite(str(tmp_path / "photos" / name), rng.integers(0, 255, (48, 64, 3), np.uint8))
        images.append({"id": number, "file_name": name, "height": 48, "width": 64})
        record = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0}
        record |= {"segmentation": square, "area": 600, "bbox": [10, 10, 30, 20]}
        annotations.append(record)
    rough = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "rough.json").write_text(json.dumps(rough))
    command = ["refine", "photos", "--batch", "rough.json", "-o", "out",
               "-c", "tiny16-32_bce-dice"]  # fmt: skip
    survives(bench, tmp_path / "out", command, grows=("refined.csv", ".png", "annotations.json"))


@pytest.mark.parametrize("workers", [0, 2])
def test_train(bench: Bench, tmp_path: Path, data: Path, workers: int) -> None:  # noqa: F811
    command = ["train", "res16-32_bce-dice", "--data", "data", "--out", "out",
               "--workers", str(workers), *SMALLEST]  # fmt: skip
    grows = ("log.csv", "steps.csv", "run.json", ".ckpt")
    survives(bench, tmp_path / "out", command, grows=grows)


def test_train_refiner(bench: Bench, tmp_path: Path, data: Path) -> None:  # noqa: F811
    small = ("network.look=64", "network.zoom=64", "training.pretrained=false", "edge=null",
             "training.steps=4", "training.batch_size=2")  # fmt: skip
    command = ["train-refiner", "--data", "data", "--out", "out", "--workers", "0"]
    command += [word for setting in small for word in ("--set", setting)]
    grows = ("log.csv", "run.json", ".ckpt")
    survives(bench, tmp_path / "out", command, grows=grows)


def test_evaluate(bench: Bench, tmp_path: Path, data: Path) -> None:  # noqa: F811
    command = ["evaluate", "tiny16-32_bce-dice", "--data", "data", "--out", "out", "--split", "val"]
    survives(bench, tmp_path / "out", command, grows=("results.csv",))


def test_evaluate_refiner(bench: Bench, tmp_path: Path, data: Path) -> None:  # noqa: F811
    command = ["evaluate-refiner", "identity", "watershed", "--data", "data", "--split", "val",
               "--out", "out", "--kind", "erode", "--strokes", "plain", "--pictures", "2",
               "--corrections", "1"]  # fmt: skip
    # Tables and the figure are made anew from the rows that there are.
    grows = (".csv", ".md", ".json", ".png", ".pdf")
    survives(bench, tmp_path / "out", command, grows=grows, environment={"NSEG_SCRIBBLES": ""})


ANNOTATE = """
import sys
import numpy as np
from nseg_lib.widget.session import FolderSession
try:
    session = FolderSession("data/val", "out/annotations.json")
    while session.state()["done"] < session.state()["total"]:
        mask = np.zeros(session.open().image.shape[:2], bool)
        mask[20:40, 10:60] = True
        session.record(mask, [{"kind": "object", "points": [[10, 30, 10], [60, 30, 10]]}])
        session.go(1)
except OSError as error:
    sys.exit(str(error))
"""


def test_annotate(bench: Bench, tmp_path: Path, data: Path) -> None:  # noqa: F811
    """An object is drawn on each of three pictures; after a fault, on those that lack one."""
    survives(bench, tmp_path / "out", [], code=ANNOTATE, grows=("annotations.json",))


def test_ship(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    """The package's folder gets a network, its provenance and its checksum."""
    name = "tiny16-32_bce-dice"
    run = tmp_path / "runs" / "half" / name / "seed42"
    for folder in (run, tmp_path / "workflow" / "profiles"):
        folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    for ending, target in ((".safetensors", run / "weights.safetensors"),
                           (".json", run / "weights.safetensors.json")):  # fmt: skip
        shutil.copy(PROJECT / "nseg_lib" / "weights" / f"{name}{ending}", target)
    survives(bench, tmp_path / "nseg_lib" / "weights", ["ship", name],
             prepare=lambda folder: folder.mkdir(parents=True))  # fmt: skip


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_data_on_a_read_only_disk(
    bench: Bench,  # noqa: F811
    tmp_path: Path,
    data: Path,
    command: str,
) -> None:
    """Strokes that were not drawn yet are drawn elsewhere, and are the same."""
    words = {
        "train": ["train", "res16-32_bce-dice", "--data", "data", "--workers", "0", *SMALLEST],
        "evaluate": ["evaluate", "tiny16-32_bce-dice", "--data", "data", "--split", "val"],
    }[command]
    read_only = bench.run([*words, "--out", "there"], data, at=1, error=errno.EROFS, lasting=1)
    assert read_only.status == 0, read_only.said
    assert bench.run([*words, "--out", "here"], data).status == 0
    (name,) = {"weights.safetensors", "results.csv"} & tree(tmp_path / "here").keys()
    assert tree(tmp_path / "there")[name] == tree(tmp_path / "here")[name]


@pytest.mark.skipif(sys.platform != "linux", reason="takes a right from root as Linux does")
def test_annotate_read_only_pictures(tmp_path: Path) -> None:
    """Before anything is drawn, the command says where else the masks can go."""
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 60, 3), np.uint8))
    folder.chmod(0o555)
    prctl = ctypes.CDLL(None).prctl  # without this capability, root may not write either
    dac_override, capbset_drop = 1, 24
    command = [sys.executable, "-m", "nseg_lib.cli", "draw", str(folder), "--no-browser"]
    ended = subprocess.run(
        command, preexec_fn=lambda: prctl(capbset_drop, dac_override),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    said = ended.stderr.splitlines()[-1]
    assert "cannot be written: " in said
    assert said.endswith("; --out takes another place")
    assert [path.name for path in folder.iterdir()] == ["a.png"]
