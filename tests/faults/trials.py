"""Random faults, in forked children, of fix and undo, install, train and export.

    python -m tests.faults.trials                      # 10,000 trials: see COUNTS
    python -m tests.faults.trials fix install --count 20 --seed 3

Each line of the output is an area with its number of trials and what was wrong; the status is 1 if anything was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

COUNTS = {"fix": 6000, "install": 3000, "train": 500, "export": 500}
REPOSITORY = Path(__file__).parents[2]


def main() -> int:
    arguments = _parsed()
    if arguments.folder:  # a process for one area, with the library preloaded
        return _run(arguments.areas[0], arguments.count, arguments.seed, arguments.folder)
    wrong = 0
    for area in arguments.areas or COUNTS:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            wrong |= _started(area, arguments.count or COUNTS[area], arguments.seed, Path(folder))
    return wrong


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("areas", nargs="*", choices=[*COUNTS, []], metavar="AREA", help=", ".join(COUNTS))
    parser.add_argument("--count", type=int, default=0, help="trials of each area; default: 10,000 in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _started(area: str, count: int, seed: int, folder: Path) -> int:
    """Start the process of an area; that of installations is in an environment of its own."""
    from tests.faults.preload import build

    python = str(_environment(folder)) if area == "install" else sys.executable
    place = folder / "trials"
    place.mkdir()
    own = ["-m", "tests.faults.trials", area, f"--count={count}", f"--seed={seed}", f"--folder={place}"]
    variables = {
        **os.environ,
        "LD_PRELOAD": str(build(folder)),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # forks of a process with threads
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run([python, *own], cwd=folder, env=variables, stdin=subprocess.DEVNULL).returncode


def _environment(folder: Path) -> Path:
    """Make an environment without packages; aios, what it imports and pip are behind it."""
    import sysconfig

    from tests.doctor.install.fresh_environment import Environment, link_dependencies

    made = Environment(folder / "environment ż")
    made.folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made.venv)], check=True)
    behind = link_dependencies(made.folder / "behind", Path(sysconfig.get_path("purelib")), "pip")
    (made.site_packages / "behind.pth").write_text(f"{behind}\n{REPOSITORY}\n", encoding="utf-8")
    return made.python


def _run(area: str, count: int, seed: int, folder: Path) -> int:
    trials = _area(area, folder)
    wrong = []
    for number in range(count):
        problem = trials.trial(random.Random(f"{area} {seed} {number}"))
        if problem:
            wrong.append({"trial": number, "problem": problem})
            sys.stderr.write(f"{area} {seed} {number}: {problem}\n")
            if len(wrong) >= 20:
                break
    answer = {"area": area, "trials": number + 1, "wrong": wrong, "calls": trials.calls, "seed": seed}
    ended = datetime.now(timezone.utc).isoformat(timespec="minutes")
    sys.stdout.write(json.dumps({**answer, "ended": ended}, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    return int(bool(wrong))


def _area(area: str, folder: Path) -> Any:
    if area == "fix":
        from tests.faults.fixes import Fixes

        return Fixes(folder)
    if area == "install":
        from tests.faults.installs import Installs

        return Installs(folder)
    from tests.faults.trainings import Exports, Trainings

    return Trainings(folder) if area == "train" else Exports(folder)


if __name__ == "__main__":
    sys.exit(main())
