"""Train and judge every network of a profile side by side on one machine, until time is up.

Each step of the graph is a process of its own (``python -m reproduction.steps``), so a run that is
cut goes on after its last epoch and what is done is not repeated. What is small goes to ``--out``:
rows, logs and provenance of all runs, weights below 1 MB of all seeds and below 8 MB of the first.

    python3 workflow/gpu/run.py --unpack
    python3 workflow/gpu/run.py --minutes 9 --jobs 14 --out results
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pack import write_parts

if TYPE_CHECKING:
    from reproduction.profiles import Profile

ROOT = Path.cwd()
PACKED = Path("build") / "gpu"
NEEDED = {
    "pycocotools": "pycocotools",
    "lightning": "lightning",
    "cv2": "opencv-python-headless",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "pydantic_core": "pydantic-core",
    "pydantic": "pydantic",
    "yaml": "pyyaml",
    "pandas": "pandas",
    "scipy": "scipy",
    "skimage": "scikit-image",
    "safetensors": "safetensors",
    "rich": "rich",
    "matplotlib": "matplotlib",
}
"""Module → distribution, besides torch."""

LARGEST = 8_000_000
"""Bytes of weights that are brought back: the 16-128 models have 7.8 million."""

SEED = "seed*[0-9]"
"""Folder of a run; one that was replaced ends otherwise."""

FULL = 15 * 2**20
"""Bytes of a tar file that comes back, at most."""


def unpack(packed: Path) -> None:
    """Unpack the parts that are here and install the wheels that are missing."""
    for part in sorted(packed.glob("data*.tar")):
        with tarfile.open(part) as tar:
            # Python before 3.11.4 has no filters and ignores this.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(ROOT)
        print(f"unpacked {part.name}")
    missing = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    for name in missing:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        code = subprocess.run([*command, "--find-links", str(packed / "wheels"), name]).returncode
        print(f"{name}: {'installed' if code == 0 else 'MISSING, pack.py --wheels brings it'}")


def order(names: Iterable[str], networks: str = "") -> list[str]:
    """The trainings to do: the first seed of every model before the second of any.

    With ``networks``, such as ``tiny16-32_bce-dice_seed1``, with commas, only these, in this order.

    Raises:
        ValueError: a network that the profile does not have.
    """
    trained = [name for name in names if name.startswith("train/")]
    chosen = [f"train/{network}" for network in networks.split(",") if network]
    for name in chosen:
        if name not in trained:
            network = name.removeprefix("train/")
            raise ValueError(f"--networks: the profile has no {network}; one is {trained[0][6:]}")
    return chosen or sorted(trained, key=lambda name: int(name.rpartition("_seed")[2]))


def files(profile: Profile, step: str) -> tuple[list[Path], list[Path]]:
    """What a step needs and makes, as ``workflow/Snakefile`` has it: no Snakemake is here."""
    from reproduction.ingredients import artefacts, redrawn

    made = artefacts(ROOT, profile)
    kind, _, name = step.partition("/")
    networks = {
        "evaluate": [name] if f"train/{name}" in made else [],
        "measure": [f"{model}_seed{profile.seeds[0]}" for model in redrawn(profile)],
    }
    needed = networks.get(kind, []) if step != "measure/pictures" else []
    return [made["data"], *(made[f"train/{network}"] for network in needed)], [made[step]]


def work(profile: str, models: str, networks: str, minutes: float, jobs: int) -> None:
    """Start steps while there is time; those still running at its end are stopped."""
    from reproduction import ingredients, profiles

    loaded = profiles.load(ROOT, profile, profiles.only(models or None, None))
    waiting = order(ingredients.artefacts(ROOT, loaded), networks)
    last = [] if networks else ["evaluate/baselines", "measure/pictures", "measure/redraws"]
    after = {name: name.replace("train/", "evaluate/") for name in waiting}
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what torch asks for to be deterministic
    environment["NVIDIA_TF32_OVERRIDE"] = "0"  # 32 bits are 32 bits, as on a CPU
    environment["PYTHONPATH"] = str(ROOT)
    if (PACKED / "commit").is_file():
        environment["NSEG_COMMIT"] = (PACKED / "commit").read_text().strip()
    running: dict[str, subprocess.Popen[bytes]] = {}
    end = time.monotonic() + 60 * minutes
    while (waiting or running or last) and time.monotonic() < end:
        for name, process in [*running.items()]:
            if process.poll() is not None:
                del running[name]
                if process.returncode == 0 and name in after:
                    waiting.insert(0, after[name])
        if not waiting and len(running) < jobs:
            ready = [
                n for n in last if all((ROOT / path).is_file() for path in files(loaded, n)[0])
            ]
            waiting += ready
            last = [name for name in last if name not in ready]
            if not running and not ready:
                break
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            command = [sys.executable, "-m", "reproduction.steps", name, "--profile", profile]
            command += ["--models", models] if models else []
            for option, paths in zip(("--inputs", "--outputs"), files(loaded, name), strict=True):
                command += [option, *map(str, paths)]
            log = ROOT / "reports" / profile / "logs" / f"{name.replace('/', '_')}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                running[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file)
        time.sleep(0.5)
    for name, process in running.items():
        process.terminate()
        print(f"{name}: time is up, goes on next time")
    for process in running.values():
        process.wait()


def bring_back(profile: str, out: Path) -> list[Path]:
    """Write what is small into ``out``, in tar files below :data:`FULL` bytes."""
    report, runs = ROOT / "reports" / profile, ROOT / "runs" / profile
    small = [*report.glob("rows/*"), *report.glob("measured/*"), *report.glob("logs/*")]
    for name in ("run.json", "log.csv", "steps.csv", "weights.safetensors.json"):
        small += runs.glob(f"*/{SEED}/{name}")
    weights = [p for p in runs.glob(f"*/{SEED}/weights.safetensors") if p.stat().st_size < LARGEST]
    seed = min((int(p.parent.name.removeprefix("seed")) for p in weights), default=0)
    weights = [p for p in weights if p.stat().st_size < 1e6 or p.parent.name == f"seed{seed}"]
    return write_parts(ROOT, sorted(small) + sorted(weights), out / profile, FULL)


def main() -> None:
    """Unpack, or work and bring back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unpack", action="store_true", help="only unpack what was carried")
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--models", default="", help="with commas; default: the profile's")
    parser.add_argument(
        "--networks", default="", help="with commas, such as MODEL_seed1: only these"
    )
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--jobs", type=int, default=14, help="processes side by side")
    parser.add_argument("--out", type=Path, default=PACKED / "out")
    arguments = parser.parse_args()
    unpack(PACKED)
    if arguments.unpack:
        return
    sys.path.insert(0, str(ROOT))
    asked = arguments.models, arguments.networks
    work(arguments.profile, *asked, arguments.minutes, arguments.jobs)
    for path in bring_back(arguments.profile, arguments.out):
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
