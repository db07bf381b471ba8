"""The networks in the package: their checksums, their cards, their size."""

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

import nseg_lib
from nseg_lib import config, networks
from nseg_lib.config import RefinerConfig, parse
from nseg_lib.files import sha256
from nseg_lib.networks.promptnet import build
from nseg_lib.networks.weights import PRETRAINED, save_weights, write_checksums
from nseg_lib.refine import Refiner

WEIGHTS = Path(nseg_lib.__file__).parent / "weights"


def checksums() -> dict[str, str]:
    lines = (WEIGHTS / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def cards() -> dict[str, str]:
    _, *parts = re.split(r"^## ", (WEIGHTS / "README.md").read_text(), flags=re.MULTILINE)
    return {part.splitlines()[0]: part for part in parts}


def test_the_checksums_are_those_of_the_networks_that_can_be_asked_for() -> None:
    files = [f"{name}.safetensors" for name in PRETRAINED]
    assert checksums() == {file: sha256(WEIGHTS / file) for file in files}


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_card_and_a_sidecar_say_what_the_network_is(name: str) -> None:
    card, refiner = cards()[name], Refiner.from_pretrained(name)
    parameters = sum(p.numel() for p in refiner.network.parameters())
    assert f"{parameters:,} parameters" in card
    assert refiner.config.name == name
    for row in ("takes", "gives", "network", "starts from", "trained on", "measured"):
        assert f"| {row} |" in card
    assert "Limits." in card
    made = json.loads((WEIGHTS / f"{name}.json").read_text())
    assert parse(made["config"], name, type(refiner.config)) == refiner.config


def test_what_is_not_ours_comes_with_its_licence() -> None:
    assert "Apache License 2.0" in cards()["lite0"]
    assert "Version 2.0, January 2004" in (WEIGHTS / "APACHE-2.0.txt").read_text()


def test_all_together_are_small() -> None:
    sizes = [path.stat().st_size for path in WEIGHTS.glob("*.safetensors")]
    assert max(sizes) < 8e6
    assert sum(sizes) < 24 * 2**20


# --- writing them ---------------------------------------------------------------------------------

TINY = config.load("tiny16-32_bce-dice", {"model.widths": [8]})


def test_weights_come_back_as_they_were_and_the_refiner_s_in_half(tmp_path: Path) -> None:
    paper, path = networks.build(TINY.model), tmp_path / "new" / "w.safetensors"
    save_weights(paper, TINY, path)
    stored = load_file(path)
    assert all((stored[key] == value).all() for key, value in paper.state_dict().items())
    recipe = config.load("lite0", kind=RefinerConfig)
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
