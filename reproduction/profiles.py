"""Profiles: how much of the paper a run of the graph does, from ``workflow/profiles/*.yml``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from nseg_lib import config as configuration
from nseg_lib.config import THE_EIGHT, ConfigError, Seed, Strict

FOLDER = Path("workflow") / "profiles"


def _known(name: str) -> str:
    if name not in configuration.names():
        raise ValueError(f"no model '{name}'; there are {', '.join(configuration.names())}")
    return name


ModelName = Annotated[str, AfterValidator(_known)]
Count = Annotated[int, Field(ge=1)]


class DataSource(Strict):
    """A data set of the graph: made here, or reduced from COCO."""

    source: Literal["sample", "coco"]
    folder: Annotated[Path, Field(strict=False)]
    """From the project's root; without braces, which mean something to Snakemake."""
    pictures: Annotated[int, Field(ge=8)]
    """All of the built-in sample; of COCO, those to train and validate on."""
    test_pictures: Annotated[int, Field(ge=0)] = 500
    """Of COCO only: the untouched test split, at most."""
    max_side: int = 320
    """Of the built-in sample only: the longest side of its composed pictures in pixels."""
    seed: Seed = 42

    @field_validator("folder")
    @classmethod
    def _no_braces(cls, folder: Path) -> Path:
        if {*"{}"} & {*str(folder)}:
            raise ValueError(f"{folder}: a folder's name may not have braces here")
        return folder


class Minutes(Strict):
    """Time limits; a chapter that is over its own is stopped, the others are for a cluster."""

    data: Count = 30
    train: Count = 60
    evaluate: Count = 60
    chapter: Count = 10
    page: Count = 5


class Profile(Strict):
    """One file of ``workflow/profiles``."""

    name: str = ""
    """The file's name; :func:`load` enters it."""
    data: DataSource
    photos: DataSource
    """The data set that holds the real photographs of the chapters."""
    models: Annotated[list[ModelName], Field(min_length=1)] = Field(list(THE_EIGHT))
    """The paper's eight unless told; ``all`` in the file stands for these and the ablations."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field([42])
    settings: dict[str, Any] = Field({})
    """Dotted keys of the configuration that differ from the paper's, such as ``data.scale``."""
    own: dict[ModelName, dict[str, Any]] = Field({})
    """Model → settings in which it differs from the others."""
    accelerator: Literal["auto", "cpu", "gpu"] = "cpu"
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare pictures, for each training job."""
    threads: Count = 1
    """Threads of a job. On two cores, two jobs of one thread do twice as much as one of two."""
    jobs_per_gpu: Count = 1
    """Jobs that share a GPU of this machine; on a cluster each has its own."""
    memory: Annotated[int, Field(ge=500)] = 4000
    """MB that a job asks a cluster for."""
    minutes: Minutes = Minutes()
    note: str = ""
    """What sets it apart from the paper's setting; each of its tables and figures says so."""

    @field_validator("models", mode="before")
    @classmethod
    def _all(cls, models: Any) -> Any:
        return list(configuration.names()) if models == "all" else models

    @field_validator("settings", "own")
    @classmethod
    def _seeds_elsewhere(cls, settings: dict[str, Any]) -> dict[str, Any]:
        for values in (settings, *settings.values()):
            if isinstance(values, dict) and "training.seed" in values:
                raise ValueError("'training.seed': the key 'seeds' sets this")
        return settings

    @field_validator("models", "seeds")
    @classmethod
    def _once(cls, listed: list[Any]) -> list[Any]:
        twice = [value for value in listed if listed.count(value) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is listed twice; each may be listed once")
        return listed

    @property
    def scale(self) -> float:
        """Side of the pictures that networks see over their own side."""
        return float(self.settings.get("data.scale", 1.0))

    def settings_of(self, model: str) -> dict[str, Any]:
        """A model's settings that differ from the paper's."""
        return {**self.settings, **self.own.get(model, {})}

    def limit(self, step: str) -> int:
        """Minutes that a step of the graph may take."""
        kind = step.partition("/")[0]
        alike = {"photos": "data", "measure": "evaluate", "evidence": "page"}
        return int(getattr(self.minutes, alike.get(kind, kind)))


def available(root: Path) -> list[str]:
    """The names of the project's profiles."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yml"))


def chapters(root: Path) -> list[str]:
    """The names of the project's notebooks, in order."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def load(root: Path, name: str, only: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile of the project at ``root``; ``only`` replaces its ``models`` or ``seeds``.

    Raises:
        ConfigError: no such profile, or a key or value that is not allowed; one line.
    """
    path = root / FOLDER / f"{name}.yml"
    if not path.is_file():
        raise ConfigError(f"no profile '{name}'; there are: {', '.join(available(root))}")
    profile = configuration.load(path, only or {}, kind=Profile)
    if profile.name:
        raise ConfigError(f"{path}: 'name': leave it out; a profile is named by its file")
    # Settings that no network can have stop here, not hours later in a job.
    for model in profile.models:
        try:
            configuration.load(model, profile.settings_of(model))
        except ConfigError as error:
            raise ConfigError(f"{path}: 'settings': {error}") from None
    return profile.model_copy(update={"name": name})


def only(models: str | None, seeds: str | None) -> dict[str, list[Any]]:
    """What a user gave with commas, as :func:`load` takes it; without what was not given."""
    chosen: dict[str, list[Any]] = {}
    if models:
        chosen["models"] = [name.strip() for name in models.split(",")]
    if seeds:  # what is no number is refused where the profile is checked
        words = [word.strip() for word in seeds.split(",")]
        chosen["seeds"] = [int(word) if word.isdecimal() else word for word in words]
    return chosen


def reproduce_command(profile: Profile) -> str:
    """The command that makes all of a profile's report."""
    coco = " COCO=dir" if profile.data.source == "coco" else ""
    return f"make reproduce PROFILE={profile.name}{coco}"


def train_command(profile: Profile, model: str, seed: int) -> str:
    """The command line that trains one row of Table 1, with as many threads as the workflow has."""
    settings = {**profile.settings_of(model), "training.seed": seed}
    if seed == configuration.load(model).training.seed:
        del settings["training.seed"]
    words = ["nseg", "train", model, "--data", str(profile.data.folder)]
    words += ["--out", f"runs/{profile.name}/{model}/seed{seed}"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return f"{pinned(profile)} {shlex.join(words)}"


def pinned(profile: Profile) -> str:
    """What a command needs before it to have the workflow's number of threads.

    Sums in other threads have other last digits, so weights are equal for equal threads only.
    """
    return f"OMP_NUM_THREADS={profile.threads}"
