"""Start a program and kill it (TerminateProcess) when a file has a number of lines. Runs in the Windows Python.

Arguments: the file, or a pattern if its folder is not known yet; the number of lines; the program and its arguments.
"""

import subprocess
import sys
import time
from pathlib import Path

file, lines, *command = sys.argv[1:]
root = Path(Path(file).anchor)
pattern = str(Path(file).relative_to(root))


def is_written() -> bool:
    return any(found.read_bytes().count(b"\n") >= int(lines) for found in root.glob(pattern))


process = subprocess.Popen(
    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
while process.poll() is None and not is_written():
    time.sleep(0.01)
process.kill()
sys.exit(process.wait() != 1)  # 1 is the exit code given to TerminateProcess
