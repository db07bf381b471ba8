"""Weights on their way out: whole files, their checksums, and what writing them depends on."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from nseg_lib import config
from nseg_lib import config as configuration
from nseg_lib import networks as models
from nseg_lib.networks.promptnet import build
from nseg_lib.networks.weights import save_weights, write_checksums
from nseg_lib.refine import Refiner

TINY = config.load("tiny16-32_bce-dice", {"model.widths": [8]})


def test_weights_come_back_as_they_were_and_the_refiner_s_in_half(tmp_path: Path) -> None:
    paper, path = models.build(TINY.model), tmp_path / "new" / "w.safetensors"
    save_weights(paper, TINY, path)
    stored = load_file(path)
    assert all((stored[key] == value).all() for key, value in paper.state_dict().items())
    recipe = configuration.load("lite0", kind=configuration.RefinerConfig)
    save_weights(build(recipe), recipe, path)
    assert {str(value.dtype) for value in load_file(path).values()} >= {"torch.float16"}
    assert "torch.float32" not in {str(value.dtype) for value in load_file(path).values()}
    assert Refiner.load(path).config == recipe


def test_checksums_are_of_all_networks_of_the_folder(tmp_path: Path) -> None:
    for name, text in (("b.safetensors", "b"), ("a.safetensors", "a"), ("README.md", "no")):
        (tmp_path / name).write_text(text)
    written = write_checksums(tmp_path).read_text()
    a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    b = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
    assert written == f"{a}  a.safetensors\n{b}  b.safetensors\n"
