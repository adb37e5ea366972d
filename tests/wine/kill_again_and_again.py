"""Start a run of `aios train` repeatedly and kill it (TerminateProcess) before its end. Runs in the Windows Python.

Arguments: the run's output folder, its number of steps, how often to kill it, the program and its arguments. Prints the
step after which each was killed, and whether a checkpoint was being written.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

folder, steps, kills, *command = sys.argv[1:]
log, checkpoints = Path(folder) / "metrics.jsonl", Path(folder) / "checkpoints"
chance = random.Random(6)


def newest_step() -> int:
    try:
        lines = log.read_bytes().splitlines() if log.exists() else []
    except PermissionError:  # a run that has just been resumed replaces it
        lines = []
    return max((json.loads(line)["step"] for line in lines if line.endswith(b"}")), default=0)


def writing() -> bool:
    return any(checkpoints.glob("*.partial"))


ended = []
for number in range(int(kills)):
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    goal = int(steps) * (number + 1) // (int(kills) + 1)
    while process.poll() is None and newest_step() < goal:
        time.sleep(0.005)
    while number % 2 and process.poll() is None and not writing():
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.05))
    process.kill()
    if process.wait() != 1:  # the exit code given to TerminateProcess
        sys.exit(f"it had ended by itself, with {process.returncode}")
    ended.append((newest_step(), writing()))
sys.stdout.write(json.dumps(ended))
