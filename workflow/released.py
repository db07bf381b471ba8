"""Bring the authors' released networks into the form that ``nseg evaluate`` reads.

    python workflow/released.py FOLDER reports/released

FOLDER holds ``tiny16-32_bce-dice.safetensors`` and ``res16-32_bce-dice.safetensors``: the weights
of the two checkpoints that NeuralSegmentello's authors released (MIT licence), without Lightning's
other state, under the authors' own names of layers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from safetensors.torch import load_file

from nseg_lib import config as configuration
from nseg_lib import networks
from nseg_lib.networks.weights import save_weights

RELEASED = ("tiny16-32_bce-dice", "res16-32_bce-dice")


def our_name(theirs: str) -> str:
    """A parameter's name in our networks, by its name in the authors' checkpoint.

    Their decoder alternates: an even ``ups.I`` enlarges, the odd one after it convolves.
    """
    part = theirs.removeprefix("model.")
    if match := re.fullmatch(r"downs\.(\d+)\.\w+\.(.+)", part):
        return f"encoder.{match[1]}.layers.{match[2]}"
    if match := re.fullmatch(r"bottleneck\.\w+\.(.+)", part):
        return f"bottleneck.layers.{match[1]}"
    if match := re.fullmatch(r"ups\.(\d*[13579])\.\w+\.(.+)", part):
        return f"decoder.{int(match[1]) // 2}.layers.{match[2]}"
    if match := re.fullmatch(r"ups\.(\d+)\.(.+)", part):
        return f"upsample.{int(match[1]) // 2}.{match[2]}"
    return part.replace("final_conv.", "head.")


def main(source: Path, target: Path) -> None:
    """Write ``released-NAME.safetensors`` into ``target`` for each of :data:`RELEASED`."""
    for name in RELEASED:
        recipe = configuration.load(name)
        network = networks.build(recipe.model)
        theirs = load_file(source / f"{name}.safetensors")
        network.load_state_dict({our_name(key): value for key, value in theirs.items()})
        file = target / f"released-{name}.safetensors"
        save_weights(network, recipe.model_copy(update={"name": file.stem}), file)
        print(file)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
