"""An interactor for CVAT: points and a box become a mask, by ``nseg serve`` in the same container.

docs/serve.md says how it is deployed. nuclio calls ``init_context`` once and ``handler`` for each
interaction.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from typing import Any

import numpy as np
import requests
from PIL import Image

SERVICE = os.environ.get("NSEG_URL", "http://127.0.0.1:8070/v1")
HEADERS = {"Authorization": f"Bearer {os.environ.get('NSEG_TOKEN', '')}"}


def init_context(context: Any) -> None:
    """Start the service, unless ``NSEG_URL`` names one that runs already."""
    if "NSEG_URL" in os.environ:
        return
    command = ["nseg", "serve", "--port", "8070"]  # it reads NSEG_TOKEN, as this file does
    context.user_data.service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    context.user_data.service.stdout.readline()  # it says when it listens


def handler(context: Any, event: Any) -> Any:
    """The mask of an interaction, as CVAT takes it: a list of rows of 0 and 1."""
    asked = event.body if isinstance(event.body, dict) else json.loads(event.body)
    prompt: dict[str, Any] = {"answer": "png"}
    prompt |= {"clicks": asked["pos_points"], "background": asked["neg_points"]}
    if asked.get("obj_bbox"):  # two opposite corners
        (x0, y0), (x1, y1) = np.reshape(asked["obj_bbox"], (2, 2)).tolist()
        prompt["box"] = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
    picture = base64.b64decode(asked["image"])
    sent = requests.post(f"{SERVICE}/pictures", picture, headers=HEADERS, timeout=60)
    if sent.ok:
        url = f"{SERVICE}/pictures/{sent.json()['picture']}"
        sent = requests.post(url, json=prompt, headers=HEADERS, timeout=60)
    if not sent.ok:  # the service says in one line what is wrong
        return context.Response(
            body=sent.json()["error"], content_type="text/plain", status_code=sent.status_code
        )
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent.json()["mask"])))) > 0
    return context.Response(
        body=json.dumps({"mask": mask.astype(int).tolist()}), content_type="application/json",
        status_code=200,
    )  # fmt: skip
