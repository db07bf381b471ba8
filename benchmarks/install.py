"""What the plain install brings, and that it works: a wheel in a fresh environment, no PyTorch.

It builds the wheel, installs it with its dependencies into a new environment, refines a photograph,
asks the service, and sees that a command that needs more says so in one line.

    python benchmarks/install.py [--constraints constraints.txt]

Writes ``reports/bench/install.json``: megabytes of all wheels, as they are downloaded; of the
environment, pip itself left out, without and with what Python compiles; and of its largest parts.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "reports" / "bench" / "install.json"


def run(*words: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command; its words are shown if it fails."""
    done = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done


def megabytes(path: Path, compiled: bool = False) -> float:
    """The size of a file, or of all files of a folder; compiled Python counts only if asked for."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(f.stat().st_size for f in files if compiled or f.suffix != ".pyc") / 1e6


def works(nseg: Path, folder: Path) -> None:
    """Refine by command and over HTTP; a network that needs PyTorch says so in one line."""
    sys.path.insert(0, str(ROOT))
    import numpy as np
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / "photo.jpg")
    run(nseg, "refine", "photo.jpg", "--click", "220,120", cwd=folder)
    share = np.mean(np.asarray(Image.open(folder / "photo_mask.png")) > 0)
    assert 0.005 < share < 0.7, f"the mask covers {share:.0%}"
    needs = run(nseg, "refine", "photo.jpg", "--click", "9,9", "-o", "m.png", "-c",
                "tiny16-32_bce-dice", cwd=folder, check=False)  # fmt: skip
    assert needs.stderr.count("\n") == 1, needs.stderr
    assert "nseg[train]" in needs.stderr
    # The service: a picture, and a prompt on it.
    command = [str(nseg), "serve", "--token", "secret"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())[0]  # type: ignore[index]

            def ask(path: str, body: bytes) -> dict[str, object]:
                request = urllib.request.Request(
                    address + path, body, {"Authorization": "Bearer secret"}
                )
                with urllib.request.urlopen(request) as answer:
                    return dict(json.load(answer))

            picture = ask("/pictures", (folder / "photo.jpg").read_bytes())["picture"]
            found = ask(f"/pictures/{picture}", json.dumps({"clicks": [[220, 120]]}).encode())
            assert int(str(found["area"])) > 1000
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nseg-install-") as name:
        folder = Path(name)
        # From a copy, so that the build leaves nothing in the checkout.
        run("git", "clone", "-q", ROOT, folder / "source", cwd=folder)
        wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder]
        run(*wheel, folder / "source", cwd=folder)
        (built,) = folder.glob("*.whl")
        run(sys.executable, "-m", "venv", "new", cwd=folder)
        began = time.monotonic()
        python = folder / "new" / "bin" / "python"
        given = ["-q", "-c", arguments.constraints.resolve(), built]
        run(python, "-m", "pip", "download", "-d", "wheels", *given, cwd=folder)
        run(python, "-m", "pip", "install", "--no-index", "-f", "wheels", *given, cwd=folder)
        seconds = time.monotonic() - began
        (packages,) = (folder / "new").glob("lib/python*/site-packages")
        missing = run(python, "-c", "import torch", cwd=folder, check=False)
        assert missing.returncode, "PyTorch came along"
        works(folder / "new" / "bin" / "nseg", folder)
        sizes = {p.name: megabytes(p) for p in packages.iterdir() if not p.name.startswith("pip")}
        with_compiled = sum(
            megabytes(p, compiled=True) for p in packages.iterdir() if not p.name.startswith("pip")
        )
        largest = sorted(sizes, key=lambda name: -sizes[name])[:12]
        found = {
            "wheel_mb": round(megabytes(built), 1),
            "download_mb": round(megabytes(folder / "wheels")),
            "installed_mb": round(sum(sizes.values())),
            "compiled_mb": round(with_compiled),
            "packages": len(list(packages.glob("*.dist-info"))) - 1,
            "install_seconds": round(seconds),
            "largest_mb": {name: round(sizes[name], 1) for name in largest},
        }
    print(json.dumps(found, indent=1))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
