"""Networks as ONNX: files for other programs, and the graphs that this package itself runs.

    python -m nseg_lib.networks.onnx

writes the graphs anew, which a change of the refiner's networks needs.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nseg_lib import extras
from nseg_lib.config import Config, RefinerConfig
from nseg_lib.files import write_atomic
from nseg_lib.networks import edge, engine
from nseg_lib.networks.crops import STRIDE
from nseg_lib.networks.inputs import CHANNELS
from nseg_lib.networks.loading import load_weights
from nseg_lib.networks.promptnet import PROMPTS, PromptNet
from nseg_lib.networks.unet import UNet
from nseg_lib.networks.weights import PRETRAINED, AnyConfig, shipped


def shape_of(network: nn.Module, config: AnyConfig) -> tuple[int, int]:
    """Channels of a network's input, and what the input's sides are multiples of in ONNX.

    Raises:
        TypeError: a network of another kind.
    """
    if isinstance(network, PromptNet):
        return 3 + PROMPTS, STRIDE
    if isinstance(network, UNet):
        assert isinstance(config, Config)
        return CHANNELS[config.model.inputs], 2 ** len(network.encoder)
    raise TypeError(f"{type(network).__name__} is no network of {config.name}")


def export(network: nn.Module, config: AnyConfig, path: Path) -> None:
    """Write a network as ONNX: ``input``, float32 1×C×H×W, to ``logits``, float32 1×1×H×W.

    H and W are free, in multiples of what :func:`shape_of` says. What is written is the network's
    ``forward``: where a refiner looks, and its edge network, are not in it. The file's metadata
    holds the configuration, under ``nseg_config``.

    Raises:
        ValueError: packages are missing.
        OSError: the file cannot be written.
    """
    channels, multiple = shape_of(network, config)
    model = _exported(network, 1, channels, multiple)
    for key, value in {"nseg_config": config.model_dump_json(), "multiple": str(multiple)}.items():
        model.metadata_props.add(key=key, value=value)
    write_atomic(path, model.SerializeToString())


def write_graphs(folder: Path = engine.GRAPHS) -> None:
    """Write the graphs of the interactive refiners, for :mod:`nseg_lib.networks.engine`.

    Raises:
        ValueError: packages are missing.
        OSError: a file cannot be written.
    """
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info
    from onnxscript.optimizer import optimize

    network, config = load_weights(shipped(PRETRAINED[0]))
    assert isinstance(network, PromptNet)
    assert isinstance(config, RefinerConfig)
    assert network.edge is not None
    assert config.edge is not None
    finisher, network.edge = network.edge, None
    # The edge network is given a picture and its mirror image, of any size.
    for name, part, settings, form in (
        ("looks", network, config.network, (1, 3 + PROMPTS, STRIDE)),
        ("edge", finisher, config.edge, (2, edge.CHANNELS, 1)),
    ):
        model = _exported(part, *form, optimize=False)
        weights = {key: list(value.shape) for key, value in part.state_dict().items()}
        # Their numbers come from the file of weights, when the engine is made. As inputs they let
        # the graph be simplified but not folded: ONNX Runtime fuses only what is plain.
        used = {tensor.name for tensor in model.graph.initializer} & weights.keys()
        kept = [tensor for tensor in model.graph.initializer if tensor.name not in used]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        for key in used:
            model.graph.input.append(make_tensor_value_info(key, TensorProto.FLOAT, weights[key]))
        model = optimize(model)
        pictures = [value for value in model.graph.input if value.name not in used]
        del model.graph.input[:]
        model.graph.input.extend(pictures)
        # What the exporter notes about each step, places in this machine's files included.
        del model.graph.value_info[:]
        for node in model.graph.node:
            node.ClearField("doc_string")
            del node.metadata_props[:]
        write_atomic(folder / f"{name}.onnx", model.SerializeToString())
        about = {
            "structure": engine.structure(settings),
            "weights": {key: shape for key, shape in weights.items() if key in used},
        }
        write_atomic(folder / f"{name}.json", json.dumps(about, indent=1) + "\n")


def _exported(
    network: nn.Module, pictures: int, channels: int, multiple: int, *, optimize: bool = True
) -> Any:
    """The ONNX model of a network for inputs of any size in these multiples."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        command = extras.install_command("onnx")
        raise ValueError(f"ONNX needs two packages more: {command}") from None
    # The sides of the example must differ, or they would be taken for one and the same.
    size = max(multiple, 32)
    example = torch.rand(pictures, channels, 2 * size, 3 * size)
    height, width = (torch.export.Dim(name, min=1, max=4096) for name in ("height", "width"))
    sizes = {"x": {2: multiple * height, 3: multiple * width}}
    log, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    log.setLevel(logging.ERROR)  # it misses torchvision, of which nothing is used
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
            program = torch.onnx.export(
                network.eval(), (example,), dynamo=True, dynamic_shapes=sizes, verbose=False,
                input_names=["input"], output_names=["logits"], opset_version=18,
                optimize=optimize,
            )  # fmt: skip
    finally:
        log.setLevel(level)
    assert program is not None
    return program.model_proto


if __name__ == "__main__":
    write_graphs()
