"""labelme's points, lines and rectangles become polygons, by ``nseg serve``.

    python docs/labelme.py photos/*.json

docs/serve.md says how the service is started. In labelme, mark each object roughly: points or a
line strip on it, a rectangle around it, or both with the same group id. This script puts polygons
in place of these shapes; polygons that are there already stay.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import requests

SERVICE = os.environ.get("NSEG_URL", "http://127.0.0.1:8070/v1")
HEADERS = {"Authorization": f"Bearer {os.environ.get('NSEG_TOKEN', '')}"}
ROUGH = ("point", "line", "linestrip", "rectangle")


def asked(shapes: list[dict[str, Any]], side: int) -> dict[str, Any]:
    """The rough shapes of one object as a prompt; ``side`` is the picture's longer one."""
    prompt: dict[str, Any] = {"answer": "polygons", "clicks": [], "strokes": []}
    for shape in shapes:
        points = shape["points"]
        if shape["shape_type"] == "rectangle":
            (x0, y0), (x1, y1) = points
            prompt["box"] = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
        elif shape["shape_type"] == "point":
            prompt["clicks"] += points
        else:
            line = [[x, y, max(1, side * 3 / 640)] for x, y in points]
            prompt["strokes"].append({"kind": "object", "points": line})
    return prompt


def refine(path: Path) -> int:
    """Put polygons in place of one file's rough shapes; the number of objects."""
    content = json.loads(path.read_text(encoding="utf-8"))
    objects: dict[Any, list[dict[str, Any]]] = {}
    for number, shape in enumerate(content["shapes"]):
        if shape["shape_type"] in ROUGH:
            group = shape.get("group_id")
            key = ("single", number) if group is None else (shape["label"], group)
            objects.setdefault(key, []).append(shape)
    if not objects:
        return 0
    with (path.parent / content["imagePath"]).open("rb") as file:
        sent = requests.post(f"{SERVICE}/pictures", file, headers=HEADERS, timeout=60)
    sent.raise_for_status()
    picture = sent.json()
    shapes = [shape for shape in content["shapes"] if shape["shape_type"] not in ROUGH]
    taken = {shape["group_id"] for shape in content["shapes"] if shape.get("group_id") is not None}
    for drawn in objects.values():
        url = f"{SERVICE}/pictures/{picture['picture']}"
        prompt = asked(drawn, max(picture["width"], picture["height"]))
        answer = requests.post(url, json=prompt, headers=HEADERS, timeout=60)
        answer.raise_for_status()
        group = drawn[0].get("group_id")
        if group is None:  # the parts of an object have one number
            group = 1 + max(taken, default=0)
            taken.add(group)
        for ring in answer.json()["mask"]:
            points = [list(point) for point in zip(ring[::2], ring[1::2], strict=True)]
            made = {"label": drawn[0]["label"], "points": points, "group_id": group}
            shapes.append(made | {"shape_type": "polygon", "flags": {}})
    part = path.with_name(f"{path.name}.part")  # whole, or not at all
    part.write_text(json.dumps(content | {"shapes": shapes}, indent=2), encoding="utf-8")
    part.replace(path)
    return len(objects)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {refine(Path(name))} objects")
