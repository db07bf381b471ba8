"""The refiner: picture + stroke → mask. What a user imports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nseg_lib import config as configuration
from nseg_lib import models
from nseg_lib.config import Config
from nseg_lib.inputs import check_image_and_stroke, network_input

PRETRAINED = ("res16-32_bce-dice", "tiny16-32_bce-dice")
"""Networks in the package, the default first: the paper's two smallest, trained on 900 pictures of
COCO at half resolution. They know strokes that nearly cover the object, and no thin scribbles."""


class Refiner:
    """A trained network, ready to turn a stroke into a mask.

    >>> refiner = Refiner.load("weights.safetensors")  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke)  # doctest: +SKIP
    """

    def __init__(self, network: torch.nn.Module, config: Config, device: str = "cpu") -> None:
        self.network = network.eval().to(device)
        self.config = config
        self.device = torch.device(device)

    @classmethod
    def load(cls, checkpoint: str | Path, device: str = "cpu") -> Refiner:
        """Read a network that ``nseg train`` wrote.

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
        config = configuration.parse(json.loads(metadata["nseg_config"]), str(path))
        network = models.build(config.model)
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
        return cls.load(Path(__file__).parent / "weights" / f"{name}.safetensors", device)

    def logits(self, image: NDArray[np.uint8], stroke: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The network's answer before any threshold, float32 H×W; above 0 means object.

        Args and errors: as :meth:`refine`.
        """
        check_image_and_stroke(image, stroke)
        channels = network_input(image, stroke, self.config.model.inputs)
        with torch.inference_mode():
            answer = self.network(torch.from_numpy(channels)[None].to(self.device))
        return answer[0, 0].float().cpu().numpy()

    def refine(self, image: NDArray[np.uint8], stroke: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Refine a stroke into a mask: every pixel of probability above .5.

        Args:
            image: uint8 H×W×3, RGB, any size.
            stroke: bool H×W, where the user brushed.

        Returns:
            bool H×W.

        Raises:
            TypeError: a wrong dtype or something that is no array.
            ValueError: a wrong shape, or a stroke with no pixel in it.
        """
        return self.logits(image, stroke) > 0


def save_weights(network: torch.nn.Module, config: Config, path: Path) -> None:
    """Write weights and their configuration as safetensors, atomically."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, partial, metadata={"nseg_config": json.dumps(config.model_dump())})
    partial.replace(path)
