"""Runs many commands of nseg quickly: imports everything once, then forks for each command.

Reads a JSON line per command, answers with one. Started with ``inject.so`` preloaded, so that the
k-th change that a command makes to files can be made to fail; see ``inject.c`` for the plan.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import mmap
import os
import signal
import sys
import time
import traceback
from typing import Any


class Plan(ctypes.Structure):
    """``struct plan`` of ``inject.c``."""

    _fields_ = [
        ("count", ctypes.c_uint64),
        ("at", ctypes.c_uint64),
        ("error", ctypes.c_int32),
        ("lasting", ctypes.c_int32),
        ("folder", ctypes.c_char * 4096),
    ]


def run(job: dict[str, Any], plan: Plan) -> dict[str, int]:
    """Run one command in a process group of its own; its status, and the changes it made."""
    child = os.fork()
    if child == 0:
        os.setsid()
        output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(job["cwd"])
        os.environ.update(job["environment"])
        sys.argv = ["nseg", *job["command"]]
        plan.count, plan.at, plan.error = 0, job["at"], job["error"]
        plan.lasting, plan.folder = job["lasting"], job["folder"].encode()
        os._exit(_status_of(job))

    ended, deadline = 0, time.monotonic() + job["seconds"]
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.005)
    changes, plan.folder = plan.count, b""
    try:
        os.killpg(child, signal.SIGKILL)  # processes that outlive their command would be a fault
        orphans = 1
    except ProcessLookupError:
        orphans = 0
    return {"status": os.waitstatus_to_exitcode(status), "changes": changes, "orphans": orphans}


def _status_of(job: dict[str, Any]) -> int:
    """Run the command, and end as the interpreter would, but without freeing all memory."""
    try:
        if job["code"]:
            exec(compile(job["code"], "<code>", "exec"), {"__name__": "__main__"})
        else:
            from reproduction.commands import main

            main()
        status: Any = 0
    except SystemExit as leaving:
        status = leaving.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status if isinstance(status, int) else int(status is not None)


def main() -> None:
    with open(os.environ["FAULT_PLAN"], "r+b") as file:
        plan = Plan.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(Plan)))
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    import lightning  # noqa: F401
    import pandas  # noqa: F401

    import reproduction.commands  # noqa: F401

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        answer = run(json.loads(line), plan)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
