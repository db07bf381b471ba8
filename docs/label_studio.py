"""A backend for Label Studio: key points and rectangles become polygons, by ``nseg serve``.

docs/serve.md says how it is started.
"""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import requests
from label_studio_ml.model import LabelStudioMLBase

SERVICE = os.environ.get("NSEG_URL", "http://127.0.0.1:8070/v1")
HEADERS = {"Authorization": f"Bearer {os.environ.get('NSEG_TOKEN', '')}"}


class NsegBackend(LabelStudioMLBase):
    """Answers each interaction with the polygons of one object."""

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **_: Any) -> list[Any]:
        """Called by Label Studio after each click or rectangle with a smart tool."""
        drawn = (context or {}).get("result", [])
        if not drawn:
            return []  # nothing is meant yet
        polygon, image, value = self.get_first_tag_occurence("PolygonLabels", "Image")
        width, height = drawn[0]["original_width"], drawn[0]["original_height"]
        # Label Studio counts in percent of the picture's sides.
        prompt: dict[str, Any] = {"answer": "polygons", "clicks": [], "background": []}
        for each in drawn:
            place, kind = each["value"], each["type"]
            x, y = place["x"] * width / 100, place["y"] * height / 100
            label = place[kind][0]
            if kind == "keypointlabels":
                on_it = int(each.get("is_positive", 1))
                prompt["clicks" if on_it else "background"].append([x, y])
            elif kind == "rectanglelabels":
                right, bottom = x + place["width"] * width / 100, y + place["height"] * height / 100
                prompt["box"] = [x, y, right, bottom]
        path = self.get_local_path(tasks[0]["data"][value], task_id=tasks[0].get("id"))
        with open(path, "rb") as file:
            sent = requests.post(f"{SERVICE}/pictures", file, headers=HEADERS, timeout=60)
        sent.raise_for_status()
        url = f"{SERVICE}/pictures/{sent.json()['picture']}"
        answer = requests.post(url, json=prompt, headers=HEADERS, timeout=60)
        answer.raise_for_status()
        results = []
        for ring in answer.json()["mask"]:
            corners = zip(ring[::2], ring[1::2], strict=True)
            points = [[100 * x / width, 100 * y / height] for x, y in corners]
            results.append(
                {
                    "id": uuid4().hex[:8], "from_name": polygon, "to_name": image,
                    "original_width": width, "original_height": height, "type": "polygonlabels",
                    "value": {"points": points, "closed": True, "polygonlabels": [label]},
                }
            )  # fmt: skip
        return [{"result": results, "model_version": "nseg"}]
