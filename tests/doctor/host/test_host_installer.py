"""An installer prints to stderr, its exit code is returned, and Ctrl-C leaves it time to clean up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from doctor.host import Host

ROOT = Path(__file__).parents[3]
INSTALL = (
    "import sys; from doctor.host.live import live_host; sys.exit(live_host().run_installer(sys.argv[1:]))"
)
TIDY_UP = """
import pathlib, sys, time
try:
    pathlib.Path(sys.argv[1], "started").touch()
    time.sleep(3600)
except KeyboardInterrupt:
    time.sleep(1)
    pathlib.Path(sys.argv[1], "tidied up").touch()
"""


def test_output_goes_to_stderr_and_the_exit_code_is_returned() -> None:
    installer = [sys.executable, "-c", "print('installing'); raise SystemExit(41)"]
    done = subprocess.run([sys.executable, "-c", INSTALL, *installer], cwd=ROOT, capture_output=True)
    assert (done.stdout, done.stderr.split(), done.returncode) == (b"", [b"installing"], 41)


def test_a_missing_program(host: Host) -> None:
    for name in ("aios-no-such-program", str(ROOT / "no such program")):
        with pytest.raises(FileNotFoundError):
            host.run_installer([name])


def test_a_program_that_needs_elevation_has_the_exit_code_740(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not start a program whose manifest requires an administrator."""
    refusal = OSError("The requested operation requires elevation")
    refusal.winerror = 740  # type: ignore[attr-defined,unused-ignore]

    def refuse(*_: object, **__: object) -> None:
        raise refusal

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert host.run_installer([sys.executable]) == 740


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent without a console")
def test_ctrl_c_reaches_the_installer_and_waits_for_its_cleanup(tmp_path: Path) -> None:
    installer = [sys.executable, "-c", TIDY_UP, str(tmp_path)]
    command = [sys.executable, "-c", INSTALL, *installer]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as process:
        while not (tmp_path / "started").exists():
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() != 0
    assert (tmp_path / "tidied up").exists()
