"""Forked children whose k-th call that changes files fails or kills them, by a preloaded library (faults.c).

LD_PRELOAD=$(python -m tests.faults.preload FOLDER) python ...
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
ERRORS = {
    "killed": 0,
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EROFS": errno.EROFS,
    "EACCES": errno.EACCES,
}
PATIENCE = 180.0  # seconds until a trial counts as hanging


def build(folder: Path) -> Path:
    """Compile the library. Raises CalledProcessError, FileNotFoundError."""
    library = folder / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Fault:
    """The `call`-th call that changes files, from 1, fails; `lasting`: all later ones, too. 0: none does."""

    call: int = 0
    kind: str = "killed"
    lasting: bool = False

    def __str__(self) -> str:
        return f"call {self.call} {self.kind}{' and all later ones' if self.lasting else ''}"

    @classmethod
    def any(cls, chance: random.Random, calls: int) -> Fault:
        kind = chance.choice([*ERRORS, "killed", "ENOSPC"])  # the most frequent ones twice
        return cls(chance.randint(1, max(1, calls)), kind, kind != "killed" and chance.random() < 0.4)


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status, or minus the signal. `calls`: those counted; 0 after a kill."""

    status: int
    output: str
    calls: int

    @property
    def is_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.output


def arm(fault: Fault) -> None:
    """Set the fault in this process."""
    _library().set_fault(fault.call, ERRORS[fault.kind], int(fault.lasting))


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(os.environ["LD_PRELOAD"])  # already loaded: the same library


def in_child(work: Callable[[], object], fault: Fault | None = None, patience: float = PATIENCE) -> Ended:
    """Run `work` in a forked child under a fault. An exception ends it with a traceback and status 70.

    Calls are counted only if the library is preloaded. A child that runs for `patience` seconds is killed: status -SIGALRM.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            _be_child(work, fault, printed.fileno(), writer)
        os.close(writer)
        status = _wait(child, patience)
        calls = os.read(reader, 20)
        os.close(reader)
        printed.seek(0)
        return Ended(status, printed.read().decode("utf-8", "replace"), int(calls or b"0"))


def _be_child(work: Callable[[], object], fault: Fault | None, printed: int, writer: int) -> None:
    status = 70
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        if fault:
            arm(fault)
        work()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - a child never returns
        traceback.print_exc()
    finally:
        if "LD_PRELOAD" in os.environ:
            os.write(writer, str(_library().calls()).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, patience: float) -> int:
    deadline = time.monotonic() + patience
    pause = 0.0005
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -signal.SIGALRM
        time.sleep(pause)
        pause = min(0.02, pause * 1.3)


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
