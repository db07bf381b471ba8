"""Profiles and the commands that they stand for; the code that a step's record depends on."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest

from nseg_lib import config
from nseg_lib.cli import overrides
from nseg_lib.config import ConfigError
from nseg_lib.parsing import dotted
from nseg_lib.provenance import PROJECT
from reproduction import ingredients, profiles
from reproduction.code import code_hashes

MODEL = "tiny16-32_bce-dice"


def test_the_projects_profiles_are_as_the_paper_and_the_course_need_them() -> None:
    known = {name: profiles.load(PROJECT, name) for name in profiles.available(PROJECT)}
    networks = {"half": config.names(), "paper": config.names()}
    networks |= dict.fromkeys(("sample", "smoke"), config.THE_EIGHT)
    assert {name: tuple(profile.models) for name, profile in known.items()} == networks
    paper, half = known["paper"], known["half"]
    assert (paper.settings, paper.seeds, paper.data.pictures) == ({}, [1, 2, 3], 1000)
    assert (half.scale, half.seeds, half.data) == (0.5, [42, 1, 2], paper.data)


def test_some_networks_and_seeds_of_a_profile_can_be_chosen() -> None:
    profile = profiles.load(PROJECT, "half", profiles.only(f"{MODEL}, res16-32_bce-dice", "2, 7"))
    assert (profile.models, profile.seeds) == ([MODEL, "res16-32_bce-dice"], [2, 7])
    assert profiles.only(None, None) == {}
    with pytest.raises(ConfigError, match=r"'seeds\.1': Input should be a valid integer"):
        profiles.load(PROJECT, "half", profiles.only(None, "2,x"))


SAMPLE = "{source: sample, folder: data/x, pictures: 8}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("modles: []", "unknown key 'modles'; allowed here: name, data,"),
        ("name: other", "'name': leave it out; a profile is named by its file"),
        ("models: [vgg]", "'models.0': no model 'vgg'; there are tiny16-32_bce-dice"),
        ("models: [res16-32_bce-dice, res16-32_bce-dice]", "res16-32_bce-dice is listed twice"),
        ("settings: {training.epoch: 3}", "unknown key 'training.epoch'; allowed here: epochs,"),
        ("settings: {training.seed: 5}", "'settings': 'training.seed': the key 'seeds' sets this"),
        ("settings: {a: 1, a: 2}", "key 'a' stands there twice"),
        ("own: {res16-32_bce-dice: {training.seed: 5}}", "'own': 'training.seed': the key 'seeds'"),
        ("seeds: 3", "'seeds': Input should be a valid list"),
        ("seeds: ['7']", "'seeds.0': Input should be a valid integer (got '7')"),
        ("seeds: [42, 42]", "'seeds': 42 is listed twice"),
        ("minutes: {train: 0}", "'minutes.train': Input should be greater than or equal to 1"),
        ("minutes: {chapters: 9}", "unknown key 'minutes.chapters'; allowed here: data, train"),
        ("photo: {}", "unknown key 'photo'; allowed here: name, data, photos"),
        ("data: {source: sample, folder: 'a{b', pictures: 8}", "'data.folder': a{b: a folder's"),
        ("- x", "expected a mapping of settings"),
    ],
)
def test_a_wrong_profile_is_one_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "workflow" / "profiles" / "toy.yml"
    path.parent.mkdir(parents=True)
    good = {"data": f"data: {SAMPLE}\n", "photo": f"photos: {SAMPLE}\n"}
    good.pop(line.partition(":")[0], None)
    path.write_text("".join(good.values()) * (line[0] != "-") + line)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        profiles.load(tmp_path, "toy")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_command_of_each_row_trains_just_that_row() -> None:
    for name in profiles.available(PROJECT):
        profile = profiles.load(PROJECT, name)
        for model, seed in itertools.product(profile.models, profile.seeds):
            words = profiles.train_command(profile, model, seed).split()
            assert words[:4] == ["OMP_NUM_THREADS=1", "nseg", "train", model]
            chosen = [words[i + 1] for i, w in enumerate(words) if w == "--set"]
            meant = config.load(model, overrides(chosen)).model_dump(mode="json")
            step = f"train/{model}_seed{seed}"
            assert dotted(meant) == ingredients.settings(PROJECT, profile, step)
            assert words[words.index("--out") + 1] == f"runs/{name}/{model}/seed{seed}"


# --- which code counts ----------------------------------------------------------------------------


def test_training_reaches_what_it_runs_and_no_more() -> None:
    made_from = ingredients.made_from(
        PROJECT, profiles.load(PROJECT, "half"), f"train/{MODEL}_seed42"
    )
    found = {Path(path).stem for path in made_from["code"]}
    assert {"unet", "losses", "recipes", "inputs", "config"} <= found
    assert found.isdisjoint({"people", "metrics", "refine", "promptnet", "recipe", "profiles"})


def test_a_hash_of_code_follows_names_and_ignores_words(tmp_path: Path) -> None:
    room = tmp_path / "nseg_lib"
    room.mkdir()
    start = [("nseg_lib.a", "f")]
    code = "from nseg_lib import b\n\n"
    code += 'def f(n: int) -> int:\n    """Why."""\n    return b.helper() + n\n'

    def hashes(text: str, other: str = "") -> dict[str, str]:
        (room / "a.py").write_text(text)
        (room / "b.py").write_text("X = 1\nY = 2\n\ndef helper():\n    return X\n" + other)
        os.utime(room / "a.py", ns=(0, hash(text) % 10**9))
        os.utime(room / "b.py", ns=(0, hash(other) % 10**9))
        return code_hashes(tmp_path, start)

    first = hashes(code)
    assert set(first) == {"nseg_lib/a.py", "nseg_lib/b.py"}
    assert hashes(code.replace("Why.", "Why not? # no")) == first, "a docstring"
    assert hashes(code.replace("n: int", "n: float")) == first, "an annotation"
    assert hashes(code + "\n\ndef g():\n    return b.Y\n", "\nY = 3\n") == first, "not reached"
    assert hashes(code, "\nX = 3\n")["nseg_lib/b.py"] != first["nseg_lib/b.py"]
    assert hashes(code.replace("+ n", "- n"))["nseg_lib/a.py"] != first["nseg_lib/a.py"]
