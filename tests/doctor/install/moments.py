"""Kill an installation at a chosen moment."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.doctor.install.fresh_environment import Environment

PATIENCE = 60.0


def journal_has(environment: Environment, event: str) -> Callable[[], bool]:
    def is_there() -> bool:
        return any(f'"{event}"' in p.read_text() for p in environment.state.glob("runs/*/install.jsonl"))

    return is_there


def file_exists(*paths: Path) -> Callable[[], bool]:
    return lambda: any(path.exists() for path in paths)


def kill_when(environment: Environment, moment: Callable[[], bool], *arguments: str) -> None:
    """Start an installation, and kill that process alone when `moment` returns true."""
    process = subprocess.Popen(
        environment.command("install", "--yes", *arguments),
        cwd=environment.folder,
        env=environment.all_variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE
    while not moment():
        assert process.poll() is None, "the installation ended before that moment"
        assert time.monotonic() < deadline, "the moment did not come"
        time.sleep(0.0005)
    process.kill()
    process.wait()
    time.sleep(0.3)  # so that its child processes have ended, too
