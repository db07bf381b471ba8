"""Configuration: the shipped files are the paper's settings, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from nseg_lib import config, parsing
from nseg_lib.config import ConfigError, RefinerConfig


@pytest.mark.parametrize("name", config.names())
def test_every_shipped_file_is_what_its_name_says(name: str) -> None:
    loaded = config.load(name)
    family, losses = name.split("_")
    assert loaded.name == name
    model = loaded.model
    assert family == f"{model.architecture}{model.widths[0]}-{model.widths[-1]}"
    weights = (loaded.loss.bce, loaded.loss.dice, loaded.loss.boundary)
    third = "bound" in losses or losses.endswith("kervadec")
    assert weights == ((0.4, 0.4, 0.2) if third else (0.5, 0.5, 0.0))


@pytest.mark.parametrize(
    ("ablation", "base", "differs"),
    [
        ("tiny16-128_bce-dice-rgb", "tiny16-128_bce-dice", {"model.inputs": "rgb"}),
        (
            "tiny16-128_bce-dice-kervadec",
            "tiny16-128_bce-dice-bound",
            {"loss.boundary_kind": "kervadec"},
        ),
        (
            "tiny16-128_bce-dice-frozen",
            "tiny16-128_bce-dice",
            {"data.redraw": False, "training.patience": 15},
        ),
        (
            "blockres16-128_bce-dice-bound",
            "tiny16-128_bce-dice-bound",
            {"model.architecture": "blockres"},
        ),
        (
            "res16-128_bce-dice-bound-bf16",
            "res16-128_bce-dice-bound",
            {"training.precision": "bf16-mixed"},
        ),
    ],
)
def test_an_ablation_differs_from_its_base_in_what_it_is_named_after(
    ablation: str, base: str, differs: dict[str, object]
) -> None:
    assert ablation not in config.THE_EIGHT
    changed = config.load(base, {"name": ablation, **differs})
    assert config.load(ablation) == changed


def test_the_defaults_are_the_papers_protocol() -> None:
    loaded = config.load("tiny16-32_bce-dice")
    training = loaded.training
    assert (training.epochs, training.patience, training.batch_size) == (50, 5, 1)
    assert training.learning_rate == 1e-3
    assert (loaded.data.recipe, loaded.data.scale, loaded.data.redraw) == ("erode", 1.0, True)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("training.epoch", 3, "unknown key 'training.epoch'; allowed here: epochs, patience"),
        ("colour", 1, "unknown key 'colour'; allowed here: name, model"),
        ("training.", 3, "unknown key 'training.'; allowed here: epochs"),
        ("training.epochs", "3", "'training.epochs': Input should be a valid integer (got '3')"),
        ("training.epochs", 0, "'training.epochs': Input should be greater than or equal to 1"),
        ("training.learning_rate", -1.0, "Input should be greater than 0"),
        ("training.learning_rate", float("inf"), "Input should be a finite"),
        ("loss.bce", float("nan"), "'loss.bce': Input should be a finite number (got nan)"),
        ("model.widths", [16, 20], "'model.widths.1': Input should be a multiple of 8 (got 20)"),
        ("model.widths", [], "'model.widths': List should have at least 1 item"),
        ("model.widths", [16, 1024], "'model.widths.1': Input should be less than or equal to 512"),
        ("training.batch_size", 10**9, "'training.batch_size': Input should be less than or equal"),
        ("data.recipe", "doodle", "'data.recipe': unknown stroke recipe 'doodle'; one of: erode,"),
        ("data.scale", 2, "'data.scale': Input should be less than or equal to 1"),
        ("loss", {"bce": 0, "dice": 0}, "at least one of bce, dice and boundary must be above 0"),
        ("name", "../up", "'name': String should match pattern"),
        ("name", "x" * 10**6, "'name': String should have at most 100 characters"),
        ("x" * 10**6, 1, "unknown key 'xxxx"),
        ("training.seed", [[["x"] * 99] * 99] * 99, "'training.seed': Input should be a valid int"),
        ("name.first", "x", "'name.first' cannot be set, 'name' is no section"),
    ],
)
def test_a_mistake_is_one_line_with_key_file_and_what_is_allowed(
    key: str, value: object, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load("tiny16-32_bce-dice", {key: value})
    message = str(caught.value)
    assert "tiny16-32_bce-dice.yml" in message
    assert says in message
    assert "\n" not in message
    assert len(message) < 700


MODEL = "model: {architecture: tiny, widths: [8]}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\n", "'model': Field required"),
        (f"nmae: x\n{MODEL}", "unknown key 'nmae'; allowed here: name, model"),
        ("name: x\nmodel: {architecture: a, width: [8]}\n", "unknown key 'model.width'; allowed"),
        ("- 1\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("name: [\n", "not valid YAML"),
        (f"name: x\n{MODEL}'': 3\n", "unknown key ''; allowed"),
        (f"name: x\n{MODEL}1: 3\n", "unknown key '1'; allowed"),
        ("name: x\nname: y\n", "key 'name' stands there twice, again in line 2"),
        ("model: {widths: [8], widths: [16]}\n", "key 'widths' stands there twice"),
        ("name: &a x\nmodel: *a\n", r"an alias \(\*name\) is not allowed"),
        ("name: 2026-13-45\n", "not valid YAML: month must be in"),
        ("name: " + 5000 * "9", "not valid YAML: Exceeds the limit"),
        ("name: " + 20_000 * "[", "not valid YAML: nested too deeply"),
        ("name: " + 100_000 * "x", "too long; at most 65,536 bytes are read"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1.0e-3", "0.001", ".001"])
def test_a_number_may_be_written_with_an_exponent(text: str) -> None:
    value = parsing.read_yaml(text, "here")
    loaded = config.load("tiny16-32_bce-dice", {"training.learning_rate": value})
    assert loaded.training.learning_rate == 0.001
    assert parsing.read_yaml("e3", "here") == "e3"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no model named 'tiny'; .*tiny16-32_bce-dice"):
        config.load("tiny")
    with pytest.raises(ConfigError, match="no such configuration file"):
        config.load("nowhere.yml")


def test_a_configuration_survives_being_written_and_read() -> None:
    loaded = config.load("attn32-256_bce-dice-bound", {"training.seed": 3, "data.scale": 0.5})
    assert config.parse(loaded.model_dump(), "a checkpoint") == loaded


def test_the_refiner_s_recipe_goes_through_the_same_door(tmp_path: Path) -> None:
    loaded = config.load("lite0", {"training.steps": 5}, kind=RefinerConfig)
    assert loaded.training.steps == 5
    assert config.names(RefinerConfig) == ("lite0", "lite1")
    path = tmp_path / "mine.yml"
    path.write_text("name: mine\ntraining: {step: 5}\n")
    with pytest.raises(ConfigError, match=r"mine\.yml: unknown key 'training\.step'; allowed here"):
        config.load(path, kind=RefinerConfig)
    with pytest.raises(ConfigError, match=r"no model named 'tiny16-32_bce-dice'.* one of: lite0"):
        config.load("tiny16-32_bce-dice", kind=RefinerConfig)
