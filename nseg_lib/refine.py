"""The refiner: picture + stroke → mask. What a user imports."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import cv2
import numpy as np

from nseg_lib.arrays import Image, Logits, Mask, Probability
from nseg_lib.config import RefinerConfig
from nseg_lib.data.scaling import scaled_size
from nseg_lib.networks import engine
from nseg_lib.networks.engine import OnnxEngine
from nseg_lib.networks.looks import OUTSIDE, Looks, WholePicture
from nseg_lib.networks.weights import PRETRAINED, AnyConfig, checkpoint_file, shipped, usable_device
from nseg_lib.prompt import Box, Extent, Prompt

if TYPE_CHECKING:
    from torch import nn


class Refiner:
    """A trained network, ready to turn a stroke into a mask.

    >>> refiner = Refiner.from_pretrained()  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke)  # doctest: +SKIP
    >>> mask = refiner.refine(image, stroke, background=not_this, mask=mask)  # doctest: +SKIP
    >>> mask, sure = refiner.refine(image, stroke, return_probability=True)  # doctest: +SKIP
    >>> mask = refiner.refine(image, box=(left, top, right, bottom))  # doctest: +SKIP

    Args:
        network: of the kind that ``config`` describes, else TypeError is raised: PyTorch's, or
            what :func:`nseg_lib.networks.engine.load` gives.
        device: ``cpu``, ``cuda`` or ``cuda:N``; ValueError where there is none.
    """

    gives_probability = True
    """Whether :meth:`refine` takes ``return_probability``; the canvas asks any model for this."""

    takes_extent = True
    """Whether :meth:`refine` takes ``extent``; the canvas asks any model for this."""

    predictor: Looks | WholePicture
    """Answers to a picture as it is, whatever the scale of training."""

    def __init__(
        self, network: nn.Module | OnnxEngine, config: AnyConfig, device: str = "cpu"
    ) -> None:
        self.config, self.device = config, usable_device(device)
        self._use(network)

    def _use(self, network: nn.Module | OnnxEngine) -> None:
        """Answer with this network from now on."""
        if isinstance(network, OnnxEngine):
            assert isinstance(self.config, RefinerConfig)  # there are no graphs of others
            self.predictor = Looks(network, self.config.network)
        else:
            from nseg_lib.networks.loading import predictor

            self.predictor = predictor(network.eval().to(self.device), self.config)
        self._network = network

    @property
    def network(self) -> nn.Module:
        """The network as PyTorch's, which answers from now on: what is changed in it shows.

        Raises:
            ValueError: PyTorch is not installed.
        """
        if isinstance(self._network, OnnxEngine):
            self._use(self._network.in_torch())
        assert not isinstance(self._network, OnnxEngine)
        return self._network

    @property
    def corrects(self) -> bool:
        """Whether it sees background strokes and the mask to correct; the paper's do not."""
        return self.predictor.corrects

    @property
    def scale(self) -> float:
        """Size of the pictures it was trained on, relative to the files'."""
        return self.predictor.scale

    @property
    def temperature(self) -> float:
        """What logits are divided by to become probabilities: 1 for the paper's networks."""
        return self.config.network.temperature if isinstance(self.config, RefinerConfig) else 1.0

    @classmethod
    def load(cls, checkpoint: str | Path, device: str = "cpu") -> Refiner:
        """Read a network that ``nseg train`` or ``nseg train-refiner`` wrote.

        Args:
            checkpoint: a ``.safetensors`` file, which carries its configuration, or a name of
                :data:`PRETRAINED`.

        Raises:
            ValueError: no such file or name, not safetensors, not one of nseg's, or no such device.
            TypeError: ``checkpoint`` is neither a name nor a path.
        """
        return cls(*engine.load(checkpoint_file(checkpoint), usable_device(device)), device)

    @classmethod
    def from_pretrained(cls, name: str = PRETRAINED[0], device: str = "cpu") -> Refiner:
        """A network of :data:`PRETRAINED`, which come with the package; no download.

        Raises:
            ValueError: an unknown name, or no such device.
        """
        if name not in PRETRAINED:
            raise ValueError(f"no pretrained '{name}'; there are: {', '.join(PRETRAINED)}")
        return cls.load(shipped(name), device)

    @overload
    def refine(
        self,
        image: Image,
        stroke: Mask | None = None,
        background: Mask | None = None,
        mask: Mask | None = None,
        *,
        box: Box | None = None,
        extent: Extent = "object",
        scale: float | None = None,
        return_probability: Literal[False] = False,
    ) -> Mask: ...

    @overload
    def refine(
        self,
        image: Image,
        stroke: Mask | None = None,
        background: Mask | None = None,
        mask: Mask | None = None,
        *,
        box: Box | None = None,
        extent: Extent = "object",
        scale: float | None = None,
        return_probability: Literal[True],
    ) -> tuple[Mask, Probability]: ...

    def refine(
        self,
        image: Image,
        stroke: Mask | None = None,
        background: Mask | None = None,
        mask: Mask | None = None,
        *,
        box: Box | None = None,
        extent: Extent = "object",
        scale: float | None = None,
        return_probability: bool = False,
    ) -> Mask | tuple[Mask, Probability]:
        """Refine a stroke into a mask: every pixel of probability above .5.

        Args:
            image: uint8 H×W×3, RGB, any size.
            stroke: bool H×W, where the user brushed over the object; it has a pixel, also where
                something is to be taken away from ``mask``. With a box it may be left out.
            background: bool H×W, where the user brushed over what is not the object.
            mask: bool H×W, the mask to correct: an earlier answer, or one from elsewhere.
            box: left, top, right, bottom in pixels; the object is only in here.
            extent: ``part`` or ``whole`` for another answer to a first prompt: less or more than
                the network would usually take.
            scale: at which the network sees the picture; by default :attr:`scale`. Give 1 for a
                picture that has been scaled already.

            return_probability: whether to return too how sure the network is of each pixel.

        Returns:
            bool H×W; with ``return_probability`` also float32 H×W in [0, 1], the probability that a
            pixel is object: above .5 where the mask is, and 0 where the network did not look.

        Raises:
            TypeError: a wrong dtype, or something that is no plain array; one line that names it.
            ValueError: a wrong shape, a stroke with no pixel in it, a box that does not fit, a
                background that covers all of the stroke or box, an unknown extent; ``background``,
                ``mask``, ``box`` or ``extent`` given to a network that does not correct (see
                :attr:`corrects`); a scale that is not above 0 and at most 1; or an answer that is
                not finite, from broken weights.
        """
        given = not (background is None and mask is None and box is None and extent == "object")
        if given and not self.corrects:
            raise ValueError(
                f"{self.config.name} sees object strokes alone: give no background, mask, box or "
                f"extent, or use '{PRETRAINED[0]}'"
            )
        if stroke is None and box is not None and isinstance(image, np.ndarray):
            stroke = np.zeros(image.shape[:2], bool)  # the box says it all
        if stroke is None:
            raise TypeError("stroke is missing: a bool array H×W, or a box, must say what is meant")
        logits = self.logits(image, Prompt(stroke, background, mask, box, extent), scale)
        if not return_probability:
            return logits > 0
        probability = 1 / (1 + np.exp(-logits / np.float32(self.temperature)))
        probability[logits <= OUTSIDE] = 0  # not looked at: a little for each would add up
        return logits > 0, probability

    def logits(self, image: Image, prompt: Prompt, scale: float | None = None) -> Logits:
        """The answer before any threshold, as of every :class:`nseg_lib.prompt.Predictor`.

        Args and errors: as of :meth:`refine`; what the network does not see is passed over.
        """
        prompt.check(image)
        scale = self.scale if scale is None else scale
        if not isinstance(scale, Real):
            raise TypeError(f"scale must be a number, got {type(scale).__name__}")
        if scale == 1:
            logits = self.predictor.logits(image, prompt)
        else:
            # The network sees the picture at the scale it knows, and its answer is enlarged.
            height, width = prompt.object.shape
            size = scaled_size(height, width, scale)[::-1]
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            logits = self.predictor.logits(small, prompt.shrunk(size))
            logits = cv2.resize(logits, (width, height)).astype(np.float32, copy=False)
        if not np.isfinite(logits).all():
            raise ValueError(
                f"{self.config.name}: its answer is not finite; its weights are broken, perhaps "
                "from a training that diverged"
            )
        return logits
