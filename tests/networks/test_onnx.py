"""Networks as ONNX files: PyTorch's answers at any size, and the documented example."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from nseg_lib.networks import onnx as exporting
from nseg_lib.networks.loading import load_weights
from nseg_lib.networks.weights import PRETRAINED, shipped

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
