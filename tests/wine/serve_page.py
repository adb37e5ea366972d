"""Runs in a Windows Python: serves `aios gui` in a folder, writes its address to a file there, and ends when another one appears."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ADDRESS, END = "address.txt", "end.txt"


def main() -> None:
    folder = Path(sys.argv[1])
    command = [sys.executable, "-m", "aios", "gui", "--no-browser"]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as served:
        assert served.stdout
        address = folder / f"{ADDRESS}.part"
        address.write_text(served.stdout.readline().split()[-1], encoding="utf-8")
        address.replace(folder / ADDRESS)
        while served.poll() is None and not (folder / END).exists():
            time.sleep(0.2)
        served.kill()


if __name__ == "__main__":
    main()
