"""The refiner: picture + stroke → mask. What a user imports."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nseg_lib import config as configuration
from nseg_lib import models
from nseg_lib.config import Config
from nseg_lib.inputs import check_image_and_stroke, network_input
from nseg_lib.interactive.config import RefinerConfig
from nseg_lib.interactive.inference import answer
from nseg_lib.interactive.network import PromptNet
from nseg_lib.interactive.network import build as build_promptnet

PRETRAINED = ("lite0", "res16-128_bce-dice", "res16-32_bce-dice", "tiny16-32_bce-dice")
"""Networks in the package, the default first: the interactive refiner, which knows thin scribbles,
coarse masks and corrections, and three of the paper's, which know strokes that nearly cover the
object."""

AnyConfig = Config | RefinerConfig
Mask = NDArray[np.bool_]


class Refiner:
    """A trained network, ready to turn a stroke into a mask.

    >>> refiner = Refiner.from_pretrained()  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke)  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke, background=not_this, mask=mask)  # doctest: +SKIP
    """

    def __init__(self, network: torch.nn.Module, config: AnyConfig, device: str = "cpu") -> None:
        self.network = network.eval().to(device)
        self.config = config
        self.device = torch.device(device)

    @property
    def corrects(self) -> bool:
        """Whether it sees background strokes and the mask to correct; the paper's do not."""
        return isinstance(self.config, RefinerConfig)

    @property
    def scale(self) -> float:
        """Size of the pictures it was trained on, relative to the files'."""
        return self.config.data.scale if isinstance(self.config, Config) else 1.0

    @classmethod
    def load(cls, checkpoint: str | Path, device: str = "cpu") -> Refiner:
        """Read a network that ``nseg train`` or ``nseg train-refiner`` wrote.

        Args:
            checkpoint: a ``.safetensors`` file; it carries its configuration.
            device: where to run, such as ``cpu`` or ``cuda``.

        Raises:
            ValueError: no such file, not safetensors, or not one of nseg's.
        """
        path = Path(checkpoint)
        if not path.is_file():
            raise ValueError(f"{path}: no such checkpoint")
        try:
            with safe_open(str(path), framework="pt") as stored:
                metadata = stored.metadata() or {}
                weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: not a safetensors file ({error})") from None
        if "nseg_config" not in metadata:
            raise ValueError(f"{path}: has no 'nseg_config' in its metadata; not written by nseg")
        config = _parse(json.loads(metadata["nseg_config"]), str(path))
        network = _build(config)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise ValueError(f"{path}: weights do not fit {config.name}: {first}") from None
        return cls(network, config, device)

    @classmethod
    def from_pretrained(cls, name: str = PRETRAINED[0], device: str = "cpu") -> Refiner:
        """One of the networks that come with the package; no download.

        Args:
            name: of :data:`PRETRAINED`. The JSON file beside its weights says how it was trained.

        Raises:
            ValueError: an unknown name.
        """
        if name not in PRETRAINED:
            raise ValueError(f"no pretrained '{name}'; there are: {', '.join(PRETRAINED)}")
        return cls.load(shipped(name), device)

    def logits(
        self,
        image: NDArray[np.uint8],
        stroke: Mask,
        background: Mask | None = None,
        mask: Mask | None = None,
    ) -> NDArray[np.float32]:
        """The network's answer before any threshold, float32 H×W; above 0 means object.

        Args and errors: as :meth:`refine`.
        """
        check_image_and_stroke(image, stroke)
        if isinstance(self.config, RefinerConfig):
            assert isinstance(self.network, PromptNet)
            nothing = np.zeros_like(stroke)
            for name, value in (("background", background), ("mask", mask)):
                if value is not None:
                    _check_plane(name, value, stroke)
            seen = nothing if background is None else background
            last = mask if mask is not None and mask.any() else None
            return answer(self.network, self.config.network, image, stroke, seen, last)
        if background is not None or mask is not None:
            raise ValueError(
                f"{self.config.name} sees object strokes alone: give neither background nor mask, "
                f"or use '{PRETRAINED[0]}'"
            )
        height, width = stroke.shape
        least = 2 ** len(self.config.model.widths)  # what its poolings leave a pixel of
        down, right = max(0, least - height), max(0, least - width)
        if down or right:
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
            stroke = np.pad(stroke, ((0, down), (0, right)))
        channels = network_input(image, stroke, self.config.model.inputs)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(channels)[None].to(self.device))
        return logits[0, 0, :height, :width].float().cpu().numpy()

    def enlarged_logits(
        self, image: NDArray[np.uint8], stroke: Mask, scale: float | None = None
    ) -> NDArray[np.float32]:
        """:meth:`logits` asked at the scale of training, or another, and brought back to size."""
        check_image_and_stroke(image, stroke)
        scale = self.scale if scale is None else scale
        if scale == 1:
            return self.logits(image, stroke)
        height, width = stroke.shape
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        share = cv2.resize(stroke.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        # A line thinner than a pixel would vanish at one half.
        logits = self.logits(small, share >= min(0.5, float(share.max())))
        return cv2.resize(logits, (width, height))

    def refine(
        self,
        image: NDArray[np.uint8],
        stroke: Mask,
        background: Mask | None = None,
        mask: Mask | None = None,
    ) -> Mask:
        """Refine a stroke into a mask: every pixel of probability above .5.

        A network of the paper sees the picture at the scale that it was trained at, and its answer
        is brought back to size; for a picture that is at that scale already, take ``logits > 0``.

        Args:
            image: uint8 H×W×3, RGB, any size.
            stroke: bool H×W, where the user brushed over the object.
            background: bool H×W, where the user brushed over what is not the object.
            mask: bool H×W, the mask to correct: an earlier answer, or one from elsewhere.

        Returns:
            bool H×W.

        Raises:
            TypeError: a wrong dtype or something that is no array.
            ValueError: a wrong shape, a stroke with no pixel in it, or ``background`` or ``mask``
                given to a network that does not correct (see :attr:`corrects`).
        """
        if self.corrects or background is not None or mask is not None:
            return self.logits(image, stroke, background, mask) > 0
        return self.enlarged_logits(image, stroke) > 0


def shipped(name: str) -> Path:
    """The file of a network of :data:`PRETRAINED`."""
    return Path(__file__).parent / "weights" / f"{name}.safetensors"


def _check_plane(name: str, value: object, stroke: Mask) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.bool_:
        got = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name} must be a bool array (try {name} > 0), got {got}")
    if value.shape != stroke.shape:
        raise ValueError(f"{name} must have the stroke's shape {stroke.shape}, got {value.shape}")


def _parse(values: dict[str, Any], source: str) -> AnyConfig:
    if "network" in values:
        return configuration.parse(values, source, RefinerConfig)
    return configuration.parse(values, source)


def _build(config: AnyConfig) -> torch.nn.Module:
    if isinstance(config, RefinerConfig):
        return build_promptnet(config)
    return models.build(config.model)


def save_weights(network: torch.nn.Module, config: AnyConfig, path: Path) -> None:
    """Write weights and their configuration as safetensors, atomically.

    An interactive refiner's are kept in half precision, which changes no mask noticeably.
    """
    small = isinstance(config, RefinerConfig)
    tensors = {
        k: (v.half() if small and v.is_floating_point() else v).detach().cpu().contiguous()
        for k, v in network.state_dict().items()
    }
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, partial, metadata={"nseg_config": config.model_dump_json()})
    partial.replace(path)
