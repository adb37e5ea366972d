"""Measure `aios doctor environments` among 1,000 other folders (limit: 2 s), and what `aios guard` adds to a command that
changes nothing (limit: 3 s), on Linux.

    python scripts/bench_environments.py [--rounds 5]

The limits are compared with the CPU time (user and system) of the whole process tree, which other load on the machine hardly
changes. The environments are copies of the one that runs this script, made of hard links: torch and everything beside it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from side_by_side import parse_rounds

ROOT = Path(__file__).resolve().parents[1]
# Where applications keep their Python, below a home folder
PLACES = (
    "ComfyUI/.venv",
    "AI/ComfyUI_portable/python_embeded",
    "Documents/kohya_ss/venv",
    "stable-diffusion-webui-forge/venv",
    "src/stable-diffusion-webui/venv",
    "text-generation-webui/installer_files/env",
    "apps/OneTrainer/venv",
    "StabilityMatrix/Data/Packages/ComfyUI/venv",
    "pinokio/api/wan.git/app/env",
    ".unsloth/studio/unsloth_studio",
    "miniforge3/envs/torch",
    ".local/share/uv/python/cpython-3.12.1-linux-x86_64-gnu",
    ".pyenv/versions/3.11.7",
)
DECOYS = 1000
# Variables that name other folders for the Pythons of pyenv and uv
ELSEWHERE = ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "UV_TOOL_DIR", "XDG_DATA_HOME")
Seconds = tuple[float, float]  # wall time, CPU time


def measure(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Seconds, bytes]:
    """Return the times of a command with all its child processes, and what it printed. Raises CalledProcessError."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return (wall, cpu), done.stdout


def median(times: Sequence[Seconds]) -> Seconds:
    walls, cpus = zip(*times, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def make_environment(folder: Path) -> None:
    """Make an environment with the packages of this one, as hard links."""
    packages = Path(sysconfig.get_path("purelib"))
    target = folder / "lib" / packages.parent.name / packages.name
    shutil.copytree(packages, target, copy_function=os.link, ignore=shutil.ignore_patterns("*.pth"))
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n", encoding="utf-8")


def environments(folder: Path, environment: Mapping[str, str], rounds: int) -> Seconds:
    """Time the list of the environments in a home folder. Raises RuntimeError unless it is complete."""
    home = folder / "home"
    make_environment(home / PLACES[0])
    for place in PLACES[1:]:  # the list reads metadata only, so one copy of the packages is enough
        (home / place / "bin").mkdir(parents=True)
        (home / place / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
        shutil.copy(home / PLACES[0] / "pyvenv.cfg", home / place)
        (home / place / "lib").symlink_to(home / PLACES[0] / "lib")
    for number in range(DECOYS):
        (home / f"project {number}" / ".venv" / "bin").mkdir(parents=True)
    command = [sys.executable, "-m", "aios", "doctor", "environments", "--json"]
    times = []
    for _ in range(rounds + 1):
        took, printed = measure(command, {**environment, "HOME": str(home)})
        times.append(took)
        listed = {each["path"] for each in json.loads(printed)["environments"]}
        if missing := {str(home / place) for place in PLACES} - listed:
            raise RuntimeError(f"not listed: {', '.join(sorted(missing))}")
    return median(times[1:])  # the first one fills the cache of the file system


def guard(folder: Path, environment: Mapping[str, str], rounds: int) -> Seconds:
    """Time what guard adds to a command."""
    make_environment(folder / "guarded")
    command = [sys.executable, "-I", "-c", "pass"]
    guarded = [sys.executable, "-m", "aios", "guard", "--python", str(folder / "guarded"), "--", *command]
    added = []
    for _ in range(rounds + 1):
        (wall, cpu), (wall_alone, cpu_alone) = (measure(c, environment)[0] for c in (guarded, command))
        added.append((wall - wall_alone, cpu - cpu_alone))
    return median(added[1:])


def main() -> int:
    """Print the table. Return 1 if a limit is exceeded."""
    rounds = parse_rounds(__doc__, 5).parse_args().rounds
    table = Table("command", "wall s", "CPU s", "limit s")
    too_slow = False
    with tempfile.TemporaryDirectory(dir=ROOT) as name:  # hard links need the same volume
        state = {"AIOS_HOME": str(Path(name, "state")), "PYTHONPATH": str(ROOT)}
        environment = {n: v for n, v in os.environ.items() if n not in ELSEWHERE} | state
        for what, run, limit in (
            (f"aios doctor environments, {len(PLACES)} among {DECOYS:,} others", environments, 2.0),
            ("added by aios guard", guard, 3.0),
        ):
            wall, cpu = run(Path(name), environment, rounds)
            too_slow |= cpu > limit
            table.add_row(what, f"{wall:.2f}", f"{cpu:.2f}", f"{limit:g}")
    Console(width=100).print(table)
    return int(too_slow)


if __name__ == "__main__":
    sys.exit(main())
