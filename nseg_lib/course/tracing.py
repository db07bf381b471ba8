"""What a network really does with a picture: its stages in order, found by running it.

Nothing is assumed about the architecture. A forward pass without numbers (torch's ``meta`` device)
is watched: which module made which tensor, which tensors were concatenated or added. So a skip
connection, a gate or an added stroke is in the list if and only if the network has it.
:mod:`nseg_lib.course.diagrams` draws the list; chapters ``03`` to ``05`` show it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nseg_lib.networks.attention import AttentionGate

LAYERS: dict[type[nn.Module], str] = {
    nn.Conv2d: "convolution",
    nn.ConvTranspose2d: "upsampling",
    nn.MaxPool2d: "pooling",
    nn.GroupNorm: "norm",
    nn.ReLU: "relu",
}
"""What the modules without children are called here; others, such as ``Identity``, are left out."""


@dataclass(frozen=True)
class Layer:
    """One elementary operation within a stage."""

    kind: str
    """A value of :data:`LAYERS`, or ``add``."""
    channels: int
    kernel: int = 0
    """Side of a convolution's kernel; 0 for all else."""


@dataclass(frozen=True)
class Stage:
    """One step of the forward pass."""

    name: str
    """The module's path, such as ``encoder.0``; where there is no module, the kind."""
    kind: str
    """``input``, ``block``, ``pooling``, ``upsampling``, ``gate``, ``concat``, ``add``, ``head``"""
    shape: tuple[int, int, int]
    """Channels, height and width of what comes out."""
    sources: tuple[int, ...]
    """Indices of the stages whose results go in, in the order of the arguments."""
    layers: tuple[Layer, ...] = ()
    parameters: int = 0


def trace(network: nn.Module, height: int = 480, width: int = 640) -> list[Stage]:
    """The stages of a network's forward pass on one picture, in order of execution.

    A stage is a direct child of the network or an item of one of its module lists; concatenations
    and additions between them are stages too. The network itself is left as it is.

    Args:
        network: takes float N×C×H×W; C is read off its first convolution.
        height, width: of the picture, in pixels.
    """
    network = copy.deepcopy(network).to("meta").eval()
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    picture = torch.empty(1, first.in_channels, height, width, device="meta")
    recorder = _Recorder(picture)
    recorder.watch(network)
    with torch.no_grad(), recorder:
        network(picture)
    return recorder.stages


class _Recorder(TorchFunctionMode):
    """Sees modules through hooks, and what happens between them as a function mode."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.stages: list[Stage] = []
        self.made_by: dict[int, int] = {}
        self.kept: list[Tensor] = []  # a freed tensor's id would be given to another
        self.layers: list[Layer] = []
        self.depth = 0
        """0 between stages, 1 within a stage, 2 within one of its layers."""
        self._record("input", "input", picture, [])

    def _record(
        self, name: str, kind: str, result: Tensor, inputs: list[Any], size: int = 0
    ) -> None:
        sources = tuple(self.made_by[id(t)] for t in inputs if id(t) in self.made_by)
        _, channels, height, width = result.shape
        shape = (channels, height, width)
        self.stages.append(Stage(name, kind, shape, sources, tuple(self.layers), size))
        self.layers = []
        self.kept.append(result)
        self.made_by[id(result)] = len(self.stages) - 1

    def watch(self, network: nn.Module) -> None:
        for path, child in network.named_children():
            items = child.named_children() if isinstance(child, nn.ModuleList) else [("", child)]
            for key, stage in items:
                self._watch_stage(f"{path}.{key}".strip("."), stage)

    def _watch_stage(self, name: str, stage: nn.Module) -> None:
        kind = _kind(stage)
        size = sum(p.numel() for p in stage.parameters())

        def finished(module: nn.Module, inputs: tuple[Any, ...], result: Tensor) -> None:
            self.depth = 0
            self._record(name, kind, result, list(inputs), size)

        stage.register_forward_pre_hook(self._at(1))
        for layer in stage.modules():
            if type(layer) in LAYERS:
                layer.register_forward_pre_hook(self._at(2))
                layer.register_forward_hook(self._layer_finished)
        stage.register_forward_hook(finished)

    def _at(self, depth: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.depth = depth

        return hook

    def _layer_finished(self, module: nn.Module, inputs: tuple[Any, ...], result: Tensor) -> None:
        kernel = module.kernel_size[0] if isinstance(module, nn.Conv2d) else 0
        self.layers.append(Layer(LAYERS[type(module)], result.shape[1], kernel))
        self.depth = 1

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if self.depth == 1 and name in {"add", "__add__", "relu"}:
            self.layers.append(Layer("relu" if name == "relu" else "add", result.shape[1]))
        elif self.depth == 0 and name == "cat":
            self._record("concat", "concat", result, list(args[0]))
        elif self.depth == 0 and name in {"add", "__add__"}:
            self._record("add", "add", result, list(args))
        elif self.depth == 0 and name in {"__getitem__", "interpolate"}:
            self.kept.append(result)
            self.made_by[id(result)] = self.made_by[id(args[0])]
        return result


def _kind(stage: nn.Module) -> str:
    if isinstance(stage, AttentionGate):
        return "gate"
    if isinstance(stage, nn.Conv2d):
        return "head"
    return LAYERS.get(type(stage), "block")
