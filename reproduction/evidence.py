"""Everything that tables, claims and curves are made from: rows, logs, measurements, the paper.

Each of them is a function of an :class:`Evidence` and of nothing else. So ``nseg verify`` can make
them again without a picture, a network or a training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib import config
from nseg_lib.data import coco
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.metrics import DISTANCES
from nseg_lib.evaluation.summary import read_folder, read_results
from nseg_lib.parsing import short
from nseg_lib.training.runs import Run, logged_runs
from reproduction import measure, paper, profiles
from reproduction.estimates import LAST, Scatter, common_seeds, scatter
from reproduction.paper import LOG_COLUMNS, OWN_COLUMNS
from reproduction.profiles import Profile


@dataclass(frozen=True, eq=False)  # one object is equal to itself alone, so it can be a key
class Evidence:
    """One profile's rows, logs and measurements, the paper's numbers and its authors' logs."""

    profile: Profile
    folder: Path
    """``reports/<profile>``."""
    results: pd.DataFrame
    """From :func:`nseg_lib.evaluation.summary.read_folder`."""
    logs: dict[str, list[Run]]
    """Model → its runs in the order of their seeds."""
    redraws: pd.DataFrame
    """From :func:`reproduction.measure.read_redraws`."""
    pictures: pd.DataFrame
    """From :func:`reproduction.measure.read_pictures`."""
    authors: pd.DataFrame
    printed: dict[str, Any]
    latency: dict[str, Any]
    """Empty if latency was not measured."""

    @property
    def claims_file(self) -> Path:
        """``reports/claims.yml``, for :func:`reproduction.claims.read_claims`."""
        return self.folder.parent / "claims.yml"

    @cached_property
    def native(self) -> dict[str, pd.DataFrame]:
        """Rows of test pictures at their own size, in the form of ``results``, by their folder.

        In ``native/largest`` they are of the largest object of each picture, in ``native/every``
        of every object (``nseg evaluate --scale 1``, with ``--every-object`` or without).
        """
        files = sorted((self.folder / "native").glob("*/results.csv"))
        return {path.parent.name: read_results(path) for path in files}

    @property
    def models(self) -> list[str]:
        """The paper's eight models, then others with rows or logs or in the profile."""
        there = {*self.profile.models, *self.results["method"].unique(), *self.logs}
        there -= {*BASELINES, *config.THE_EIGHT}
        return [*config.THE_EIGHT, *(name for name in config.names() if name in there)]

    @cached_property
    def evaluated(self) -> list[str]:
        """Those of the paper's eight models that have rows."""
        there = {*self.results["method"].unique()}
        return [name for name in config.THE_EIGHT if name in there]

    @cached_property
    def splits(self) -> list[str]:
        """Those of ``val`` and ``test`` that have rows, in this order."""
        there = {*self.results["split"].unique()}
        return [name for name in ("val", "test") if name in there]

    @cached_property
    def held_out(self) -> pd.DataFrame:
        """The rows of the test pictures, which chose nothing; of val if test has none."""
        return self.results[self.results["split"] == self.splits[-1]]

    def distance_scale(self, metric: str) -> float:
        """By how much a metric shrinks with the profile's pictures: 1 unless it is a distance."""
        return self.profile.scale if metric in DISTANCES else 1.0

    def margin(self, metric: str) -> float:
        """The difference that is too small to matter, of ``reports/paper.yml``, at our scale."""
        return self.distance_scale(metric) * float(self.printed["too_small"][metric])

    @cache  # noqa: B019 -- there is one evidence in a process, and many claims ask it
    def scatter(self, metric: str, *, shared: bool = True) -> Scatter:
        """How far the mean of a metric lies from training to training, by the best source there is.

        That is the means of the paper's networks on held-out pictures over the seeds that they
        share; without enough seeds, validation means over the last five epochs of our own logs;
        for a metric that these lack, those of the authors' logs, whose strokes are drawn anew
        every epoch and whose distances are scaled as our pictures are.

        Args:
            shared: of a difference of two networks, see :func:`reproduction.estimates.scatter`.
        """
        rows = self.held_out[self.held_out["method"].isin(self.evaluated)]
        means = rows.groupby(["method", "seed"])[metric].mean().unstack("seed")
        found = scatter(common_seeds(means), "seeds", shared=shared)
        for logs, source in ((self.own_logs, "epochs"), (self.authors, "epochs of the authors")):
            column = LOG_COLUMNS[metric]
            if found is None and column in logs:
                # Of the seed that most networks share: they share its strokes and their order too.
                logged = logs.dropna(subset=column)
                networks = logged.groupby("seed")["model"].nunique()
                of_seed = logged[logged["seed"] == networks.idxmax()] if len(networks) else logged
                by_epoch = of_seed.pivot(index="model", columns="epoch", values=column)
                last = by_epoch.dropna(axis=1).iloc[:, -LAST:]
                scale = self.distance_scale(metric) if logs is self.authors else 1.0
                found = scatter(last * scale, source, shared=shared)
        assert found is not None, "the authors' eight networks and nine epochs are enough"
        return found

    def seeds(self, model: str) -> list[int]:
        """The seeds of a model that the profile plans, and others that have rows or logs."""
        rows = self.results[self.results["method"] == model]["seed"].dropna()
        logged = (run.seed for run in self.logs.get(model, []))
        planned = (*config.THE_EIGHT, *self.profile.models)
        wanted = self.profile.seeds if model in planned else []
        return sorted({*wanted, *map(int, rows), *logged})

    @cached_property
    def own_logs(self) -> pd.DataFrame:
        """The logs of the paper's models: one row per ``model``, ``seed`` and ``epoch``.

        A training without rows is left out, since it may not have ended.
        """
        rows = self.results[self.results["method"].isin(self.evaluated)]
        judged = {*zip(rows["method"], rows["seed"], strict=True)}
        logs = [
            run.log().rename(columns=OWN_COLUMNS).assign(model=model, seed=run.seed)
            for model, of_model in self.logs.items()
            for run in of_model
            if (model, run.seed) in judged
        ]
        return pd.concat(logs) if logs else pd.DataFrame(columns=["model", "seed", "epoch"])

    @cached_property
    def per_picture(self) -> pd.DataFrame:
        """One row per held-out picture: its properties, and the mean quality of the paper's models.

        Columns: ``split``, ``image_id``, ``annotation_id``, ``stroke`` (IoU of the stroke),
        ``size`` (the object's share of the picture), ``clutter``
        (:func:`nseg_lib.course.probes.clutter`), ``iou``, ``precision`` (1 for an empty
        prediction), and ``recovered``, the share that the models add of the IoU that the stroke
        lacks (NaN for a perfect stroke).
        """
        rows = self.held_out
        rows = rows.join(mask_areas(rows))
        predicted = rows["predicted"].where(rows["predicted"] > 0)
        rows["precision"] = (rows["shared"] / predicted).fillna(1)
        rows["size"] = rows["object_area"] / (rows["width"] * rows["height"])
        key = ["split", "image_id", "annotation_id"]
        stroke = rows[rows["method"] == "identity"].set_index(key)
        # Trainings of one network first, so that each network weighs the same.
        models = rows[rows["method"].isin(self.evaluated)].groupby([*key, "method"])
        pictures = models[["iou", "precision"]].mean().groupby(key).mean()
        pictures["stroke"], pictures["size"] = stroke["iou"], stroke["size"]
        lacking = (1 - pictures["stroke"]).where(pictures["stroke"] < 1)
        pictures["recovered"] = (pictures["iou"] - pictures["stroke"]) / lacking
        clutter = self.pictures.set_index(["split", "image_id"])["clutter"]
        return pictures.reset_index().join(clutter, on=["split", "image_id"])


def mask_areas(rows: pd.DataFrame) -> pd.DataFrame:
    """Pixels of the intersection (``shared``), of the ``union`` and of the ``predicted`` mask.

    They follow from the metrics: with intersection I, union U and N pixels in the picture,
    U - I = (1 - accuracy) N and I = IoU · U. Rounding to whole pixels makes an empty prediction
    exactly 0.
    """
    wrong = (1 - rows["pixel_accuracy"]) * rows["width"] * rows["height"]
    perfect = rows["iou"] >= 1
    union = (wrong / (1 - rows["iou"].where(~perfect))).where(~perfect, rows["object_area"])
    shared = rows["iou"] * union
    predicted = union - rows["object_area"] + shared
    return pd.DataFrame({"shared": shared, "union": union, "predicted": predicted}).round()


def load(root: Path, profile: str) -> Evidence:
    """Read the evidence of a profile from a project's folder.

    Raises:
        ValueError: no such profile, no rows, or a malformed file.
    """
    folder = root / "reports" / profile
    return Evidence(
        profile=profiles.load(root, profile),
        folder=folder,
        results=read_folder(folder / "rows"),
        logs=logged_runs(folder / "training"),
        redraws=measure.read_redraws(folder / "measured" / "redraws.csv"),
        pictures=measure.read_pictures(folder / "measured" / "pictures.csv"),
        authors=paper.authors_logs(root / "reports" / "authors_logs.csv"),
        printed=paper.numbers(root / "reports" / "paper.yml"),
        latency=read_json(root / paper.LATENCY),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file.

    Raises:
        ValueError: something else is in it; one line that names the file.
    """
    content = coco.read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds {short(content)}, an object is needed")
    return content


def section(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object under a key of a sidecar; empty where there is none."""
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def commit_text(record: Mapping[str, Any]) -> str:
    """The commit in a sidecar, with a ``+`` behind it where the code was not clean."""
    return str(record.get("commit") or "–")[:8] + (" +" if record.get("dirty") else "")
