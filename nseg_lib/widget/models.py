"""The models that the canvas can ask: what it wants of one, and one that loads meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from nseg_lib.arrays import Image, Mask


class AnyRefiner(Protocol):
    """What the canvas asks of a model: ours (:class:`nseg_lib.refine.Refiner`), or one's own.

    With an attribute ``corrects = True`` its ``refine`` gets pictures of any size, and
    ``background=`` (bool H×W) and ``mask=`` (bool H×W or None, the mask so far). Where a box was
    drawn, it gets ``box=`` too (left, top, right, bottom), and perhaps no object stroke. With an
    attribute ``takes_extent = True`` it gets ``extent=`` (:data:`nseg_lib.prompt.Extent`) where the
    user asked for a part or the whole. With
    ``gives_probability = True`` it gets ``return_probability=True`` for a finished drawing. It then
    also returns each pixel's probability (float32 H×W in [0, 1]), from which ``sure`` is made.
    """

    def refine(self, image: Image, stroke: Mask) -> Mask:
        """uint8 H×W×3 RGB and bool H×W → bool H×W, and nothing else: see :func:`mask_of`."""


class Later:
    """A refiner that loads in the background, so that the canvas shows and draws meanwhile.

    >>> canvas = StrokeCanvas("cat.jpg", Later(Refiner.from_pretrained))  # doctest: +SKIP

    Args:
        load: gives the refiner; called at once, in a thread of its own. What it raises is raised by
            every use.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        threads = ThreadPoolExecutor(1, thread_name_prefix="nseg-load")
        self._loaded = threads.submit(load)
        threads.shutdown(wait=False)

    @property
    def ready(self) -> bool:
        """Whether :meth:`refine` would answer without waiting for the model."""
        return self._loaded.done()

    @property
    def corrects(self) -> bool:
        """Of the model; waits for it."""
        return bool(getattr(self._loaded.result(), "corrects", False))

    @property
    def gives_probability(self) -> bool:
        """Of the model; waits for it."""
        return bool(getattr(self._loaded.result(), "gives_probability", False))

    @property
    def takes_extent(self) -> bool:
        """Of the model; waits for it."""
        return bool(getattr(self._loaded.result(), "takes_extent", False))

    def refine(self, image: Image, stroke: Mask, **given: Any) -> Any:
        """As the model's; waits for it."""
        return self._loaded.result().refine(image, stroke, **given)
