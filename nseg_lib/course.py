"""What a chapter needs and does not find: made on the spot, small, and never in the way.

A student opens any chapter with nothing made yet. Then the built-in data are made, one small
network is trained for a few epochs and everything found is evaluated, into folders named
``stand-in``, so that a proper run, whose settings differ, never meets them.
"""

from __future__ import annotations

from pathlib import Path

from nseg_lib import coco, config, evaluation, runs
from nseg_lib.baselines import BASELINES
from nseg_lib.datasets import EvaluationSamples
from nseg_lib.refine import Refiner

STAND_IN = "tiny16-32_bce-dice"
"""The model that stands in where none was trained: the paper's smallest."""

EPOCHS = 3


def data_set(path: str | Path) -> Path:
    """``path``, where the built-in sample is made first if its name says that it is one.

    Raises:
        coco.DataError: another data set, which is not there.
    """
    path = Path(path)
    if not (path / "annotations").is_dir():
        if path.name not in {"sample", "smoke"}:
            raise coco.DataError(f"{path}: no data set here; 'nseg data reduce' makes one")
        from nseg_lib.sample import make_sample

        print(f"no data in {path}: making the built-in sample")
        make_sample(path)
    return path


def trained(found: str | Path, data: str | Path) -> Path:
    """A folder of runs with at least one trained network: ``found``, or a stand-in beside it.

    Prints a line where it trains, and one for every epoch.
    """
    found = Path(found)
    if runs.find(found):
        return found
    from nseg_lib import training

    folder = found.parent / "stand-in"
    print(f"no trained network in {found}: training {STAND_IN} for {EPOCHS} epochs")
    settings = config.load(STAND_IN, {"training.epochs": EPOCHS})
    training.train(settings, Path(data), folder / STAND_IN / "seed42", workers=0, say=print)
    return folder


def evaluated(rows: str | Path, found: str | Path, data: str | Path) -> Path:
    """A folder of results with the baselines: ``rows``, or a stand-in beside it.

    Prints a line where it evaluates.
    """
    rows = Path(rows)
    if (rows / "baselines.csv").is_file():
        return rows
    folder = rows.parent.parent / "stand-in" / "rows"
    print(f"no results in {rows}: evaluating what there is, the baselines first")
    refiners = {
        run: Refiner.load(run.weights) for of_model in runs.find(found).values() for run in of_model
    }
    scale = next((refiner.config.data.scale for refiner in refiners.values()), 1.0)
    for name in (name for name in coco.find_splits(Path(data)) if name in {"val", "test"}):
        samples = EvaluationSamples(coco.load_split(Path(data), name), scale=scale)
        baselines = [evaluation.BaselineMethod(method, scale) for method in BASELINES]
        evaluation.evaluate(baselines, samples, folder / "baselines.csv", progress=False)
        for run, refiner in refiners.items():
            method = evaluation.ModelMethod(refiner, run.model, run.seed)
            path = folder / f"{run.model}_seed{run.seed}.csv"
            evaluation.evaluate([method], samples, path, progress=False)
    return folder
