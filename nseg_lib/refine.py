"""The refiner: picture + stroke → mask. What a user imports."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from nseg_lib.arrays import Mask
from nseg_lib.config import Config
from nseg_lib.data.images import scaled_size
from nseg_lib.networks.inputs import check_image_and_stroke, network_input
from nseg_lib.networks.looks import answer
from nseg_lib.networks.promptnet import PromptNet
from nseg_lib.networks.recipe import RefinerConfig
from nseg_lib.networks.weights import (
    PRETRAINED,
    AnyConfig,
    build_network,
    checkpoint_file,
    parse_config,
    shipped,
    usable_device,
)


class Refiner:
    """A trained network, ready to turn a stroke into a mask.

    >>> refiner = Refiner.from_pretrained()  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke)  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke, background=not_this, mask=mask)  # doctest: +SKIP
    """

    def __init__(self, network: torch.nn.Module, config: AnyConfig, device: str = "cpu") -> None:
        self.device = usable_device(device)
        self.network = network.eval().to(self.device)
        self.config = config

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
            checkpoint: a ``.safetensors`` file, which carries its configuration, or a name of
                :data:`PRETRAINED`.
            device: ``cpu``, ``cuda`` or ``cuda:N``.

        Raises:
            ValueError: no such file or name, not safetensors, not one of nseg's, or no such device.
        """
        path = checkpoint_file(checkpoint)
        if path.is_dir():
            raise ValueError(f"{path}: is a folder, not a checkpoint")
        if not path.is_file():
            names = ", ".join(PRETRAINED)
            raise ValueError(f"{path}: no such checkpoint; a file, or one of {names}, is needed")
        try:
            with safe_open(str(path), framework="pt") as stored:
                metadata = stored.metadata() or {}
                weights = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: not a safetensors file ({error})") from None
        if "nseg_config" not in metadata:
            raise ValueError(f"{path}: has no 'nseg_config' in its metadata; not written by nseg")
        config = parse_config(metadata["nseg_config"], f"{path}: 'nseg_config'")
        network = build_network(config)
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
            device: as of :meth:`load`.

        Raises:
            ValueError: an unknown name, or no such device.
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
        if mask is not None and isinstance(stroke, np.ndarray) and not stroke.any():
            raise ValueError(
                "stroke is empty: an object stroke is always needed, also to take a part of a mask "
                "away"
            )
        check_image_and_stroke(image, stroke)
        for name, value in (("background", background), ("mask", mask)):
            if value is not None and not self.corrects:
                raise ValueError(
                    f"{self.config.name} sees object strokes alone: give neither background nor "
                    f"mask, or use '{PRETRAINED[0]}'"
                )
            if value is not None:
                _check_plane(name, value, stroke)
        if isinstance(self.config, RefinerConfig):
            assert isinstance(self.network, PromptNet)
            seen = np.zeros_like(stroke) if background is None else background
            last = mask if mask is not None and mask.any() else None
            logits = answer(self.network, self.config.network, image, stroke, seen, last)
        else:
            logits = self._of_the_paper(self.config, image, stroke)
        if not np.isfinite(logits).all():
            raise ValueError(
                f"{self.config.name}: its answer is not finite; its weights are broken, perhaps "
                "from a training that diverged"
            )
        return logits

    def _of_the_paper(
        self, config: Config, image: NDArray[np.uint8], stroke: Mask
    ) -> NDArray[np.float32]:
        height, width = stroke.shape
        least = 2 ** len(config.model.widths)  # what its poolings leave a pixel of
        down, right = max(0, least - height), max(0, least - width)
        if down or right:
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
            stroke = np.pad(stroke, ((0, down), (0, right)))
        channels = network_input(image, stroke, config.model.inputs)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(channels)[None].to(self.device))
        return logits[0, 0, :height, :width].float().cpu().numpy()

    def enlarged_logits(
        self, image: NDArray[np.uint8], stroke: Mask, scale: float | None = None
    ) -> NDArray[np.float32]:
        """:meth:`logits` asked at the scale of training, or another, and brought back to size.

        Raises:
            TypeError, ValueError: as :meth:`refine`, or a scale that is not above 0 and at most 1.
        """
        check_image_and_stroke(image, stroke)
        scale = self.scale if scale is None else scale
        if scale == 1:
            return self.logits(image, stroke)
        height, width = stroke.shape
        size = scaled_size(height, width, scale)[::-1]
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
            stroke: bool H×W, where the user brushed over the object; it always has a pixel, also
                where something is to be taken away from ``mask``.
            background: bool H×W, where the user brushed over what is not the object.
            mask: bool H×W, the mask to correct: an earlier answer, or one from elsewhere.

        Returns:
            bool H×W.

        Raises:
            TypeError: a wrong dtype or something that is no array.
            ValueError: a wrong shape, a stroke with no pixel in it, ``background`` or ``mask``
                given to a network that does not correct (see :attr:`corrects`), or an answer that
                is not finite, from broken weights.
        """
        if self.corrects or background is not None or mask is not None:
            return self.logits(image, stroke, background, mask) > 0
        return self.enlarged_logits(image, stroke) > 0


def _check_plane(name: str, value: object, stroke: Mask) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.bool_:
        got = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name} must be a bool array (try {name} > 0), got {got}")
    if value.shape != stroke.shape:
        raise ValueError(f"{name} must have the stroke's shape {stroke.shape}, got {value.shape}")
