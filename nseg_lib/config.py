"""Typed configuration: one object travels from a YAML file to training, checkpoint and table.

:class:`Config` describes a network of the paper, :class:`RefinerConfig` an interactive refiner.
The defaults are the paper's protocol (section 2.5) and the refiner's recipe, so a file in
``configs/`` only says what sets its network apart. An unknown key, a wrong type or an impossible
value stops at once with a :class:`ConfigError` that names the key, the file and what is allowed.
Sizes are bounded (:mod:`nseg_lib.limits`), since a configuration may come with a stranger's file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeVar

from nseg_lib import limits
from nseg_lib.parsing import ConfigError as ConfigError
from nseg_lib.parsing import read_yaml, short
from nseg_lib.strokes.people import PROMPTS
from nseg_lib.strokes.recipes import RECIPES

GROUPS = 8
"""Channels are normalised in eight groups, so every width is a multiple of eight."""


def _one_of(what: str, known: Collection[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"unknown {what} {short(name)}; one of: {', '.join(known)}")
        return name

    return check


InputKind = Literal["gray_sobel", "rgb"]
Recipe = Annotated[str, AfterValidator(_one_of("stroke recipe", RECIPES))]
PromptKind = Annotated[str, AfterValidator(_one_of("kind of prompt", PROMPTS))]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]
Batch = Annotated[int, Field(ge=1, le=limits.MAX_BATCH)]
Size = Annotated[int, Field(ge=64, le=1024, multiple_of=32)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1, max_length=32, strict=False)]
Channels = Annotated[int, Field(ge=4, le=limits.MAX_CHANNELS)]
Width = Annotated[int, Field(ge=GROUPS, le=limits.MAX_CHANNELS, multiple_of=GROUPS)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=7, strict=False)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Kind = TypeVar("Kind", bound="Strict", default="Config")

BESIDE = 4.0
"""Background strokes up to this many times the object strokes' longer side away from their middle
are in a refiner's first look too: they are drawn round the object, and tell how far it may reach.
A recipe can have another number (``network.beside``)."""


class Strict(BaseModel):
    """A section of a configuration: unknown keys, wrong types and infinite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _has_these_keys_alone(cls, values: Any) -> Any:
        # Before anything else: a required key that is misspelt would be called missing.
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                said = {"key": str(key), "allowed": ", ".join(cls.model_fields)}
                raise PydanticCustomError("unknown_key", "allowed here: {allowed}", said)
        return values


# --- a network of the paper -----------------------------------------------------------------------


class ModelConfig(Strict):
    """Which network: its family, channels per level and input channels."""

    architecture: Name
    """One of ``networks.catalog.FAMILIES``; :func:`nseg_lib.networks.build` refuses others."""
    widths: Annotated[list[Width], Field(min_length=1, max_length=7)]
    inputs: InputKind = "gray_sobel"


class LossConfig(Strict):
    """Weights of the loss terms (section 2.4); ``boundary`` is the Sobel loss unless told."""

    bce: Weight = 0.5
    dice: Weight = 0.5
    boundary: Weight = 0.0
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

    epochs: Epochs = 50
    patience: Epochs = 5
    learning_rate: Rate = 1e-3
    batch_size: Batch = 1
    """Above 1, only pictures of equal size share a batch."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """What the network computes in; ``bf16-mixed`` keeps weights and loss in 32 bits."""
    seed: Seed = 42


class Config(Strict):
    """Everything that determines a trained network, apart from the pictures."""

    name: Name
    model: ModelConfig
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()


# --- an interactive refiner -----------------------------------------------------------------------

FourLevels = tuple[Channels, Channels, Channels, Channels]


def _draws_something(mix: dict[str, float]) -> dict[str, float]:
    if not any(mix.values()):
        raise ValueError("at least one kind of prompt must have a weight above 0")
    return mix


Mix = Annotated[dict[PromptKind, Weight], AfterValidator(_draws_something)]
"""Kind of prompt, of those that the simulator draws (:data:`nseg_lib.strokes.people.PROMPTS`) → its
weight."""


class NetworkConfig(Strict):
    """The network and how it looks at a picture."""

    widths: Annotated[FourLevels, Field(strict=False)] = (96, 64, 32, 24)
    """Channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the working size."""
    detail: Channels = 16
    """Channels at the working size itself."""
    similarity: bool = True
    """Compare every place with what the strokes cover."""
    distance: bool = False
    """Show strokes as maps of how near they are, rather than as they were drawn."""
    look: Size = 256
    """Working size of the first look, round the strokes: pixels of the longer side."""
    zoom: Size = 320
    """Working size of the further looks, round what the last one found."""
    looks: Annotated[int, Field(ge=1, le=5)] = 2
    """How often it looks; where there is a mask to correct, twice at most."""
    temperature: Rate = 1.0
    """Logits are divided by this to become probabilities; fitted on the validation split."""
    local: bool = True
    """A correction changes only parts that are connected with its strokes, in their direction."""
    beside: Weight = BESIDE
    """How far off background strokes are still in the first look, in times the object strokes'
    longer side; 0: they do not widen it."""


class PromptConfig(Strict):
    """What is drawn on the training pictures."""

    mix: Mix | None = None
    """Kind of prompt → its weight; without it, the simulator's own mix."""
    late: Mix | None = None
    """The weights in the second half of the steps; the same without it."""
    largest: Share = 0.5
    """Share of samples that take a picture's largest object; the others take any."""
    feedback: Share = 0.65
    """Share of steps that correct a prediction of the network's own."""
    smallest: Annotated[int, Field(ge=1)] = 400
    """Pixels; smaller objects are not trained on."""
    alike: Share = 0.0
    """Share of samples in which the object is pasted once more beside itself; one is meant."""
    finished: Share = 0.0
    """Share of samples in which neighbours are marked as background, as finished objects are."""
    boxes: Share = 0.0
    """Share of brushed prompts that come with a box; outside it, all is marked as background."""
    persons: Share = 0.0
    """Share of samples from the second data set, that of persons with exact outlines."""


class FitConfig(Strict):
    """AdamW on crops, in cycles of a warm-up and a cosine; averaged weights are what is kept."""

    steps: Steps = 9000
    cycles: Annotated[int, Field(ge=1, le=100)] = 2
    """Equal parts of the steps; the mean of the networks at their ends is the result."""
    batch_size: Batch = 8
    size: Sizes = (192, 192, 192, 256, 320)
    """Sides of the training crops: equal parts of a cycle at each."""
    learning_rate: Rate = 1e-3
    encoder_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The pretrained encoder's rate as a share of the others'."""
    weight_decay: Weight = 0.01
    warmup: Annotated[int, Field(ge=0, le=100_000_000)] = 100
    cosine: bool = True
    """After the warm-up, lower the learning rate to nothing along half a cosine."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay of the moving average of the weights."""
    edge: Weight = 0.0
    """How much more than others a pixel near the object's edge counts."""
    boundary: Weight = 0.0
    """Weight of the paper's boundary loss (:class:`nseg_lib.training.losses.SobelLoss`)."""
    overlap: Weight = 1.0
    """Weight of 1 - soft IoU, beside the cross-entropy."""
    focal: Weight = 0.0
    """Exponent by which the cross-entropy of a pixel fades as it is got right; 0: it does not."""
    augment: bool = True
    """Mirror the crops and change their colours."""
    scales: bool = True
    """Cut crops nearer and farther than the looks do; else just as the looks do."""
    pretrained: bool = True
    """Start the encoder from ImageNet weights."""
    seed: Seed = 42

    @property
    def cycle(self) -> int:
        """Steps of a cycle; the last one may be shorter."""
        return -(-self.steps // self.cycles)


class EdgeFitConfig(FitConfig):
    """The same for the edge network; it has no encoder that comes pretrained."""

    steps: Steps = 12000
    cycles: Annotated[int, Field(ge=1, le=100)] = 1
    batch_size: Batch = 4
    size: Sizes = (288,)
    """Sides of the windows."""
    learning_rate: Rate = 7e-4
    boundary: Weight = 1.0
    encoder_rate: Literal[1] = 1
    pretrained: Literal[False] = False


class EdgeConfig(Strict):
    """The second network, for masks painted with care (:mod:`nseg_lib.networks.edge`)."""

    widths: Widths = (16, 32, 64, 96)
    """Channels of each level, from half the picture's size down."""
    start: Literal["res16-128_bce-dice", "tiny16-32_bce-dice", "res16-32_bce-dice"] | None = None
    """A shipped network of the paper whose weights it starts from; as deep, and no narrower."""
    objects: Annotated[int, Field(ge=1, le=limits.MAX_PAINTED)] = 6000
    """Objects that are painted for its training; windows are cut from them again and again."""
    mix: Mix = {"erode": 1.0}
    """Kind of prompt → its weight; what comes out rough, or reaches beyond, is not taken."""
    largest: Share = 0.6
    """Share of the objects that are their picture's largest."""
    training: EdgeFitConfig = EdgeFitConfig()

    @model_validator(mode="after")
    def _starts_from_what_fits(self) -> Self:
        if self.start is not None:
            theirs = load(self.start).model.widths
            deep = len(theirs) == len(self.widths)
            if not deep or any(w > t for w, t in zip(self.widths, theirs, strict=True)):
                raise ValueError(
                    f"widths {list(self.widths)} do not fit 'start: {self.start}', whose are "
                    f"{list(theirs)}; as many are needed, and none wider"
                )
        return self


class RefinerConfig(Strict):
    """Everything that determines an interactive refiner, apart from the pictures."""

    name: Name
    start: Literal["lite0"] | None = None
    """A shipped refiner that the training goes on from, its edge network included; none: from
    ImageNet weights, or from nothing."""
    start_share: Share = 0.0
    """Share of the start's weights in those that are kept; the rest are the trained ones."""
    network: NetworkConfig = NetworkConfig()
    prompts: PromptConfig = PromptConfig()
    training: FitConfig = FitConfig()
    edge: EdgeConfig | None = None
    """A second network for painted masks, trained after the first; none: the looks are all."""


# --- reading and checking -------------------------------------------------------------------------

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

_PACKAGE = resources.files("nseg_lib")
_FOLDERS: dict[type[Strict], Any] = {
    Config: _PACKAGE / "configs",
    RefinerConfig: _PACKAGE / "configs" / "refiner",
}


def names(kind: type[Strict] = Config) -> tuple[str, ...]:
    """Names of the shipped configurations: the paper's eight in table order, then the others."""
    files = (file.name for file in _FOLDERS[kind].iterdir()) if kind in _FOLDERS else ()
    shipped = {name.removesuffix(".yml") for name in files if name.endswith(".yml")}
    eight = THE_EIGHT if kind is Config else ()
    return eight + tuple(sorted(shipped - set(eight)))


def load(
    source: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    kind: type[Kind] = Config,  # type: ignore[assignment]
) -> Kind:
    """Read a configuration by its name in the package or from a YAML file.

    Args:
        source: a name from :func:`names`, such as ``tiny16-32_bce-dice``, or a path to a file.
        overrides: dotted keys and values that replace the file's, such as
            ``{"training.epochs": 2}``; checked like the file.
        kind: what the file describes: :class:`Config`, :class:`RefinerConfig`, or another
            :class:`Strict`, which then needs a path.

    Raises:
        ConfigError: no such name or file, not YAML, or values that are not allowed.
    """
    path = Path(source)
    if path.suffix in {".yml", ".yaml"}:
        if not path.is_file():
            raise ConfigError(f"{path}: no such configuration file")
        file, origin = path, str(path)
    elif str(source) in names(kind):
        file, origin = _FOLDERS[kind] / f"{source}.yml", f"{source}.yml"
    else:
        raise ConfigError(
            f"no model named '{source}'; give a .yml file or one of: {', '.join(names(kind))}"
        )
    with file.open("rb") as stream:  # one byte more than is allowed, which is refused then
        values = read_yaml(stream.read(limits.MAX_CONFIG_BYTES + 1), origin)
    for key, value in (overrides or {}).items() if isinstance(values, dict) else ():
        section, (*parents, last) = values, key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{origin}: '{key}' cannot be set, '{parent}' is no section")
        section[last] = value
    return parse(values, origin, kind)


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
        raise ConfigError(f"{source}: {first_mistake(error)}") from None


def first_mistake(error: ValidationError) -> str:
    """The first mistake that pydantic found, in one line: its key, and what is allowed there."""
    problem = error.errors()[0]
    keys = [str(key) for key in problem["loc"]]
    if problem["type"] == "unknown_key":
        key = ".".join([*keys, problem["ctx"]["key"]])
        return f"unknown key {short(key)}; {problem['msg']}"
    where = short(".".join(keys)) if keys else "the whole"
    # A validator of ours says itself what it got; pydantic's own messages do not.
    asks = problem["type"] in {"missing", "value_error", "json_invalid"}
    got = "" if asks else f" (got {short(problem['input'])})"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}{got}"
