"""The stages of a network's forward pass, read from the graph of ``torch.export``.

Nothing is assumed about the architecture: torch follows one picture through the network and records
every operation, its inputs and the module that called it. So a skip connection, a gate or an added
stroke is in the list if and only if the network has it. No values are computed, only shapes.
:mod:`nseg_lib.course.diagrams` draws the list; chapters ``03``, ``06`` and ``07`` show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn
from torch.fx import Node

from nseg_lib.networks.attention import AttentionGate

LAYERS = {
    "conv2d": "convolution",
    "conv_transpose2d": "upsampling",
    "max_pool2d": "pooling",
    "group_norm": "norm",
    "relu": "relu",
    "relu_": "relu",
    "add": "add",
}
"""PyTorch's name of an operation → its name here. Other operations are not listed."""


@dataclass(frozen=True)
class Layer:
    """One elementary operation within a stage."""

    kind: str
    """A value of :data:`LAYERS`."""
    channels: int
    """Of its output."""
    kernel: int = 0
    """Side of a convolution's kernel; 0 for everything else."""


@dataclass(frozen=True)
class Stage:
    """One step of the forward pass: a call of a child module, a concatenation or an addition."""

    name: str
    """The module's path, such as ``encoder.0``; for a stage that is no module, its kind."""
    kind: str
    """``input``, ``block``, ``pooling``, ``upsampling``, ``gate``, ``concat``, ``add``, ``head``"""
    shape: tuple[int, int, int]
    """Channels, height and width of its output."""
    sources: tuple[int, ...]
    """Indices of the stages whose outputs go in, in the order of use."""
    layers: tuple[Layer, ...] = ()
    parameters: int = 0


def trace(network: nn.Module, height: int = 480, width: int = 640) -> list[Stage]:
    """The stages of a network's forward pass on one picture, in order of execution.

    A stage is a call of a direct child of the network or of an item of its module lists. The
    concatenations and additions between those are stages too.

    Args:
        network: takes float N×C×H×W; C is the input channels of its first convolution.
        height, width: of the picture, in pixels.
    """
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    picture = torch.empty(1, first.in_channels, height, width, device=first.weight.device)
    graph = torch.export.export(network, (picture,), strict=False).graph
    # The graph's inputs are the parameters and then the picture.
    entrance = next(n for n in reversed(graph.nodes) if n.op == "placeholder")
    stages = [Stage("input", "input", _shape(entrance), ())]
    made_by = {entrance: 0}  # output of a stage → index of that stage
    operations = [n for n in graph.nodes if n.op == "call_function"]
    for (_, path), group in groupby(operations, _called_by):
        nodes = list(group)
        used = [made_by[i] for n in nodes for i in n.all_input_nodes if i in made_by]
        sources = tuple(dict.fromkeys(used))  # once each, in order
        result, operation = nodes[-1], _operation(nodes[-1])
        if path:
            layers = tuple(_layer(n) for n in nodes if _operation(n) in LAYERS)
            module = network.get_submodule(path)
            size = sum(p.numel() for p in module.parameters())
            kind = "gate" if isinstance(module, AttentionGate) else "block"
            if len(layers) == 1:  # a single layer; a single convolution is the head
                kind = "head" if layers[0].kind == "convolution" else layers[0].kind
            stages.append(Stage(path, kind, _shape(result), sources, layers, size))
            made_by[result] = len(stages) - 1
        elif operation in {"cat", "add"}:
            kind = "concat" if operation == "cat" else "add"
            stages.append(Stage(kind, kind, _shape(result), sources))
            made_by[result] = len(stages) - 1
        elif operation in {"slice", "upsample_nearest2d"}:
            # Cropped or resized features are still those of the stage that made them.
            made_by[result] = sources[0]
    return stages


def _called_by(node: Node) -> tuple[str, str]:
    """A key that differs for every call of a child module, and the child's path.

    An operation that the network calls itself has its own key and an empty path.
    """
    calls = list(node.meta["nn_module_stack"].items())  # from the network down to the layer
    if len(calls) == 1:
        return node.name, ""
    key, (path, _) = calls[1]
    return key, path


def _operation(node: Node) -> str:
    """PyTorch's name, such as ``conv2d`` for ``aten.conv2d.default``."""
    return str(node.target).split(".")[1]


def _shape(node: Node) -> tuple[int, int, int]:
    _, channels, height, width = node.meta["val"].shape
    return channels, height, width


def _layer(node: Node) -> Layer:
    operation = _operation(node)
    # The second argument of a convolution is its weight, out × in × height × width.
    kernel = node.all_input_nodes[1].meta["val"].shape[-1] if operation == "conv2d" else 0
    return Layer(LAYERS[operation], node.meta["val"].shape[1], kernel)
