"""The commands that use a network: refine, draw, export and convert."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import contents, nseg, refused
from PIL import Image

from nseg_lib import Refiner, limits
from nseg_lib.data import images as pictures
from nseg_lib.data import masks, outputs
from nseg_lib.networks.weights import shipped


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder: photo.jpg, stroke.png, wall.png (background), last.png (a mask), and files
    with which something is wrong."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 90, (40, 60, 3), np.uint8)
    pixels[10:30, 15:45] += 150
    Image.fromarray(pixels).save("photo.jpg", quality=95)
    planes = {name: np.zeros((40, 60), bool) for name in ("stroke", "wall", "last", "none")}
    for name, rows in (("stroke", slice(18, 22)), ("wall", slice(2, 4)), ("last", slice(10, 30))):
        planes[name][rows, 20:40] = True
    for name, plane in (planes | {"small": np.ones((5, 60), bool)}).items():
        outputs.write_png(Path(f"{name}.png"), plane)
    Path("folder").mkdir()
    Path("alias.png").symlink_to("stroke.png")
    Path("loop.png").symlink_to("loop.png")
    drawing = {"format": "nseg strokes 1", "width": 60, "height": 40}
    line = {"kind": "object", "points": [[20, 20, 2], [40, 20, 2]]}
    Path("line.json").write_text(json.dumps(drawing | {"strokes": [line]}))
    wide = coco_of({"segmentation": {"size": [5, 5], "counts": [0, 25]}, "area": 25})
    Path("wide.json").write_text(json.dumps(wide))
    tall = coco_of({"segmentation": [[1, 1, 30, 1, 30, 70]]}, height=80)
    Path("tall.json").write_text(json.dumps(tall))
    labels = planes["last"] * np.uint8(7)
    labels[32:38, 2:20] = 9
    Image.fromarray(labels).save("labels.png")
    red = np.uint8([255, 0, 0])
    Image.fromarray(np.where(planes["stroke"][..., None], red, pixels)).save("painted.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation
    Image.open("photo.jpg").save("turned.jpg", exif=exif)
    huge = bytearray(Path("stroke.png").read_bytes())
    huge[16:24] = (16_000).to_bytes(4, "big") + (15_900).to_bytes(4, "big")
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    Path("huge.png").write_bytes(huge)
    return tmp_path


def coco_of(record: dict[str, object], **image: int) -> dict[str, object]:
    """A COCO file's content with one object on photo.jpg."""
    return {
        "images": [{"id": 1, "file_name": "photo.jpg", "width": 60, "height": 40} | image],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0} | record],
        "categories": [{"id": 1, "name": "patch"}],
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("photo.jpg stroke.png -o photo.jpg", "--out photo.jpg: would overwrite photo.jpg"),
        ("photo.jpg stroke.png -o ./stroke.png", "--out stroke.png: would overwrite stroke.png"),
        ("photo.jpg stroke.png -o alias.png", "--out alias.png: would overwrite stroke.png"),
        ("photo.jpg stroke.png -b wall.png -o wall.png", "would overwrite wall.png"),
        ("photo.jpg stroke.png -o x.png --overlay x.png", "--overlay x.png: would overwrite x.png"),
        ("photo.jpg stroke.png -m last.png --overlay last.png", "would overwrite last.png"),
        ("photo.jpg stroke.png -o mask.jpg", "--out mask.jpg: only PNG is written"),
        ("photo.jpg stroke.png -o x.png --overlay x", "--overlay x: only PNG is written"),
        ("photo.jpg stroke.png -o folder", "--out folder: is a folder"),
        ("photo.jpg stroke.png -o gone/x.png", "--out gone/x.png: the folder gone does not exist"),
        ("photo.jpg stroke.png -o stroke.png/x.png", "the folder stroke.png is no folder"),
        ("folder stroke.png", "folder: is a folder, not a picture"),
        ("photo.jpg folder", "folder: is a folder, not a picture"),
        ("photo.jpg stroke.png -c folder", "folder: is a folder, not a checkpoint"),
        ("photo.jpg stroke.png -c tiny", "tiny: no such checkpoint; a file, or one of lite1, "),
        ("photo.jpg none.png -m last.png", "none.png: nothing is brushed in the picture, and an"),
        ("photo.jpg stroke.png -m labels.png", "labels.png: holds the values 0, 7, 9 (--label"),
        ("photo.jpg stroke.png -b stroke.png", "covers all of the stroke; is it inverted?"),
        ("photo.jpg stroke.png -m small.png", "mask is 60x5 pixels, but photo.jpg is 60x40 pixels"),
        ("turned.jpg stroke.png", "turned.jpg is 40x60 pixels (turned as its EXIF says); both"),
        ("huge.png stroke.png", "huge.png: too large: 16000x15900 pixels, at most 250,000,000"),
        ("photo.jpg painted.jpg", "painted.jpg: shows photo.jpg itself"),
        ("photo.jpg stroke.png -m painted.jpg", "painted.jpg: shows photo.jpg itself"),
        ("photo.jpg stroke.png --label 7", "--label 7: says which object of --mask or --coco"),
        ("photo.jpg stroke.png -b line.json", "line.json: holds no stroke on the background"),
        (
            "photo.jpg --coco wide.json",
            "annotation 1: RLE of the wrong size ([5, 5], not [40, 60])",
        ),
        ("photo.jpg --coco tall.json", "photo.jpg: the picture is 60x40, its record says 60x80; "),
        ("loop.png stroke.png", "loop.png"),
        ("photo.jpg --coco line.json", "line.json: missing list (key 'images' must hold a list"),
        ("photo.jpg --coco last.png", "last.png: not valid JSON: it is not UTF-8"),
        ("photo.jpg stroke.png --device mps", "device must be cpu, cuda or cuda:N, got 'mps'"),
        ("photo.jpg", "photo.jpg: say what is meant: a stroke, --click, --box, --strokes or "),
        ("photo.jpg --box 1,2,3", "--box 1,2,3: left,top,right,bottom is needed"),
        ("photo.jpg --box 9,2,9,30", "--box 9,2,9,30: left,top,right,bottom must hold a part of"),
        ("photo.jpg stroke.png --box 0,0,9,9", "nothing is brushed inside the box"),
        ("photo.jpg --box 0,0,9,9 -c tiny16-32_bce-dice", "sees object strokes alone"),
        ("photo.jpg --click 9,9 --extent all", "--extent all: must be part, object, whole"),
        ("photo.jpg --click 60,20", "--click 60,20: is not in the picture, 60x40 pixels"),
        ("photo.jpg --click 6", "--click 6: x,y is needed, in pixels of the picture"),
        ("photo.jpg --click nan,1", "--click nan,1: x,y is needed"),
        ("photo.jpg stroke.png --batch folder", "--batch takes a folder of photos and --out, and "),
        ("photo.jpg --batch folder", "--batch needs --out"),
    ],
)
@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_what_refine_refuses_it_names_and_writes_nothing(
    desk: Path, arguments: str, says: str
) -> None:
    assert says in refused("refine", *arguments.split())


def test_refine_names_its_mask_after_the_photo_and_may_write_over_the_mask_it_corrects(
    desk: Path,
) -> None:
    there = set(contents(desk))
    assert not nseg("refine", "photo.jpg", "stroke.png").stderr
    written = {"photo_mask.png", "photo_mask_overlay.png"}
    assert set(contents(desk)) == there | written
    nseg("refine", "photo.jpg", "stroke.png", "-b", "wall.png", "-m", "photo_mask.png")
    assert set(contents(desk)) == there | written


@pytest.mark.parametrize("shipped", [False, True])
def test_refine_writes_the_networks_mask_and_an_overlay(
    desk: Path, trained: Path, shipped: bool
) -> None:
    checkpoint = "tiny16-32_bce-dice" if shipped else trained
    nseg("refine", "photo.jpg", "stroke.png", "-c", checkpoint, "-o", "out.png")
    photo = pictures.read_image(desk / "photo.jpg")
    stroke = masks.read_mask(desk / "stroke.png")
    own = Refiner.from_pretrained(checkpoint) if shipped else Refiner.load(checkpoint)
    mask = np.asarray(Image.open("out.png"))
    assert (mask == 255 * own.refine(photo, stroke)).all()
    overlay = np.asarray(Image.open("out_overlay.png"))
    assert overlay.shape == photo.shape
    assert (overlay != photo).any()


def test_an_empty_plane_counts_as_none_and_a_label_as_its_mask(desk: Path) -> None:
    command = ("refine", "photo.jpg", "stroke.png")
    nseg(*command, "-o", "plain.png")
    nseg(*command, "-o", "same.png", "-m", "none.png", "-b", "none.png")
    assert (desk / "same.png").read_bytes() == (desk / "plain.png").read_bytes()
    nseg(*command, "-o", "paper.png", "-m", "none.png", "-c", "tiny16-32_bce-dice")
    nseg(*command, "-m", "last.png", "-o", "one.png")
    nseg(*command, "-m", "labels.png", "--label", 7, "-o", "two.png")
    assert (desk / "one.png").read_bytes() == (desk / "two.png").read_bytes()


def test_the_canvas_s_strokes_on_the_background_can_be_a_file_of_their_own(desk: Path) -> None:
    drawing = json.loads(Path("line.json").read_text())
    drawing["strokes"].append({"kind": "background", "points": [[20, 3, 1], [39, 3, 1]]})
    Path("both.json").write_text(json.dumps(drawing))
    nseg("refine", "photo.jpg", "stroke.png", "-b", "both.json", "-o", "one.png")
    wall = np.zeros((40, 60), bool)
    wall[2:5, 19:41] = True
    outputs.write_png(Path("wall.png"), wall)
    nseg("refine", "photo.jpg", "stroke.png", "-b", "wall.png", "-o", "two.png")
    assert (mask_of("one.png") != mask_of("two.png")).mean() < 0.02
    assert not (mask_of("one.png") & wall)[3, 20:40].any()


def test_a_drawing_of_the_canvas_becomes_the_mask_that_the_canvas_made(tmp_path: Path) -> None:
    """Each kind of prompt, then corrections: each mask corrects the one before."""
    from skimage import data as photographs

    from nseg_lib.widget import StrokeCanvas

    Image.fromarray(photographs.chelsea()[:200, :300]).save(tmp_path / "cat.png")
    box = {"kind": "box", "points": [[60, 30, 3], [250, 190, 3]]}
    line, click, more = (
        {"kind": "object", "points": points}
        for points in ([[100, 90, 3], [180, 120, 3]], [[120, 70, 3]], [[210, 60, 4], [220, 80, 4]])
    )
    away = {"kind": "background", "points": [[90, 160, 5], [140, 170, 5]], "correction": True}
    erase = {"kind": "erase", "points": [[150, 108, 4]]}
    canvas = StrokeCanvas(tmp_path / "cat.png", Refiner.from_pretrained())
    drawings = [[line], [line, box], [line, box, away]]
    drawings += [[line, box, away, more | {"correction": True}]]
    drawings += [[click, line, box], [click, line, box, erase]]  # three at once, then one
    for strokes in drawings:
        canvas.strokes = strokes
        path = canvas.save(tmp_path / "drawn.json", "strokes")
        nseg("refine", tmp_path / "cat.png", "--strokes", path, "-o", tmp_path / "out.png")
        assert ((np.asarray(Image.open(tmp_path / "out.png")) > 0) == canvas.mask).all()
    again = StrokeCanvas(tmp_path / "cat.png", canvas.refiner)
    again.load_strokes(path)
    assert (again.mask == canvas.mask).all(), "opened again in the canvas"
    content = json.loads(path.read_text())
    assert content["steps"] == [3, 4]
    for wrong in ([4, 3], [5], ["3", 4], 4):
        path.write_text(json.dumps(content | {"steps": wrong}))
        said = nseg("refine", tmp_path / "cat.png", path, "-o", tmp_path / "out.png", status=2)
        assert "drawn.json: 'steps' must be whole numbers that rise to the 4 strokes" in said.stderr


def test_an_empty_answer_and_an_empty_plane_are_told(desk: Path) -> None:
    words = ["--box", "0,0,1,1", "-m", "none.png", "-o", "out.png"]
    said = nseg("refine", "photo.jpg", *words).stderr.splitlines()
    assert said[0] == "nseg: none.png: nothing is painted, so it is left aside"
    assert mask_of("out.png").any() or "out.png: the mask is empty" in said[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("photo.jpg --box=-3,-3,30,99", "--box -3,-3,30,99: reaches beyond the picture, 60x40"),
        ("flat.png stroke.png", "flat.png: is of one colour all over"),
        ("photo.jpg most.png", "most.png: covers 75% of the picture; is it inverted?"),
        ("photo.jpg half.png", "half.png: 30x20 pixels, scaled to photo.jpg's 60x40"),
        ("flat.png half.json", "half.json: drawn on 30x20 pixels, scaled to the picture's 60x40"),
        ("photo.jpg --coco c.json", "c.json: annotation 1: 30x20 pixels, scaled to photo.jpg's"),
        ("photo.jpg --coco r.json", "RLE of another size ([20, 30]); scaled to its picture's [40,"),
    ],
)
def test_what_is_put_right_is_told(desk: Path, words: str, says: str) -> None:
    Image.new("RGBA", (60, 40)).save("flat.png")  # wholly clear
    Image.open("stroke.png").resize((30, 20)).save("half.png")
    hole = np.ones((40, 60), bool)
    hole[10:30, 15:45] = False
    outputs.write_png(Path("most.png"), hole)
    drawing = json.loads(Path("line.json").read_text()) | {"width": 30, "height": 20}
    Path("half.json").write_text(json.dumps(drawing))
    rle = {"segmentation": {"size": [20, 30], "counts": [0, 300, 300]}}
    Path("r.json").write_text(json.dumps(coco_of(rle)))
    Path("c.json").write_text(json.dumps(coco_of(rle, width=30, height=20)))
    assert says in nseg("refine", *words.split(), "-o", "out.png").stderr
    assert mask_of("out.png").shape == (40, 60)


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes are Unix's")
def test_a_name_of_any_bytes_is_taken_and_shown_in_one_line(desk: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.jpg")
    shutil.copy("photo.jpg", name)
    said = nseg("refine", name, "stroke.png").stdout
    assert len(said.splitlines()) == 2, said
    nseg("refine", name, "stroke.png", "-o", "out.png")
    assert mask_of("out.png").any()
    assert "\\n.png: no such picture" in refused("refine", name.replace("jpg", "png"), "stroke.png")


def test_cuda_that_is_not_here_is_refused(
    desk: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refine, train = ("refine", "photo.jpg", "stroke.png"), ("train-refiner", "--data", tiny_data)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (refine, train):
        assert "device cuda is not available here" in refused(*command, "--device", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "device cuda:2 is not" in refused(*refine, "--device=cuda:2")
    assert "--device must be cpu or cuda, got 'cuda:1'" in refused(*train, "--device=cuda:1")


def test_the_paper_s_networks_get_no_larger_pictures_than_memory_holds(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_RECORD_PIXELS", 2399)
    said = refused("refine", "photo.jpg", "stroke.png", "-c", "tiny16-32_bce-dice")
    assert "photo.jpg: 2,400 pixels, at most 2,399 for tiny16-32_bce-dice" in said
    nseg("refine", "photo.jpg", "stroke.png")


def mask_of(path: str) -> np.ndarray:
    return np.asarray(Image.open(path)) > 0


def test_clicks_strokes_and_another_tool_s_mask_say_what_is_meant(desk: Path) -> None:
    """Each kind alone finds the patch, and all together do."""
    box = {"kind": "box", "points": [[14, 9, 1], [46, 31, 1]]}
    drawing = json.loads(Path("line.json").read_text())
    Path("boxed.json").write_text(json.dumps(drawing | {"strokes": [box]}))
    square = [16, 11, 44, 11, 44, 29, 16, 29]
    Path("coco.json").write_text(json.dumps(coco_of({"segmentation": [square]})))
    patch = np.zeros((40, 60), bool)
    patch[10:30, 15:45] = True
    every = [["--click", "30,20"], ["--strokes", "line.json"], ["--coco", "coco.json"]]
    every += [["--box", "14,9,46,31"], ["boxed.json"]]
    for words in (*every, [word for each in every for word in each] + ["--click", "20,12"]):
        nseg("refine", "photo.jpg", *words, "-o", "out.png")
        mask = mask_of("out.png")
        assert "boxed.json" not in words or not mask[:, 46:].any()
        assert (mask & patch).sum() / (mask | patch).sum() > 0.8, words


def test_export_writes_over_no_weights_and_no_picture(desk: Path) -> None:
    shutil.copy(shipped("tiny16-32_bce-dice"), "w.safetensors")
    for name in ("w.safetensors", "photo.jpg", "folder", "."):
        said = refused("export", "--onnx", name, "-c", "w.safetensors")
        assert f"--onnx {name}: a file whose name ends in .onnx" in said


def test_convert_writes_what_other_tools_read(desk: Path) -> None:
    record = {"segmentation": [[15, 10, 35, 10, 35, 20, 15, 20]], "area": 200}
    Path("annotations.json").write_text(json.dumps(coco_of(record)))
    words = ["convert", "annotations.json", "-o", "yolo", "--to"]
    assert "2 files in yolo" in nseg(*words, "yolo").stdout
    assert Path("yolo/labels/photo.txt").read_text().startswith("0 0.25 0.25 ")
    assert "cannot write 'svg'" in refused(*words, "svg")
    same = ["convert", "annotations.json", "--to", "coco", "-o", "."]
    assert "would overwrite annotations.json" in refused(*same)
    Path("annotations.json").write_text("[]")
    assert "key 'images' must hold a list of records" in refused(*words, "yolo")


@pytest.mark.parametrize(
    "command",
    ["demo", "convert gone.json --to report", "convert gone.json --to yolo"],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(
    desk: Path, command: str
) -> None:
    """Neither the annotations nor npm's files are asked for."""
    for out in ("photo.jpg", "photo.jpg/more"):
        assert "cannot be written: photo.jpg is no folder" in refused(*command.split(), "-o", out)
    assert "cannot write 'svg'; one of" in refused("convert", "gone.json", "--to=svg", "-o=x")


def test_refine_batch_prints_what_changed_and_fails_if_a_mask_did(desk: Path) -> None:
    for folder in ("photos", "rough"):
        Path(folder).mkdir()
    shutil.copy("photo.jpg", "photos/a.jpg")
    shutil.copy("last.png", "rough/a.png")
    words = ["refine", "photos", "--batch", "rough", "-o", "out", "-c", "tiny16-32_bce-dice"]
    assert "1 masks in out, each with a row in out/refined.csv; 0 failed" in nseg(*words).stdout
    assert mask_of("out/a.png").any()
    shutil.copy("none.png", "rough/a_2.png")
    assert "a_2.png: nothing is painted" in nseg(*words, status=1).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such picture"),
        (["stroke.json"], "stroke.json: "),
        ([".", "-c", "tiny"], "tiny: no such checkpoint"),
        (["photo.jpg", "--out", "a.json"], "--out is for a folder of pictures, not for photo.jpg"),
        (["--category", "cat"], "--category is for a folder of pictures, not for an empty canvas"),
        (["folder", "--out", "photo.jpg/x.json"], "photo.jpg is no folder; --out takes another pl"),
        (["folder", "--take", "line.json"], "line.json: missing list (key 'images' must hold a"),
    ],
)
def test_draw_says_what_is_wrong_before_it_opens_a_page(
    desk: Path, words: list[str], said: str
) -> None:
    (desk / "stroke.json").write_text("{}")
    shutil.copy("photo.jpg", "folder")
    assert said in refused("draw", *words, "--no-browser")


THIN, WHOLE = [[1, 1, 1.1, 1, 1, 1.1]], {"size": [40, 60], "counts": [0, 2400]}


@pytest.mark.parametrize(
    ("masks", "crowd", "says"),
    [
        ([THIN], 0, "nothing is written: none of its 1 annotations has a pixel"),
        ([WHOLE | {"counts": [2400]}], 0, "its 1 annotations is the mask of a single object"),
        ([WHOLE], 1, "its 1 annotations is the mask of a single object"),
        ([], 0, "its 0 annotations is the mask of a single object"),
        ([WHOLE, THIN], 0, "1 of 2 objects have no pixel, and so no file"),
    ],
)
def test_convert_says_why_nothing_is_written(
    desk: Path, masks: list[Any], crowd: int, says: str
) -> None:
    content: dict[str, Any] = coco_of({})
    (record,) = content["annotations"]
    content["annotations"] = [
        record | {"id": n, "iscrowd": crowd, "segmentation": each} for n, each in enumerate(masks)
    ]
    Path("c.json").write_text(json.dumps(content))
    done = nseg("convert", "c.json", "--to", "cutouts", "-o", "out", status=len(masks) < 2)
    assert says in done.stderr
    assert Path("out").exists() == (len(masks) == 2)
    if not masks:  # a page of nothing is no result either
        nseg("convert", "c.json", "--to", "report", "-o", "out", status=1)
        assert not Path("out").exists()
        assert "c.json: holds no annotation of photo.jpg" in refused(
            "refine", "photo.jpg", "--coco", "c.json"
        )
