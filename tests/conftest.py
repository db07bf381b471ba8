"""What several test files share: a tiny data set on disk, and real data where it is at hand."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from browser import canvas, chromium, context, lab, lab_folder, server  # noqa: F401
from command_line import trained  # noqa: F401

from nseg_lib.data import coco
from nseg_lib.evaluation.summary import one_training
from nseg_lib.provenance import PROJECT
from reproduction import evidence
from reproduction.evidence import Evidence

torch.set_num_threads(1)
cv2.setNumThreads(1)


def write_split(root: Path, name: str, sizes: list[tuple[int, int]], first_id: int) -> None:
    """One split in COCO's layout: a bright blob on noise per picture, its mask as RLE."""
    rng = np.random.default_rng(first_id)
    images, annotations = [], []
    (root / name).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for offset, (height, width) in enumerate(sizes):
        image_id = first_id + offset
        blob = np.zeros((height, width), np.uint8)
        centre = (int(width * rng.uniform(0.4, 0.6)), int(height * rng.uniform(0.4, 0.6)))
        axes = (int(width * rng.uniform(0.4, 0.5)), int(height * rng.uniform(0.4, 0.5)))
        cv2.ellipse(blob, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        picture = rng.integers(0, 90, (height, width, 3)) + 150 * blob[..., None]
        file_name = f"{image_id:012d}.png"
        cv2.imwrite(str(root / name / file_name), picture.astype(np.uint8))
        images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        keys = {"id": 10 * image_id, "image_id": image_id, "category_id": 1, "iscrowd": 0}
        shape = {"area": int(blob.sum()), "bbox": list(cv2.boundingRect(blob))}
        rle = coco.mask_to_rle(blob.astype(bool))
        annotations.append(keys | shape | {"segmentation": rle})
    categories = [{"id": 1, "name": "blob", "supercategory": "shape"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(document))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 7 training and 3 validation pictures of about 130 px; do not write to it."""
    root = tmp_path_factory.mktemp("tiny")
    sizes = [(128, 144), (128, 144), (129, 143), (144, 128), (128, 144), (144, 128), (131, 133)]
    write_split(root, "train", sizes, 1)
    write_split(root, "val", sizes[1:4], 101)
    return root


@pytest.fixture
def own_data(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of it, without frozen strokes, that a test may change."""
    return shutil.copytree(tiny_data, tmp_path / "data", ignore=lambda *_: {"strokes"})


def _real(variable: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"set {variable} to the folder of the real data to run this")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def real_coco() -> Path:
    """The root of a real COCO data set, from the environment variable NSEG_COCO."""
    return _real("NSEG_COCO")


@pytest.fixture(scope="session")
def real_scribbles() -> Path:
    """The root of the human scribbles, from the environment variable NSEG_SCRIBBLES."""
    return _real("NSEG_SCRIBBLES")


@pytest.fixture(scope="session")
def half() -> Evidence:
    """The committed evidence of the profile ``half``, read once."""
    return evidence.load(PROJECT, "half")


@pytest.fixture(scope="session")
def single(half: Evidence) -> Evidence:
    """The same with one training of each network."""
    logs = {model: runs[:1] for model, runs in half.logs.items()}
    return replace(half, results=one_training(half.results), logs=logs)
