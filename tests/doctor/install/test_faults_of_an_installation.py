"""An installation, its repair and its undo, killed or failing at each call that changes files: no state is lost.

A hook of Python's own auditing sees each such call before it is made, in a forked child. All pairs of faults:

    python scripts/run_tests.py -m long tests/doctor/install/test_faults_of_an_installation.py
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from doctor.install import interrupted, transaction
from doctor.install.install_record import append_event
from doctor.wheel_search.install_error import InstallError
from tests.doctor.install.test_after_an_interruption import Machine

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks")

CHANGES = {
    "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime",
    "shutil.copyfile", "shutil.move", "shutil.rmtree",
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
KILLED, FULL, DAMAGED_DISK, READ_ONLY = -9, errno.ENOSPC, errno.EIO, errno.EROFS
Scenario = Callable[[Machine], None]


def changes_files(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return bool(flags & WRITING) and str(path) != os.devnull
    return event in CHANGES


def faulty(scenario: Scenario, machine: Machine, moment: int, fault: int, *, lasting: bool) -> int:
    """Run a scenario in a child whose `moment`-th call fails, and with `lasting` all later ones. Return the number of calls."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if not changes_files(event, arguments):
                return
            count += 1
            if count == moment or (lasting and count > moment):
                if fault == KILLED:
                    os._exit(9)
                raise OSError(fault, os.strerror(fault))

        sys.addaudithook(hook)
        with suppress(OSError, InstallError):
            scenario(machine)
        os.write(writer, str(count).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    counted = os.read(reader, 20)
    os.close(reader)
    return int(counted or b"0")


def install(machine: Machine) -> None:
    """What `aios install` does: back up, let pip replace the files, and note that it ended; repair if that fails."""
    new = machine.wheel("2.0")
    completed = False
    try:
        run = machine.begin(new)
        machine.uninstall("many", "1.0")
        machine.unpack(new)
        completed = True
    finally:
        if not completed:
            interrupted.repair_interrupted(machine.host)
    append_event(run.folder, "installed")


def undo(machine: Machine) -> None:
    transaction.undo(machine.host)


def repair(machine: Machine) -> None:
    interrupted.repair_interrupted(machine.host)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Machines before and after the installation."""
    folder = tmp_path_factory.mktemp("machines ß")
    before = Machine(folder / "before" / "m")
    before.site.mkdir(parents=True)
    before.unpack(before.wheel("1.0"))
    before.wheel("2.0")
    return {"before": before.folder, "work": folder / "work" / "m"}


def fresh(states: dict[str, Path]) -> Machine:
    shutil.rmtree(states["work"], ignore_errors=True)
    shutil.copytree(states["before"], states["work"])
    return Machine(states["work"])


def check(states: dict[str, Path], machine: Machine, moments: object) -> None:
    """After a repair, and an undo if it was installed, the environment is what it was, and nothing is left to repair."""
    repair(machine)
    undo(machine)
    assert machine.tree() == Machine(states["before"]).tree(), moments
    assert interrupted.repair_interrupted(machine.host) == ()


def prepared(states: dict[str, Path], scenario: Scenario) -> Machine:
    machine = fresh(states)
    if scenario is undo:
        install(machine)
    return machine


FAULTS = {
    "killed": (KILLED, False),
    "full": (FULL, False),
    "full from then on": (FULL, True),
    "damaged": (DAMAGED_DISK, False),
    "read-only from then on": (READ_ONLY, True),
}


@pytest.mark.parametrize("scenario", [install, undo])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
def test_one_fault_at_any_call_loses_nothing(
    states: dict[str, Path], scenario: Scenario, fault: str, every: int
) -> None:
    calls = faulty(scenario, prepared(states, scenario), 0, KILLED, lasting=False)
    assert calls > 20
    kind, lasting = FAULTS[fault]
    for moment in range(1, calls + 1, every):
        machine = prepared(states, scenario)
        faulty(scenario, machine, moment, kind, lasting=lasting)
        check(states, machine, moment)


@pytest.mark.long
@pytest.mark.parametrize("scenario", [install, undo])
@pytest.mark.parametrize("fault", [KILLED, FULL, DAMAGED_DISK])
def test_two_faults_at_any_calls_lose_nothing(
    states: dict[str, Path], scenario: Scenario, fault: int
) -> None:
    calls = faulty(scenario, prepared(states, scenario), 0, KILLED, lasting=False)
    random = Random(f"{scenario.__name__} {fault}")
    for _ in range(60):
        first, second = random.randint(1, calls), random.randint(1, 40)
        machine = prepared(states, scenario)
        faulty(scenario, machine, first, KILLED, lasting=False)
        faulty(repair, machine, second, fault, lasting=False)
        check(states, machine, (first, second))
