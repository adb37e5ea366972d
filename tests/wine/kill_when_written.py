"""Runs in the Windows Python: starts a program, and ends it (TerminateProcess) when a file has grown to so many lines.

Arguments: the file, the number of lines, the program and its arguments.
"""

import subprocess
import sys
import time
from pathlib import Path

file, lines, *command = sys.argv[1:]
process = subprocess.Popen(
    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
while process.poll() is None and not (
    Path(file).is_file() and Path(file).read_bytes().count(b"\n") >= int(lines)
):
    time.sleep(0.01)
process.kill()
sys.exit(process.wait() != 1)  # 1 is what TerminateProcess was given
