"""The recipe of an interactive refiner: one object from its YAML file to its weights' metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nseg_lib import config as configuration
from nseg_lib.config import ConfigError, Strict, parse, read_yaml, set_values
from nseg_lib.networks.crops import BESIDE
from nseg_lib.strokes.people import PROMPTS

RECIPE = Path(__file__).parent / "lite0.yml"
"""The recipe of the network that comes with the package."""

Size = Annotated[int, Field(ge=64, le=1024, multiple_of=32)]
Width = Annotated[int, Field(ge=8, multiple_of=8)]
Channels = Annotated[int, Field(ge=4)]
FourLevels = tuple[Channels, Channels, Channels, Channels]


def _can_be_drawn(mix: dict[str, float]) -> dict[str, float]:
    unknown = [kind for kind in mix if kind not in PROMPTS]
    if unknown:
        raise ValueError(f"unknown kind of prompt '{unknown[0]}'; one of: {', '.join(PROMPTS)}")
    if not any(mix.values()):
        raise ValueError("at least one kind of prompt must have a weight above 0")
    return mix


Mix = Annotated[dict[str, Annotated[float, Field(ge=0)]], AfterValidator(_can_be_drawn)]


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
    zoom: Size | None = 320
    """Working size of the second look, round what the first one found; none: one look is all."""
    beside: Annotated[float, Field(ge=0)] = BESIDE
    """How far off background strokes are still in the first look, in times the object strokes'
    longer side; 0: they do not widen it."""


class PromptConfig(Strict):
    """What is drawn on the training pictures."""

    mix: Mix | None = None
    """Kind of prompt → its weight; without it, the simulator's own mix."""
    late: Mix | None = None
    """The weights in the second half of the steps; the same without it."""
    largest: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of samples that take a picture's largest object; the others take any."""
    feedback: Annotated[float, Field(ge=0, le=1)] = 0.65
    """Share of steps that correct a prediction of the network's own."""


class FitConfig(Strict):
    """AdamW on crops, in cycles of a warm-up and a cosine; averaged weights are what is kept."""

    steps: Annotated[int, Field(ge=1)] = 9000
    cycles: Annotated[int, Field(ge=1)] = 2
    """Equal parts of the steps; the mean of the networks at their ends is the result."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    size: Annotated[tuple[Size, ...], Field(min_length=1, strict=False)] = (192, 192, 192, 256, 320)
    """Sides of the training crops: equal parts of a cycle at each."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    encoder_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The pretrained encoder's rate as a share of the others'."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Annotated[int, Field(ge=0)] = 100
    cosine: bool = True
    """After the warm-up, lower the learning rate to nothing along half a cosine."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay of the moving average of the weights."""
    edge: Annotated[float, Field(ge=0)] = 0.0
    """How much more than others a pixel near the object's edge counts."""
    boundary: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the paper's boundary loss (:class:`nseg_lib.training.losses.SobelLoss`)."""
    overlap: Annotated[float, Field(ge=0)] = 1.0
    """Weight of 1 - soft IoU, beside the cross-entropy."""
    focal: Annotated[float, Field(ge=0)] = 0.0
    """Exponent by which the cross-entropy of a pixel fades as it is got right; 0: it does not."""
    augment: bool = True
    """Mirror the crops and change their colours."""
    scales: bool = True
    """Cut crops nearer and farther than the looks do; else just as the looks do."""
    pretrained: bool = True
    """Start the encoder from ImageNet weights."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42

    @property
    def cycle(self) -> int:
        """Steps of a cycle; the last one may be shorter."""
        return -(-self.steps // self.cycles)


class EdgeFitConfig(FitConfig):
    """The same for the edge network; it has no encoder that comes pretrained."""

    steps: Annotated[int, Field(ge=1)] = 12000
    cycles: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 4
    size: Annotated[tuple[Size, ...], Field(min_length=1, strict=False)] = (288,)
    """Sides of the windows."""
    learning_rate: Annotated[float, Field(gt=0)] = 7e-4
    boundary: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the paper's boundary loss (:class:`nseg_lib.training.losses.SobelLoss`)."""
    encoder_rate: Literal[1] = 1
    pretrained: Literal[False] = False


class EdgeConfig(Strict):
    """The second network, for masks painted with care (:mod:`nseg_lib.networks.edge`)."""

    widths: Annotated[tuple[Width, ...], Field(min_length=1, strict=False)] = (16, 32, 64, 96)
    """Channels of each level, from half the picture's size down."""
    start: Literal["res16-128_bce-dice", "tiny16-32_bce-dice", "res16-32_bce-dice"] | None = None
    """A shipped network of the paper whose weights it starts from; as deep, and no narrower."""
    objects: Annotated[int, Field(ge=1)] = 6000
    """Objects that are painted for its training; windows are cut from them again and again."""
    mix: Mix = {"erode": 1.0}  # noqa: RUF012
    """Kind of prompt → its weight; what comes out rough, or reaches beyond, is not taken."""
    largest: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Share of the objects that are their picture's largest."""
    training: EdgeFitConfig = EdgeFitConfig()

    @model_validator(mode="after")
    def _starts_from_what_fits(self) -> Self:
        if self.start is not None:
            theirs = configuration.load(self.start).model.widths
            deep = len(theirs) == len(self.widths)
            if not deep or any(w > t for w, t in zip(self.widths, theirs, strict=True)):
                raise ValueError(
                    f"widths {list(self.widths)} do not fit 'start: {self.start}', whose are "
                    f"{list(theirs)}; as many are needed, and none wider"
                )
        return self


class RefinerConfig(Strict):
    """Everything that determines an interactive refiner, apart from the pictures."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    network: NetworkConfig = NetworkConfig()
    prompts: PromptConfig = PromptConfig()
    training: FitConfig = FitConfig()
    edge: EdgeConfig | None = None
    """A second network for painted masks, trained after the first; none: the looks are all."""


def load(source: str | Path = RECIPE, overrides: dict[str, Any] | None = None) -> RefinerConfig:
    """Read a recipe from a YAML file.

    Args:
        source: the file.
        overrides: dotted keys and values that replace the file's.

    Raises:
        ConfigError: no such file, not YAML, or values that are not allowed.
    """
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"{path}: no such recipe")
    values = read_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings")
    set_values(values, overrides or {}, path.name)
    return parse(values, path.name, RefinerConfig)
