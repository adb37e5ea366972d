"""A small fake Windows machine to diagnose and fix, with simple checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from doctor.actions import (
    Action,
    MakeDirectory,
    RunInstaller,
    SetRegistryValue,
    SetUserEnvironmentVariable,
)
from doctor.check import Check, Probe
from doctor.host import Absent, ElevationRefused, Found, Identity, Reader, RegistryValue, Unreadable
from doctor.host.elevated_command import elevated_command
from doctor.host.machine import NotSeen, RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.models import Finding, Fix

FILE_SYSTEM = r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem"
ONE = RegistryValue(type="REG_DWORD", value=1)


def identity(**changes: Any) -> Identity:
    plain = {
        "os": "windows",
        "os_build": "10.0.22631",
        "architecture": "AMD64",
        "elevated": True,
        "wsl": False,
        "ansi_code_page": 1252,
        "oem_code_page": 437,
        "python": "3.12.4",
        "python_implementation": "CPython",
        "python_bits": 64,
        "python_free_threaded": False,
        "python_platform": "win_amd64",
        "executable": "C:\\Python312\\python.exe",
        "prefix": "C:\\venv",
        "base_prefix": "C:\\Python312",
        "site_packages": "C:\\venv\\Lib\\site-packages",
        "home": "C:\\Users\\Zoë B",
        "user": "Zoë B",
        "host_name": "PC",
    }
    return Identity.model_validate({**plain, **changes})


class FakeHost(RecordedHost):
    """A recorded machine with a configurable answer to the prompt for administrator rights.

    Its installers install nothing, and exit with `exit_code`.
    """

    def __init__(
        self, machine: RecordedMachine, elevate: Callable[[Sequence[Any]], Any] | None = None
    ) -> None:
        super().__init__(machine)
        self.elevate = elevate or (lambda changes: ElevationRefused("the answer was no"))
        self.asked: list[tuple[str, str]] = []
        self.installed: list[Sequence[str]] = []
        self.exit_code = 0

    def set_registry_values_elevated(self, changes: Sequence[Any], timeout: float) -> Any:
        self.asked.append(elevated_command("C:\\Windows\\System32", changes))
        return self.elevate(changes)

    def run_installer(self, command: Sequence[str]) -> int:
        self.installed.append(command)
        return self.exit_code

    def boot(self, time: float | str) -> None:
        """Set the boot time in seconds since 1970; a text is the reason why it is unreadable."""
        entry = NotSeen(unreadable=time) if isinstance(time, str) else time
        self._machine = self._machine.model_copy(update={"boot_time": entry})

    def as_administrator(self) -> RecordedHost:
        """The same machine for an elevated process."""
        administrator = RecordedHost(self._machine)
        administrator._machine = self._machine.model_copy(update={"identity": identity(elevated=True)})
        return administrator


def enable_long_paths() -> SetRegistryValue:
    return SetRegistryValue(key=FILE_SYSTEM, name="LongPathsEnabled", state=ONE)


def short_temp() -> SetUserEnvironmentVariable:
    return SetUserEnvironmentVariable(name="TEMP", state=RegistryValue(type="REG_SZ", value="C:\\Temp"))


def install_runtime() -> RunInstaller:
    command = ("winget", "install", "--id", "Microsoft.VCRedist.2015+.x64", "--exact")
    return RunInstaller(product="Microsoft Visual C++ Redistributable", command=command)


def make_temp() -> MakeDirectory:
    return MakeDirectory(path="C:\\Temp")


def state_check(check_id: str, *actions: Action, applicability: Any = "safe", restart: Any = "none") -> Check:
    """A check that every action is applied; its fix applies them."""

    def look(host: Reader) -> Any:
        states: list[object] = []
        for action in actions:
            if isinstance(action, RunInstaller):
                states.append("run" if host.installed else None)  # type: ignore[attr-defined]
            elif isinstance(action, SetRegistryValue):
                reading = host.registry_value(action.key, action.name)
                if isinstance(reading, Unreadable):
                    return reading
                states.append(reading.value if isinstance(reading, Found) else None)
            else:
                states.append(action.read(host))
        return Found(tuple(states))

    def judge(seen: Any) -> Finding:
        if isinstance(seen, Unreadable | Absent):
            return Finding(check=check_id, status="unknown", summary="could not look")
        if seen.value == tuple(action.state for action in actions):
            return Finding(check=check_id, status="ok", summary="as it should be")
        fix = Fix(
            id=f"fix-{check_id}",
            applicability=applicability,
            elevated=any(action.needs_elevation for action in actions),
            restart=restart,
            commands=("type this",),
            actions=actions if applicability != "manual" else (),
        )
        return Finding(check=check_id, status="error", summary="not as it should be", hint="Do it", fix=fix)

    return Check(
        id=check_id,
        group="system",
        looks_at="states",
        why="it matters",
        by_hand="by hand",
        probes=(Probe(check_id, look),),
        judge=judge,
        elevated=tuple(action for action in actions if action.needs_elevation),
    )


LONG_PATHS = state_check("long-paths", enable_long_paths())
TEMP_DIR = state_check("temp-dir", make_temp(), short_temp())
