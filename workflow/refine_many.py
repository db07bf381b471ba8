"""Refine a folder of rough masks on many machines, with Dask, from and to any URL of fsspec.

    python workflow/refine_many.py photos rough masks             # two workers, on this machine
    python workflow/refine_many.py s3://b/photos s3://b/rough s3://b/masks --scheduler tcp://head:8786

Needs the extra ``cluster``. A photograph with its masks is a task, done as ``nseg refine --batch``
does it. If a worker dies, another one gets its task. A mask is stored whole or not at all and has
one name, so that a task which is done twice changes nothing. Started again, it goes on.
docs/guides/many.md says how to start workers on other machines.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import fsspec
import typer
from distributed import Client, LocalCluster, as_completed, get_worker
from fsspec.implementations.local import LocalFileSystem

from nseg_lib import batch
from nseg_lib.console import progress_bar, say
from nseg_lib.data.records import DataError
from nseg_lib.files import write_atomic
from nseg_lib.networks.weights import PRETRAINED, checkpoint_file
from nseg_lib.refine import Refiner

SAVE_EVERY = 1000
"""Photographs between two saves of the table. After a cut, so many at most are done again."""


def store(url: str, content: bytes) -> None:
    """Write a file whole or not at all; an object store does so by itself."""
    fs, path = fsspec.url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        write_atomic(path, content)
    else:
        fs.pipe_file(path, content)


def files_of(url: str) -> list[str]:
    """The URLs of the files in a folder."""
    fs, path = fsspec.url_to_fs(url)
    return [fs.unstrip_protocol(file) for file in sorted(fs.find(path, maxdepth=1))]


def refine_photo(
    photos: list[str], rough: list[str], out: str, known: list[batch.Row], checkpoint: str
) -> tuple[list[batch.Row], list[str]]:
    """On a worker: refine the masks of a photograph; rows, and lines for those that failed."""
    worker, weights = get_worker(), checkpoint_file(Path(checkpoint))
    if getattr(worker, "checkpoint", None) != checkpoint:
        worker.refiner, worker.checkpoint = Refiner.load(weights), checkpoint
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name, urls in (("photos", photos), ("rough", rough)):
            (here / name).mkdir()
            for url in urls:
                with fsspec.open(url, "rb") as file:
                    (here / name / Path(url).name).write_bytes(file.read())
        # A mask that is there, with its row, is done again only if it would be another one.
        fs, path = fsspec.url_to_fs(out)
        kept = [row for row in known if fs.exists(f"{path}/{row.mask}")]
        batch.write_table(here / "out" / batch.TABLE, kept)
        for row in kept:
            (here / "out" / row.mask).touch()
        rows, failed = batch.refine_folder(
            worker.refiner, weights, here / "rough", here / "photos", here / "out",
            say=say, write_coco=False,
        )  # fmt: skip
        for row in rows:
            if row not in kept:
                store(f"{out}/{row.mask}", (here / "out" / row.mask).read_bytes())
        return rows, [line.replace(f"{here}/", "") for line in failed]


def refine_many(
    client: Client, photos: str, rough: str, out: str, checkpoint: str = PRETRAINED[0]
) -> tuple[list[batch.Row], list[str]]:
    """Refine all masks by the client's workers; rows in the order of names, and failures."""
    photos, rough, out = (
        fs.unstrip_protocol(path) for fs, path in map(fsspec.url_to_fs, (photos, rough, out))
    )
    if out in (photos, rough):
        raise DataError(f"{out}: is a folder of the input; choose another")
    by_stem: dict[str, list[str]] = {}
    for url in files_of(photos):
        by_stem.setdefault(Path(url).stem, []).append(url)
    tasks: dict[str, list[str]] = {}
    for url in files_of(rough):
        if stem := batch.stem_of_photo(Path(url).stem, by_stem):
            tasks.setdefault(stem, []).append(url)
        else:
            say(f"{url}: left out, for want of a photo")
    if not tasks:
        raise DataError(f"{rough}: no mask is named as a photo of {photos}")
    with tempfile.TemporaryDirectory() as folder:
        table, ours, failed = Path(folder) / batch.TABLE, dict[str, batch.Row](), list[str]()
        fs, path = fsspec.url_to_fs(f"{out}/{batch.TABLE}")
        if fs.exists(path):
            fs.get_file(path, str(table))
        found = batch.read_table(table)
        futures = {}
        for stem, masks in tasks.items():
            names = {name for url in masks for name in (Path(url).name, f"{Path(url).stem}.png")}
            known = [found[name] for name in names if name in found]
            task = client.submit(
                refine_photo, by_stem[stem], masks, out, known, checkpoint, retries=2, pure=False
            )
            futures[task] = stem
        done = as_completed(futures, raise_errors=False)
        for count, future in enumerate(progress_bar(done, "refining", True, len(futures)), 1):
            if future.status == "finished":
                rows, lines = future.result()
                ours |= {row.mask: row for row in rows}
                failed += lines
            else:
                failed.append(f"{futures[future]}: {future.exception()}")
            if count % SAVE_EVERY == 0 or count == len(futures):
                # Until the end, with the rows that an earlier run has left.
                rows_now = ours if count == len(futures) else found | ours
                batch.write_table(table, [rows_now[mask] for mask in sorted(rows_now)])
                store(f"{out}/{batch.TABLE}", table.read_bytes())
    return [ours[mask] for mask in sorted(ours)], failed


def main(
    photos: str, rough: str, out: str,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Without one: local processes.")] = 2,
    checkpoint: Annotated[str, typer.Option("--checkpoint", "-c")] = str(PRETRAINED[0]),
) -> None:  # fmt: skip
    """Refine the masks of ROUGH, each with its photo of PHOTOS, into OUT."""
    local = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": "ERROR"}
    with Client(scheduler or LocalCluster(workers, **local)) as client:
        try:
            rows, failed = refine_many(client, photos, rough, out, checkpoint)
        except (DataError, OSError) as error:
            raise SystemExit(f"refine_many.py: {error}") from None
    for line in [*failed, f"{len(rows)} masks in {out}; {len(failed)} failed"]:
        say(line)
    raise typer.Exit(bool(failed))


if __name__ == "__main__":
    typer.run(main)
