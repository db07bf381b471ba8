"""Data, networks and results for a chapter that finds none.

A student can open any chapter first. It then makes the built-in data set, takes the networks that
come with nseg, and evaluates them. The results go into a folder named ``stand-in``, so that they
never mix with those of a proper run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nseg_lib import config
from nseg_lib.arrays import Image
from nseg_lib.data import coco
from nseg_lib.data.datasets import fingerprint, picture_hashes
from nseg_lib.data.frozen import EvaluationSamples, Sample
from nseg_lib.data.scaling import rescale
from nseg_lib.evaluation import methods
from nseg_lib.evaluation.metrics import iou
from nseg_lib.evaluation.rows import evaluate
from nseg_lib.evaluation.summary import read_folder, summarise
from nseg_lib.files import sha256
from nseg_lib.networks.inputs import network_input
from nseg_lib.networks.weights import PRETRAINED, shipped
from nseg_lib.provenance import portable_path
from nseg_lib.refine import Refiner
from nseg_lib.training.runs import find_runs


def data_set(path: str | Path) -> Path:
    """Return ``path``; make the built-in sample there first if it is missing.

    Only folders named ``sample`` or ``smoke`` are made.

    Raises:
        coco.DataError: a folder of another name holds no data set.
    """
    path = Path(path)
    if not (path / "annotations").is_dir():
        if path.name not in {"sample", "smoke"}:
            raise coco.DataError(f"{path}: no data set here; 'nseg data reduce' makes one")
        from nseg_lib.sample import make_sample

        print(f"no data in {path}: making the built-in sample")
        make_sample(path)
    return path


def photographs(folder: str | Path) -> EvaluationSamples:
    """Real photographs, each with the mask of one object and its frozen ``erode`` stroke.

    They are the split ``photos`` of the built-in sample. A data set without it gives ``val``.
    """
    split = "photos" if "photos" in coco.find_splits(Path(folder)) else "val"
    return EvaluationSamples(coco.load_split(Path(folder), split))


def photograph(samples: EvaluationSamples, name: str) -> Sample:
    """The photograph ``name``, such as ``camera``, or else that with the largest object."""
    every = list(samples)
    for sample in every:
        if samples.split.image_path(sample.image_id).stem == name:
            return sample
    return max(every, key=lambda sample: sample.mask.mean())


def one_pair(sample: Sample, scale: float) -> tuple[Image, Tensor, Tensor]:
    """A photograph at ``scale`` as a pair to train on.

    Returns:
        The picture, uint8 H×W×3; the network's input, float32 1×3×H×W in [0, 1]; and the target,
        float32 1×1×H×W of 0 and 1.
    """
    image, mask, stroke = rescale(sample.image, sample.mask, sample.stroke, scale)
    x = torch.from_numpy(network_input(image, stroke))[None]
    return image, x, torch.from_numpy(mask.astype(np.float32))[None, None]


def committed_rows(
    root: Path, methods: Sequence[str], split: str = "test"
) -> list[tuple[str, float, float, float]]:
    """Of the project's results on COCO at half its size: method, IoU, boundary IoU, made worse.

    Args:
        root: of the project.
        methods: in this order.
        split: ``val`` or ``test``.
    """
    table = summarise(read_folder(root / "reports" / "half" / "rows"), split=split)
    named = table.set_index("method")
    iou, boundary, worse = (named[c] for c in ("iou", "boundary_iou_1px", "made_worse"))
    return [(m, float(iou[m]), float(boundary[m]), float(worse[m])) for m in methods]


def committed_table(root: Path, name: str) -> pd.DataFrame:
    """A table of the refiner's measurements, ``reports/refiner/<name>``."""
    return pd.read_csv(root / "reports" / "refiner" / name)


def identity_iou(data: str | Path, split: str = "val", scale: float = 1.0) -> float:
    """The mean IoU of the frozen strokes of a split, which is that of doing nothing."""
    samples = EvaluationSamples(coco.load_split(Path(data), split), scale=scale)
    return float(np.mean([iou(sample.stroke, sample.mask) for sample in samples]))


def refiners(found: str | Path) -> dict[str, tuple[Refiner, Path]]:
    """The paper's networks that were trained here, or else those that come with nseg.

    Args:
        found: a folder of runs.

    Returns:
        Model → the refiner of its first seed, and its file of weights.
    """
    runs = find_runs(found)
    if runs:
        paths = {name: of_model[0].weights for name, of_model in runs.items()}
    else:
        print("no network was trained here: these are the paper's that come with nseg")
        paths = {name: shipped(name) for name in config.THE_EIGHT if name in PRETRAINED}
    known = {name: paths[name] for name in config.THE_EIGHT if name in paths}
    return {name: (Refiner.load(path), path) for name, path in known.items()}


def refiner(found: str | Path, model: str, smaller: str | None = None) -> Refiner:
    """The network ``model`` that was trained here, or else one that comes with nseg.

    A printed line says which.

    Args:
        found: a folder of runs.
        model: a name of :func:`nseg_lib.config.names`.
        smaller: the shipped network that stands in, where ``model`` itself is not shipped.
    """
    ready = find_runs(found).get(model)
    if ready:
        print(f"{model}: trained, found in {portable_path(ready[0].folder)}")
        return Refiner.load(ready[0].weights)
    shipped_name = smaller or model
    stands_in = "" if shipped_name == model else f", stands in for {model}"
    print(f"{shipped_name}, which comes with nseg{stands_in}")
    return Refiner.from_pretrained(shipped_name)


def evaluated(
    rows: str | Path, known: Mapping[str, tuple[Refiner, Path]], data: str | Path
) -> Path:
    """Return a folder of results that has the baselines: ``rows``, or a stand-in.

    If ``rows`` has none, the baselines and ``known``, which :func:`refiners` gave, are evaluated on
    ``val`` and ``test``.
    """
    rows, data = Path(rows), Path(data)
    if (rows / "baselines.csv").is_file():
        return rows
    name = _folder_name(data, *(path for _, path in known.values()))
    folder = rows.parent.parent / "stand-in" / name / "results"
    print(f"no results in {portable_path(rows)}: evaluating the baselines and the networks")
    scale = next(iter(known.values()))[0].scale
    judged = methods.baselines(scale)
    judged += [methods.trained(refiner, path) for refiner, path in known.values()]
    # One file holds all rows: who reads a folder of results takes what is in any of its files.
    for split in (s for s in coco.find_splits(data) if s in {"val", "test"}):
        samples = EvaluationSamples(coco.load_split(data, split), scale=scale)
        evaluate(judged, samples, folder / "baselines.csv", progress=False)
    return folder


def _folder_name(data: str | Path, *files: Path) -> str:
    """A hash of the data set and the files: a change of any gives another folder."""
    data, splits = Path(data), ("train", "val")
    hashes = [*fingerprint(data, splits).values(), *picture_hashes(data, splits).values()]
    hashes += map(sha256, files)
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:8]
