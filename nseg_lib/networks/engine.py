"""What runs a network: ONNX Runtime for the package's kind of refiner, PyTorch for all else.

The choice is made here and nowhere else, in :func:`load`. ONNX Runtime answers in half the time of
PyTorch's straightforward forward, with masks that hardly ever differ by a pixel, and needs no
PyTorch; ``docs/performance.md`` has the figures, and what else was tried. It runs a *graph*, the
network without its numbers; the numbers come from the safetensors file as always. The package has
the graph of the interactive refiners, in ``graphs/``; a network of any other shape, and any device
but the CPU, is PyTorch's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nseg_lib import extras
from nseg_lib.config import EdgeConfig, NetworkConfig, RefinerConfig
from nseg_lib.networks.weights import AnyConfig, check_weights, read_weights

if TYPE_CHECKING:
    from torch import nn

Floats = NDArray[np.float32]

GRAPHS = Path(__file__).parent / "graphs"
"""Per graph an ``.onnx`` without weights, and a ``.json``: which settings it is of, and the names
and shapes of the weights that it takes. ``python -m nseg_lib.networks.onnx`` writes them."""

MAX_THREADS = 8
"""More gain nothing on networks as small as these."""


class Engine(Protocol):
    """A network that can be asked with plain arrays."""

    @property
    def edge(self) -> Engine | None:
        """The edge network that belongs to it, if there is one."""
        ...

    def infer(self, x: Floats) -> Floats:
        """float32 N×C×H×W → logits, float32 N×H×W."""
        ...


class OnnxEngine:
    """A network that ONNX Runtime runs on the CPU.

    Args:
        graph: a name in :data:`GRAPHS`.
        weights: by name, those that the graph takes.
        in_torch: makes the same network PyTorch's.
        edge: the edge network that belongs to it.
    """

    def __init__(
        self,
        graph: str,
        weights: dict[str, NDArray[Any]],
        in_torch: Callable[[], nn.Module],
        edge: OnnxEngine | None = None,
    ) -> None:
        import onnxruntime

        self.in_torch, self.edge = in_torch, edge
        self._made_from = graph, weights, in_torch, edge
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        # A thread that waits for the next layer sleeps: other programs get the processor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Given as they are, ONNX Runtime folds and packs them; as "external" it would not.
        model = (GRAPHS / f"{graph}.onnx").read_bytes() + _initializers(weights)
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and sent to other processes by what it is made from: a session cannot be."""
        return OnnxEngine, self._made_from

    def infer(self, x: Floats) -> Floats:
        """float32 N×C×H×W → logits, float32 N×H×W."""
        (logits,) = self._session.run(None, {"input": np.ascontiguousarray(x)})
        return logits[:, 0]


def _initializers(weights: dict[str, NDArray[Any]]) -> bytes:
    """Weights as a piece of an ONNX model, to be appended to its graph's file.

    Written here, so that answering needs no package ``onnx``. Two protobuf messages after one
    another are read as one, in which repeated fields are joined. Field numbers: onnx.proto,
    ``ModelProto.graph`` 7, ``GraphProto.initializer`` 5, of ``TensorProto`` dims 1, data_type 2
    (float: 1), name 8, raw_data 9.
    """

    def number(value: int) -> bytes:  # seven bits a byte, the last byte below 128
        if value < 128:
            return bytes([value])
        return bytes([value % 128 + 128]) + number(value // 128)

    def part(field: int, content: bytes) -> bytes:
        return number(field * 8 + 2) + number(len(content)) + content

    tensors = b""
    for name, value in weights.items():
        sides = b"".join(number(1 * 8) + number(side) for side in value.shape)
        content = np.asarray(value, "<f4", order="C").tobytes()
        kind = number(2 * 8) + number(1)
        tensors += part(5, sides + kind + part(8, name.encode()) + part(9, content))
    return part(7, tensors)


def threads() -> int:
    """Threads that ONNX Runtime uses: OMP_NUM_THREADS, as PyTorch, or one for each processor."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    allowed = getattr(os, "sched_getaffinity", None)  # macOS and Windows do not have it
    return min(len(allowed(0)) if allowed else os.cpu_count() or 1, MAX_THREADS)


def structure(config: NetworkConfig | EdgeConfig) -> dict[str, Any]:
    """The settings that a network's graph depends on; its weights and the looks are not of them."""
    names = {"widths"}
    if isinstance(config, NetworkConfig):
        names = {"widths", "detail", "similarity", "distance"}
    return config.model_dump(mode="json", include=names)


def load(path: Path, device: str = "cpu") -> tuple[nn.Module | OnnxEngine, AnyConfig]:
    """The network of a file of weights, in the engine that suits it best, and its configuration.

    Raises:
        ValueError: as of :func:`read_weights`; weights that do not fit the configuration or are not
            finite; or PyTorch is needed and not installed.
    """
    weights, config = read_weights(path)
    if device == "cpu" and isinstance(config, RefinerConfig) and find_spec("onnxruntime"):
        found = _onnx(path, weights, config)
        if found is not None:
            return found, config
    return torch_network(path, weights, config), config


def torch_network(path: Path, weights: dict[str, NDArray[Any]], config: AnyConfig) -> nn.Module:
    """The network as PyTorch's; ValueError in one line where PyTorch is not installed."""
    try:
        from nseg_lib.networks.loading import network_of
    except ModuleNotFoundError:
        command = extras.install_command("train")
        raise ValueError(f"{config.name} needs PyTorch: {command}") from None
    return network_of(path, weights, config)


def _onnx(path: Path, weights: dict[str, NDArray[Any]], config: RefinerConfig) -> OnnxEngine | None:
    """The engine for a refiner; None if the package has no graph of its shape."""
    known = {name: json.loads((GRAPHS / f"{name}.json").read_text()) for name in ("looks", "edge")}
    if structure(config.network) != known["looks"]["structure"]:
        return None
    if config.edge is not None and structure(config.edge) != known["edge"]["structure"]:
        return None
    shapes = {key: tuple(shape) for key, shape in known["looks"]["weights"].items()}
    edge = {key: tuple(shape) for key, shape in known["edge"]["weights"].items()}
    if config.edge is not None:
        shapes |= {f"edge.{key}": shape for key, shape in edge.items()}
    # A counter of training steps is in the file too; only PyTorch has a place for it.
    used = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    check_weights(path, config, shapes, used)
    in_torch = partial(torch_network, path, weights, config)
    finisher = None
    if config.edge is not None:
        finisher = OnnxEngine("edge", {key: used[f"edge.{key}"] for key in edge}, in_torch)
    looks = {key: value for key, value in used.items() if not key.startswith("edge.")}
    return OnnxEngine("looks", looks, in_torch, finisher)
