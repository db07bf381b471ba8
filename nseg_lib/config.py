"""Typed configuration: one object travels from a YAML file to training, checkpoint and table.

The defaults are the paper's protocol (section 2.5), so a file in ``configs/`` only says what
sets its model apart. An unknown key, a wrong type or an impossible value stops at once with a
:class:`ConfigError` that names the key, the file and what is allowed.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Architecture = Literal["tiny", "res", "attn", "blockres"]
InputKind = Literal["gray_sobel", "rgb"]
Recipe = Literal["erode", "v1", "paintbrush", "dist"]
Kind = TypeVar("Kind", bound="Strict")
_FOLDER = resources.files("nseg_lib") / "configs"

GROUPS = 8
"""Channels are normalised in eight groups, so every width is a multiple of eight."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line."""


class Strict(BaseModel):
    """A section of a configuration: unknown keys, wrong types and infinite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelConfig(Strict):
    """Which network: its family, channels per level and input channels."""

    architecture: Architecture
    widths: Annotated[list[int], Field(min_length=1, max_length=7)]
    inputs: InputKind = "gray_sobel"

    @model_validator(mode="after")
    def _widths_fit_the_groups(self) -> ModelConfig:
        bad = [w for w in self.widths if w < GROUPS or w % GROUPS]
        if bad:
            raise ValueError(f"widths must be positive multiples of {GROUPS}, got {bad}")
        return self


class LossConfig(Strict):
    """Weights of the loss terms (section 2.4); ``boundary`` is the Sobel loss unless told."""

    bce: Annotated[float, Field(ge=0)] = 0.5
    dice: Annotated[float, Field(ge=0)] = 0.5
    boundary: Annotated[float, Field(ge=0)] = 0.0
    boundary_kind: Literal["sobel", "kervadec"] = "sobel"

    @model_validator(mode="after")
    def _something_to_minimise(self) -> LossConfig:
        if self.bce + self.dice + self.boundary == 0:
            raise ValueError("at least one of bce, dice and boundary must be above 0")
        return self


class DataConfig(Strict):
    """What the network sees: which stroke recipe, at which size."""

    recipe: Recipe = "erode"
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Side of the training picture over the side of the file; the paper's setting is 1."""
    redraw: bool = True
    """A new stroke for every epoch (the paper), or the same one throughout."""


class TrainingConfig(Strict):
    """The paper's recipe: Adam, batch 1 at native size, early stopping on validation loss."""

    epochs: Annotated[int, Field(ge=1)] = 50
    patience: Annotated[int, Field(ge=1)] = 5
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    batch_size: Annotated[int, Field(ge=1)] = 1
    """Above 1, only pictures of equal size share a batch."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """What the network computes in; ``bf16-mixed`` keeps weights and loss in 32 bits."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42


class Config(Strict):
    """Everything that determines a trained network, apart from the pictures."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    model: ModelConfig
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()


def parse(values: Any, source: str, kind: type[Kind] = Config) -> Kind:  # type: ignore[assignment]
    """Check a nested mapping; ``source`` names where it came from in error messages.

    Raises:
        ConfigError: one line that names the key, the source and what is allowed.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a mapping of settings, got {type(values).__name__}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(error, kind)}") from None


def _first_problem(error: ValidationError, kind: type[Strict]) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) if problem["loc"] else "the whole"
    if problem["type"] == "extra_forbidden":
        model: Any = kind
        for part in problem["loc"][:-1]:
            kinds = get_args(model.model_fields[part].annotation) or (
                model.model_fields[part].annotation,
            )
            model = next(kind for kind in kinds if hasattr(kind, "model_fields"))
        return f"unknown key '{where}'; allowed here: {', '.join(model.model_fields)}"
    said = problem["type"] in {"missing", "value_error"}
    got = "" if said else f" (got {problem['input']!r})"
    return f"'{where}': {problem['msg'].removeprefix('Value error, ')}{got}"


def load(source: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a configuration by catalogue name or from a YAML file.

    Args:
        source: a name from :func:`names`, such as ``tiny16-32_bce-dice``, or a path to a file.
        overrides: dotted keys and values that replace the file's, such as
            ``{"training.epochs": 2}``; checked like the file.

    Raises:
        ConfigError: no such name or file, not YAML, or values that are not allowed.
    """
    values, origin = _read(source)
    set_values(values, overrides or {}, origin)
    return parse(values, origin)


def set_values(values: dict[str, Any], overrides: dict[str, Any], origin: str) -> None:
    """Replace values of a nested mapping by dotted keys; ``origin`` is named in errors.

    Raises:
        ConfigError: a key that is empty or leads into something that is no section.
    """
    for key, value in overrides.items():
        target = values
        *parents, last = parts = key.split(".")
        if not all(parts):
            said = "a part of the key is empty" if key else "the key is empty"
            raise ConfigError(f"{origin}: '{key}' cannot be set, {said}; give names, dots between")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"{origin}: '{key}' cannot be set, '{parent}' is no section")
        target[last] = value


def _read(source: str | Path) -> tuple[dict[str, Any], str]:
    path = Path(source)
    if path.suffix in {".yml", ".yaml"}:
        if not path.is_file():
            raise ConfigError(f"{path}: no such configuration file")
        text, origin = path.read_text(encoding="utf-8"), str(path)
    elif str(source) in names():
        origin = f"{source}.yml"
        text = _FOLDER.joinpath(origin).read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"no model named '{source}'; give a .yml file or one of: {', '.join(names())}"
        )
    values = read_yaml(text, origin)
    if not isinstance(values, dict):
        raise ConfigError(f"{origin}: expected a mapping of settings")
    return values, origin


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number, as in YAML 1.2; by 1.1 it would be text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str, origin: str) -> Any:
    """Parse YAML; ``origin`` is named in errors.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None


THE_EIGHT = (
    "tiny16-32_bce-dice",
    "res16-32_bce-dice",
    "tiny16-128_bce-dice",
    "res16-128_bce-dice",
    "tiny16-128_bce-dice-bound",
    "res16-128_bce-dice-bound",
    "res32-256_bce-dice-bound",
    "attn32-256_bce-dice-bound",
)
"""The paper's models, in the order of its tables."""


def names() -> tuple[str, ...]:
    """Names of the shipped configurations: the paper's eight in table order, then the extras."""
    files = (f.name for f in _FOLDER.iterdir())
    shipped = {f.removesuffix(".yml") for f in files if f.endswith(".yml")}
    return THE_EIGHT + tuple(sorted(shipped - set(THE_EIGHT)))
