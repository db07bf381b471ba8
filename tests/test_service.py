"""``nseg serve``, driven as a real server: pictures, prompts, mistakes, limits and strangers."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from jsonschema import Draft202012Validator
from PIL import Image
from skimage import data as photographs

from nseg_lib import service
from nseg_lib.data import formats
from nseg_lib.data.coco import annotation_mask, rle_to_mask
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.refine import Refiner
from nseg_lib.widget.answers import mask_of

DOCS = Path(__file__).parents[1] / "docs"
PICTURE = photographs.astronaut()


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running service, ended as a terminal ends it."""
    command = [sys.executable, "-m", "nseg_lib.cli", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url, token = server.stdout.readline(), server.stdout.readline()
            pattern = rf"serving {PRETRAINED[0]} at (http://127\.0\.0\.1:\d+/v1) "
            found = re.search(pattern, url)
            assert found, url
            SESSION.headers["Authorization"] = f"Bearer {token.removeprefix('token: ').strip()}"
            yield found[1]
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 143
        finally:
            server.kill()  # after a failure too: leaving the block waits for its end


SESSION = requests.Session()


@pytest.fixture(scope="module")
def photo(address: str) -> str:
    sent = SESSION.post(f"{address}/pictures", png(PICTURE)).json()
    assert (sent["width"], sent["height"]) == (512, 512)
    assert SESSION.post(f"{address}/pictures", png(PICTURE)).json() == sent
    return f"{address}/pictures/{sent['picture']}"


def test_prompts_of_every_kind_give_the_canvas_s_masks(address: str, photo: str) -> None:
    refiner = Refiner.from_pretrained()
    box, line = [150, 5, 310, 200], {"kind": "object", "points": [[230, 60, 3], [230, 130, 3]]}
    first = SESSION.post(photo, json={"strokes": [line], "box": box}).json()
    corners = {"kind": "box", "points": [[150, 5, 1], [310, 200, 1]]}
    expected, *_ = mask_of(refiner, PICTURE, [line, corners])
    mask = rle_to_mask(first["mask"])
    assert (mask == expected).all()
    assert first["area"] == mask.sum() > 5000
    left, top, width, height = first["bbox"]
    assert mask[top : top + height, left : left + width].sum() == mask.sum()

    prompt = {"clicks": [[230, 90]], "background": [[60, 90]], "mask": first["mask"]}
    forms = {form: SESSION.post(photo, json=prompt | {"answer": form}).json() for form in
             ("rle", "polygons", "png")}  # fmt: skip
    mask = rle_to_mask(forms["rle"]["mask"])
    assert not mask[90, 60]
    drawn = Image.open(io.BytesIO(base64.b64decode(forms["png"]["mask"])))
    assert ((np.asarray(drawn) > 0) == mask).all()
    polygons = annotation_mask({"segmentation": forms["polygons"]["mask"]}, 512, 512)
    assert (polygons & ~mask).sum() < 0.02 * mask.sum(), "but for filled holes"
    alone = SESSION.post(photo, json={"box": box}).json()
    assert "box alone" in alone["note"]
    areas = [SESSION.post(photo, json={"strokes": [line], "extent": extent}).json()["area"]
             for extent in ("part", "object", "whole")]  # fmt: skip
    assert areas[0] < areas[1] < areas[2]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", "say what is meant: clicks, strokes or a box"),
        ('{"click": [[1, 2]]}', "unknown key 'click'; allowed here: clicks, strokes, box"),
        ('{"clicks": [[1, 2]], "clicks": []}', "key 'clicks' stands there twice"),
        ('{"clicks": [[1, 2]], "extent": "all"}', "'extent': Input should be 'part', 'object' or"),
        ('{"clicks": [[1]]}', "'clicks.0.1': Field required"),
        ('{"clicks": [["1", 2]]}', "'clicks.0.0': Input should be a valid number (got '1')"),
        ('{"clicks": [[NaN, 2]]}', "'clicks.0.0': Input should be a finite number"),
        ('{"strokes": [{"kind": "object", "points": [[-99, 2, 3]]}]}', "cover no pixel of the"),
        ('{"strokes": [{"kind": "erase", "points": [[9, 2, 3]]}]}', "cover no pixel of the"),
        ('{"strokes": [{"kind": "box", "points": [[9, 9, 1], [9.5, 9, 1]]}]}', "cover no pixel"),
        ('{"clicks": [[1e9, 2]]}', "clicks: [1000000000.0, 2.0] is not in the picture, 512x512"),
        ('{"clicks": [[1, 2]], "background": [[-1, 2]]}', "background: [-1.0, 2.0] is not in the"),
        ('{"box": [600, 9, 700, 99]}', "must hold a part of the picture, 512x512 pixels, left"),
        ('{"box": [9, 9, 9, 99]}', "must hold a part of the picture, 512x512 pixels, left before"),
        ('{"strokes": [{"kind": "spray"}]}', "kind is 'spray', not erase, object"),
        ('{"clicks": [[1, 2]], "mask": {"size": [9, 9], "counts": [81]}}', "mask: size [9, 9]"),
        ('{"clicks": [[1, 2]], "mask": {"size": [1e9, 9]}}', "mask: RLE: size is"),
        ('{"clicks": [[1, 2]], "answer": "svg"}', "'answer': Input should be 'rle'"),
    ],
)
def test_a_mistake_is_one_line(photo: str, body: str, says: str) -> None:
    answer = SESSION.post(photo, body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_what_is_no_picture_and_what_is_not_there(address: str) -> None:
    broken = SESSION.post(f"{address}/pictures", b"broken")
    assert (broken.status_code, "not a readable picture" in broken.json()["error"]) == (400, True)
    assert "the file is empty" in SESSION.post(f"{address}/pictures", b"").json()["error"]
    form = SESSION.post(f"{address}/pictures", files={"file": b"x"})
    assert (form.status_code, "itself, and no form" in form.json()["error"]) == (400, True)
    file = io.BytesIO()
    first, second = Image.fromarray(PICTURE[:9, :9]), Image.fromarray(PICTURE[9:18, :9])
    first.save(file, "GIF", save_all=True, append_images=[second])
    moving = SESSION.post(f"{address}/pictures", file.getvalue()).json()
    assert moving["note"] == "picture: several frames (2): the first is read"
    small = SESSION.post(f"{address}/pictures", png(PICTURE[:9, :9])).json()["picture"]
    assert SESSION.delete(f"{address}/pictures/{small}").json() == {}
    gone = SESSION.post(f"{address}/pictures/{small}", json={"clicks": [[1, 1]]})
    assert (gone.status_code, gone.json()["error"]) == (
        404, "no such picture, or no longer: send it again"
    )  # fmt: skip
    for path in ("x", "../etc/passwd", "pictures/..%2f..%2fx", "pictures/%00"):
        assert SESSION.post(f"{address}/{path}").status_code in (404, 405)
    long = SESSION.post(f"{address}/pictures", b"a" * (2**26 + 1))
    assert (long.status_code, long.json()["error"]) == (
        413, "67,108,865 bytes are too many, at most 67,108,864"
    )  # fmt: skip
    assert SESSION.get(address).json()["model"] == PRETRAINED[0], "it still answers"


def test_a_picture_that_goes_while_prompts_wait_is_answered_or_said_to_be_gone(
    address: str,
) -> None:
    sent = SESSION.post(f"{address}/pictures", png(PICTURE[::-1])).json()["picture"]
    url, headers = f"{address}/pictures/{sent}", dict(SESSION.headers)

    def ask(_: int) -> int:
        return requests.post(url, json={"clicks": [[250, 250]]}, headers=headers).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = pool.map(ask, range(6))
        time.sleep(0.3)
        assert SESSION.delete(url).status_code == 200
        assert set(statuses) <= {200, 404}


def test_a_taken_port_is_named(address: str) -> None:
    port = address.split(":")[2].partition("/")[0]
    command = [sys.executable, "-m", "nseg_lib.cli", "serve", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port}: Address already in use" in done.stderr


def test_nobody_comes_in_without_the_token_or_from_a_page(address: str, photo: str) -> None:
    for url in (address, f"{address}/schema", f"{address}/pictures", photo, f"{address}/x"):
        for method in ("GET", "POST", "DELETE", "PUT"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "nseg=x"}):
                assert requests.request(method, url, headers=headers).status_code == 403
            for origin in ("http://evil.example", "http://[::1", "null"):
                elsewhere = {"Origin": origin}
                assert SESSION.request(method, url, headers=elsewhere).status_code == 403


def test_the_schema_says_what_the_service_takes(address: str) -> None:
    schema = SESSION.get(f"{address}/schema").json()
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    assert check.is_valid({"clicks": [[1, 2]], "box": [1, 2, 3, 4], "answer": "png"})
    assert not check.is_valid({"click": [[1, 2]]})
    documented = re.findall(r"^\| `(\w+)` \| ", (DOCS / "serve.md").read_text(), re.M)
    assert set(documented) == set(schema["properties"])


def test_only_so_many_pictures_are_kept() -> None:
    desk = service.Desk(None, "none")  # type: ignore[arg-type]

    async def keep(numbers: list[int]) -> list[str]:
        sent = [png(np.full((4, 4, 3), i, np.uint8)) for i in numbers]
        return [(await desk.keep(each))["picture"] for each in sent]

    def run(numbers: list[int]) -> list[str]:
        """In a thread of its own: the browser of other tests has a loop in this one."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, keep(numbers)).result()

    names = run(list(range(18)))
    assert list(desk.pictures) == names[2:]
    run([2])
    assert list(desk.pictures)[-1] == names[2], "sent again, it is the newest"


def test_labelme_s_rough_shapes_become_polygons(address: str, tmp_path: Path) -> None:
    """The example of docs/ on the real service: what it writes, the package reads."""
    (tmp_path / "photo.png").write_bytes(png(PICTURE))
    shape = {"label": "face", "group_id": None, "flags": {}}
    line = shape | {"shape_type": "linestrip", "points": [[230, 60], [225, 130]], "group_id": 3}
    box = shape | {"shape_type": "rectangle", "points": [[290, 205], [160, 8]], "group_id": 3}
    point = shape | {"label": "flag", "shape_type": "point", "points": [[40, 200]]}
    kept = shape | {"shape_type": "polygon", "points": [[400, 10], [480, 10], [480, 60]]}
    content = {"version": "5.4.1", "imagePath": "photo.png", "imageData": None}
    content |= {"imageHeight": 512, "imageWidth": 512, "shapes": [line, kept, box, point]}
    (tmp_path / "photo.json").write_text(json.dumps(content))
    env = os.environ | {"NSEG_URL": address}
    env["NSEG_TOKEN"] = str(SESSION.headers["Authorization"]).split()[1]
    command = [sys.executable, DOCS / "labelme.py", tmp_path / "photo.json"]
    for said in ("2 objects", "0 objects"):  # the second time nothing is left to do
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert said in done.stdout
    ((_, size, found),) = formats.read(tmp_path, [tmp_path / "photo.png"], print)
    assert [each.category for each in found] == ["face", "face", "flag"]
    masks = [annotation_mask({"segmentation": each.segmentation}, *size) for each in found]
    assert masks[1][100, 225]
    assert masks[1].sum() > 5000
    assert not masks[1][:, :160].any(), "within the rectangle"
    assert masks[2][200, 40]
    assert json.loads((tmp_path / "photo.json").read_text())["shapes"][0] == kept


def load(path: Path) -> types.ModuleType:
    """An example of docs/ as a module."""
    spec = importlib.util.spec_from_file_location("example", path)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_cvat_s_function_answers_points_and_a_box(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/, called as nuclio calls it, on the real service."""
    monkeypatch.setenv("NSEG_URL", address)
    monkeypatch.setenv("NSEG_TOKEN", str(SESSION.headers["Authorization"]).split()[1])
    example = load(DOCS / "cvat" / "main.py")
    context = types.SimpleNamespace(
        Response=types.SimpleNamespace, user_data=types.SimpleNamespace()
    )
    example.init_context(context)
    picture = base64.b64encode(png(PICTURE)).decode()

    def ask(**points: object) -> types.SimpleNamespace:
        body = {"image": picture, "pos_points": [], "neg_points": [], "obj_bbox": None} | points
        answer: types.SimpleNamespace = example.handler(context, types.SimpleNamespace(body=body))
        return answer

    # Both as older versions of CVAT send a box, and as a flat list.
    for box in ([[310, 200], [150, 5]], [150, 5, 310, 200]):
        answer = ask(pos_points=[[230, 90]], neg_points=[[60, 90]], obj_bbox=box)
        assert answer.status_code == 200
        mask = np.array(json.loads(answer.body)["mask"])
        assert mask.shape == (512, 512)
        assert set(np.unique(mask)) == {0, 1}
        assert mask[90, 230]
        assert mask.sum() > 5000
        assert not mask[:, :150].any(), "within the box"
    nothing = ask()
    assert nothing.status_code == 400
    assert "say what is meant" in nothing.body


def test_label_studio_s_backend_answers_clicks_and_rectangles(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/, with a stand-in for Label Studio's base class, on the real service."""

    class LabelStudioMLBase:
        def get_first_tag_occurence(self, *_: str) -> tuple[str, str, str]:
            return "polygon", "image", "image"

        def get_local_path(self, url: str, task_id: int | None = None) -> str:
            return str(tmp_path / url)

    package, model = types.ModuleType("label_studio_ml"), types.ModuleType("label_studio_ml.model")
    model.LabelStudioMLBase = LabelStudioMLBase  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", model)
    monkeypatch.setenv("NSEG_URL", address)
    monkeypatch.setenv("NSEG_TOKEN", str(SESSION.headers["Authorization"]).split()[1])
    example = load(DOCS / "label_studio.py")
    (tmp_path / "photo.png").write_bytes(png(PICTURE))
    common = {"original_width": 512, "original_height": 512}
    point = {"x": 45.0, "y": 18.0, "keypointlabels": ["face"]}
    rectangle = {"x": 30, "y": 1, "width": 30, "height": 38, "rectanglelabels": ["face"]}
    drawn = [
        common | {"type": "keypointlabels", "value": point, "is_positive": 1},
        common | {"type": "rectanglelabels", "value": rectangle},
    ]
    task = {"id": 1, "data": {"image": "photo.png"}}
    ((answer),) = example.NsegBackend().predict([task], {"result": drawn})
    first = answer["result"][0]
    assert first["value"]["polygonlabels"] == ["face"]
    points = np.array(first["value"]["points"])
    assert (points >= (29, 0)).all()
    assert (points <= (61, 40)).all()
    assert np.ptp(points, axis=0).min() > 15
    assert example.NsegBackend().predict([task]) == []
