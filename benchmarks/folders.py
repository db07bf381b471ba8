"""A folder of rough masks: ``nseg refine --batch`` beside a loop of single calls; memory.

Small pictures of the built-in data, copied until there are enough. For the memory of 10,000, the
refiner looks once and at 64 pixels, as it is not its speed that is asked for.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any


def make(folder: Path, count: int) -> None:
    """Photos and rough masks of 160x120, a few different ones again and again."""
    import cv2
    import numpy as np

    from nseg_lib.files import write_atomic

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:120, :160]
    for number in range(count):
        name = f"{number:05d}"
        photo, mask = folder / "photos" / f"{name}.jpg", folder / "rough" / f"{name}.png"
        if number < 20:
            disc = np.hypot(columns - rng.uniform(60, 100), rows - rng.uniform(50, 70)) < 30
            picture = rng.integers(60, 120, (120, 160, 3), np.uint8)
            picture[disc] += np.array([90, 40, 0], np.uint8)
            write_atomic(photo, cv2.imencode(".jpg", picture)[1].tobytes())
            write_atomic(mask, cv2.imencode(".png", disc * np.uint8(255))[1].tobytes())
        else:
            for path in (photo, mask):
                shutil.copy(path.with_stem(f"{number % 20:05d}"), path)


def single(refiner: Any, folder: Path) -> None:
    """What a user would write without --batch."""
    from nseg_lib.data import outputs
    from nseg_lib.data.images import read_image
    from nseg_lib.data.masks import read_mask

    (folder / "single").mkdir()
    for path in sorted((folder / "rough").iterdir()):
        image = read_image(folder / "photos" / f"{path.stem}.jpg")
        outputs.write_png(folder / "single" / path.name, refiner.refine(image, read_mask(path)))


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], Any]:
    """Rows and a plot."""
    import numpy as np
    from matplotlib import pyplot as plt

    from nseg_lib import batch
    from nseg_lib.config import RefinerConfig
    from nseg_lib.networks import engine
    from nseg_lib.networks.weights import shipped
    from nseg_lib.refine import Refiner

    weights, rounds, count = shipped("lite1"), 1 if quick else 5, 4 if quick else 40
    refiner = Refiner.load(weights)

    def together(network: Refiner, folder: Path) -> None:
        photos, out = folder / "photos", folder / "out"
        batch.refine_folder(network, weights, folder / "rough", photos, out, say=print)

    taken: dict[str, list[float]] = {"batch": [], "single": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, count)
        for _ in range(rounds):
            for way, do in (("batch", together), ("single", single)):
                began = time.perf_counter()
                do(refiner, folder)
                taken[way].append(time.perf_counter() - began)
            shutil.rmtree(folder / "out")
            shutil.rmtree(folder / "single")
    ratio = float(np.median(np.array(taken["single"]) / np.array(taken["batch"])))
    common = {"method": "nseg refine --batch", "size": "160x120", "threads": 1}
    rows = [{
        **common, "what": f"pictures a second of a folder of {count}", "unit": "pictures/s",
        "value": round(count / float(np.median(taken["batch"])), 1),
        "peer": "a loop of single calls", "ratio": round(ratio, 2), "runs": rounds,
    }]  # fmt: skip
    # Memory while many pictures are done.
    many = 200 if quick else 10_000
    network, config = engine.load(weights)
    assert isinstance(config, RefinerConfig)
    once = config.network.model_copy(update={"look": 64, "zoom": 64, "looks": 1})
    looks = Refiner(network, config.model_copy(update={"network": once}))
    seen: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder, stop = Path(name), threading.Event()
        make(folder, many)
        gc.collect()

        def watch() -> None:
            out = folder / "out"
            while not stop.wait(0.1 if quick else 1.0):
                done = sum(1 for _ in os.scandir(out)) if out.is_dir() else 0
                seen.append((done, resident_mb()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        together(looks, folder)
        seconds = time.perf_counter() - began
        stop.set()
        watcher.join()
    done, memory = np.array([*seen, (many, resident_mb())]).T
    early = float(np.max(memory[done <= max(done[0], many / 10)]))
    rows.append({
        **common, "what": f"memory at the end of {many:,} pictures",
        "value": round(float(memory[-1])), "unit": "MB", "peer": "after a tenth of them",
        "ratio": round(float(memory[-1]) / early, 2), "runs": 1,
    })  # fmt: skip
    rows.append({
        **common, "what": f"pictures a second of {many:,} (one small look)",
        "value": round(many / seconds), "unit": "pictures/s", "runs": 1,
    })  # fmt: skip
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.plot(done, memory)
    axes.set(xlabel="pictures done", ylabel="resident memory, MB", ylim=(0, 1.1 * max(memory)))
    return rows, figure
