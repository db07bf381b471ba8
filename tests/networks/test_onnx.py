"""Networks as ONNX: PyTorch's answers at any size, and the documented example."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from skimage import data as photographs

from nseg_lib import Refiner
from nseg_lib import config as configuration
from nseg_lib.config import RefinerConfig
from nseg_lib.networks import onnx as exporting
from nseg_lib.networks.engine import OnnxEngine
from nseg_lib.networks.loading import load_weights
from nseg_lib.networks.promptnet import build
from nseg_lib.networks.weights import PRETRAINED, save_weights, shipped
from nseg_lib.prompt import Prompt

DOCS = Path(__file__).parents[2] / "docs" / "onnx.md"


@pytest.fixture(scope="module", params=[PRETRAINED[0], PRETRAINED[-1]])
def exported(request, tmp_path_factory):
    network, config = load_weights(shipped(request.param))
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    exporting.export(network, config, path)
    return network, config, path


def test_it_answers_as_pytorch_at_any_size(exported) -> None:
    network, config, path = exported
    channels, multiple = exporting.shape_of(network, config)
    session = onnxruntime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map["multiple"] == str(multiple)
    rng = torch.Generator().manual_seed(0)
    for height, width in ((2, 3), (5, 5), (1, 8)):
        x = torch.rand(1, channels, height * multiple, width * multiple, generator=rng)
        with torch.inference_mode():
            expected = network.eval()(x).numpy()
        (answer,) = session.run(None, {"input": x.numpy()})
        np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_the_documented_example_finds_the_object(exported, tmp_path, monkeypatch) -> None:
    _, config, path = exported
    if config.name != PRETRAINED[0]:
        pytest.skip("the example is of the package's own network")
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "lite1.onnx").symlink_to(path)
    Image.fromarray(photographs.astronaut()).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(code, found)
    mask = found["mask"]
    assert isinstance(mask, np.ndarray)
    assert mask.shape == (256, 320)
    assert mask[130, 153]
    assert 0.1 < mask.mean() < 0.6
    assert not mask[:4].any(), "her head begins below"


def changed(name: str, tmp_path: Path) -> Path:
    """A network of the package with other weights, as a training makes them."""
    network, config = load_weights(shipped(name))
    torch.manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            value *= 1 + 0.02 * torch.randn_like(value)
    path = tmp_path / "other.safetensors"
    save_weights(network, config, path)
    return path


@pytest.mark.parametrize("size", [(97, 131), (256, 320), (640, 20), (1, 1)])
def test_the_refiner_s_own_graphs_answer_as_pytorch(tmp_path, size) -> None:
    rng = np.random.default_rng(0)
    refiner = Refiner.load(changed(PRETRAINED[0], tmp_path))
    looks, edge = refiner.predictor.network, refiner.predictor.network.edge
    assert isinstance(looks, OnnxEngine)
    sides = [-(-side // 32) * 32 for side in size]
    x, z = rng.random((1, 6, *sides), np.float32), rng.random((2, 7, *size), np.float32)
    answers = looks.infer(x), edge.infer(z)
    refiner.network  # noqa: B018  from now on PyTorch answers
    torchs = refiner.predictor.network
    assert not isinstance(torchs, OnnxEngine)
    for answer, expected in zip(answers, (torchs.infer(x), torchs.edge.infer(z)), strict=True):
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, atol=2e-3)


def test_what_is_changed_in_a_refiner_s_network_shows() -> None:
    refiner = Refiner.from_pretrained()
    image, stroke = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
    before = refiner.logits(image, Prompt(stroke))
    with torch.no_grad():
        refiner.network.detail[-1].bias.add_(5)
    assert (refiner.logits(image, Prompt(stroke)) != before).any()


def test_a_refiner_of_another_shape_is_pytorch_s(tmp_path) -> None:
    recipe = configuration.load("lite0", {"network.detail": 8}, kind=RefinerConfig)
    save_weights(build(recipe), recipe, tmp_path / "w.safetensors")
    assert not isinstance(Refiner.load(tmp_path / "w.safetensors").predictor.network, OnnxEngine)


def test_broken_weights_are_named_at_once(tmp_path) -> None:
    network, config = load_weights(shipped(PRETRAINED[0]))
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    save_weights(network, config, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors: weights are not finite"):
        Refiner.load(tmp_path / "w.safetensors")
    arrays = load_file(shipped(PRETRAINED[0]))
    del arrays["narrow.weight"]
    about = {"nseg_config": config.model_dump_json()}
    save_file(arrays, tmp_path / "w.safetensors", about)
    with pytest.raises(ValueError, match=r"'narrow\.weight' is missing in the file"):
        Refiner.load(tmp_path / "w.safetensors")
