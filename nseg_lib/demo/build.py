"""Build the page without Python, from the canvas, a refiner as ONNX, and onnxruntime-web."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from nseg_lib.arrays import UNSURE
from nseg_lib.config import RefinerConfig
from nseg_lib.files import check_writable, write_atomic
from nseg_lib.limits import MAX_STROKE_POINTS
from nseg_lib.networks import crops, looks
from nseg_lib.networks.loading import load_weights
from nseg_lib.networks.onnx import export

RUNTIME = "onnxruntime-web@1.30.0"
"""The npm package whose files run the network, under the MIT licence."""

RUNTIME_FILES = (
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)

HERE = Path(__file__).parent


def build(out: Path, weights: Path, say: Callable[[str], None]) -> None:
    """Write the page's files into a folder; any web server can serve them.

    Args:
        out: made where needed.
        weights: of a refiner; the paper's networks take no corrections.

    Raises:
        ValueError: weights of another kind, or npm is missing or cannot fetch the runtime.
        OSError: a file cannot be written.
    """
    for folder in (out, out / "runtime"):
        check_writable(folder, folder=True)
    network, config = load_weights(weights)
    if not isinstance(config, RefinerConfig):
        raise ValueError(f"{weights}: a refiner is needed, and {config.name} is one of the paper's")
    for name, content in _runtime().items():
        write_atomic(out / "runtime" / name, content)
    canvas = HERE.parent / "widget"
    for name in ("index.html", "demo.js", "worker.js", "looks.js", "results.js"):
        write_atomic(out / name, (HERE / name).read_bytes())
    for name in ("canvas.js", "canvas.css", "model.js"):
        write_atomic(out / name, (canvas / name).read_bytes())
    say(f"writing {config.name} as ONNX; this takes some ten seconds")
    export(network, config, out / "network.onnx")
    # The numbers by which Python looks at a picture; looks.js reads them.
    numbers = {
        "name": config.name, "look": config.network.look, "zoom": config.network.zoom,
        "beside": config.network.beside, "reach": crops.LOOK, "minReach": crops.MIN_LOOK,
        "correctionMargin": crops.CORRECTION_MARGIN, "zoomMargin": crops.ZOOM_MARGIN,
        "minMargin": crops.MIN_MARGIN, "grey": crops.GREY, "outside": looks.OUTSIDE,
        "same": looks.SAME, "found": looks.FOUND, "looks": config.network.looks,
        "local": config.network.local,
        "correctionReach": looks.REACH, "unchanged": looks.UNCHANGED, "stride": crops.STRIDE,
        "outlinePoints": MAX_STROKE_POINTS // 2, "temperature": config.network.temperature,
        "unsure": UNSURE,
    }  # fmt: skip
    write_atomic(out / "network.json", json.dumps(numbers))
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    say(f"{out}: {size / 1e6:.0f} MB; python -m http.server -d {out} shows it")


def _runtime() -> dict[str, bytes]:
    """The runtime's files, fetched by npm, which checks them."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("npm is needed to fetch onnxruntime-web: install Node.js")
    with tempfile.TemporaryDirectory(prefix="nseg-") as folder:
        done = subprocess.run(
            [npm, "pack", RUNTIME, "--silent", "--pack-destination", folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            said = (done.stderr + done.stdout).strip() or "no reason given"
            raise ValueError(f"npm could not fetch {RUNTIME}: {said.splitlines()[-1]}")
        files = {}
        with tarfile.open(archives[0]) as archive:
            for name in RUNTIME_FILES:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                files[name] = member.read()
    return files
