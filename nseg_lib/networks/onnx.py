"""Networks as ONNX files, for programs that have neither PyTorch nor this package."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from nseg_lib.files import write_atomic
from nseg_lib.networks.inputs import CHANNELS
from nseg_lib.networks.loading import AnyConfig
from nseg_lib.networks.promptnet import PROMPTS, STRIDE, PromptNet
from nseg_lib.networks.unet import UNet


def shape_of(network: nn.Module, config: AnyConfig) -> tuple[int, int]:
    """Channels of a network's input, and what the input's sides are multiples of in ONNX.

    Raises:
        TypeError: a network of another kind.
    """
    if isinstance(network, PromptNet):
        return 3 + PROMPTS, STRIDE
    if isinstance(network, UNet):
        kind = getattr(config, "model").inputs  # noqa: B009
        return CHANNELS[kind], 2 ** len(network.encoder)
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
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("ONNX needs two packages more: pip install 'nseg[onnx]'") from None
    channels, multiple = shape_of(network, config)
    # The sides of the example must differ, or they would be taken for one and the same.
    example = torch.rand(1, channels, 2 * multiple, 3 * multiple)
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
            )  # fmt: skip
    finally:
        log.setLevel(level)
    assert program is not None
    model = program.model_proto
    for key, value in {"nseg_config": config.model_dump_json(), "multiple": str(multiple)}.items():
        model.metadata_props.add(key=key, value=value)
    write_atomic(path, model.SerializeToString())
