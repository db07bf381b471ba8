"""Masks refined by many workers: the same as by one, also where a worker is killed."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from nseg_lib import batch
from nseg_lib.networks.weights import shipped
from nseg_lib.provenance import PROJECT
from nseg_lib.refine import Refiner

distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
fsspec = pytest.importorskip("fsspec")

NETWORK, COUNT = "tiny16-32_bce-dice", 24


@pytest.fixture
def refine_many(monkeypatch: pytest.MonkeyPatch):
    """The script's function; workers find the script where this process does."""
    monkeypatch.syspath_prepend(PROJECT / "workflow")
    import refine_many

    return refine_many.refine_many


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with a rough mask each, one without a photo, and ``one``: what one process makes."""
    root = tmp_path_factory.mktemp("desk")
    picture = photographs.chelsea()[:120, :160]
    rough = np.zeros((120, 160), np.uint8)
    rough[30:90, 40:110] = 255
    for folder in ("photos", "rough"):
        (root / folder).mkdir()
    for number in range(COUNT):
        Image.fromarray(np.roll(picture, number, 1)).save(root / "photos" / f"cat{number}.png")
        Image.fromarray(rough).save(root / "rough" / f"cat{number}_1.png")
    Image.fromarray(rough).save(root / "rough" / "dog.png")
    weights = shipped(NETWORK)
    refiner = Refiner.load(weights)
    batch.refine_folder(
        refiner, weights, root / "rough", root / "photos", root / "one", say=lambda line: None
    )
    return root


def rows_of(table: bytes) -> list[dict[str, str]]:
    """The rows of a table without their seconds."""
    rows = [*csv.DictReader(table.decode().splitlines())]
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


def test_a_killed_worker_loses_and_doubles_nothing(desk: Path, refine_many) -> None:
    out, said = desk / "many", []
    folders = [str(desk / "photos"), str(desk / "rough"), str(out)]
    local = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": "CRITICAL"}
    with distributed.LocalCluster(2, **local) as cluster, distributed.Client(cluster) as client:
        worker, *_ = client.run(os.getpid).values()
        running = threading.Thread(
            target=lambda: said.extend(refine_many(client, *folders, NETWORK))
        )
        running.start()
        deadline = time.monotonic() + 300  # on a busy machine, workers take minutes to start
        while not [*out.glob("*.png")] and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(worker, signal.SIGKILL)
        before = len([*out.glob("*.png")])
        running.join(timeout=600)
        assert worker not in client.run(os.getpid).values()
    assert 0 < before < COUNT
    rows, failed = said
    assert failed == []
    assert len(rows) == COUNT
    table = batch.TABLE
    expected = rows_of((desk / "one" / table).read_bytes())
    expected.sort(key=lambda row: (float(row["sure"]), row["mask"]))  # the least sure first
    assert rows_of((out / table).read_bytes()) == expected
    assert {path.name for path in out.iterdir()} == {table, *(row["mask"] for row in expected)}
    for row in expected:
        ours, theirs = (Image.open(desk / folder / row["mask"]) for folder in ("many", "one"))
        assert (np.asarray(ours) == np.asarray(theirs)).all()


def test_an_object_store_gets_the_same_and_only_what_changed_is_done_again(
    desk: Path, refine_many
) -> None:
    """The file system in memory stands for a store; it is seen by one process alone."""
    store = fsspec.filesystem("memory")
    for folder in ("photos", "rough"):
        store.put(str(desk / folder), f"/desk/{folder}", recursive=True)
    urls = [f"memory://desk/{folder}" for folder in ("photos", "rough", "masks")]
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as client:
        first, failed = refine_many(client, *urls, NETWORK)
        assert (len(first), failed) == (COUNT, [])
        for path in (desk / "one").glob("*.png"):
            assert store.cat(f"/desk/masks/{path.name}") == path.read_bytes()
        # A mask that is gone, and one of another rough mask, are made; a broken one is told.
        written = {row.mask: store.modified(f"/desk/masks/{row.mask}") for row in first}
        store.rm("/desk/masks/cat0_1.png")
        store.copy("/desk/photos/cat2.png", "/desk/rough/cat1_1.png")
        store.pipe("/desk/rough/cat3_1.png", b"broken")
        again, failed = refine_many(client, *urls, NETWORK)
    assert len(again) == COUNT - 2
    told = sorted(line.partition(":")[0] for line in failed)
    assert told == ["rough/cat1_1.png", "rough/cat3_1.png"]
    changed = [name for name in written if store.modified(f"/desk/masks/{name}") != written[name]]
    assert changed == ["cat0_1.png"]
    shutil.rmtree(desk / "many", ignore_errors=True)
