"""Trials of an installation: aios or the pip that it starts is killed or fails at any call that changes files.

This runs in an environment of its own, whose Python is asked to install: the same code as in `aios install`, from the back-up to the
record that it ended, with pip forked instead of started. Repair and undo then give back every file.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from doctor.files import sha256_of
from doctor.host import Completed, Found, Host, Reading
from doctor.host.live import live_host
from doctor.install import transaction
from doctor.install.backup import back_up
from doctor.install.install_record import append_event
from doctor.install.interrupted import repair_interrupted
from doctor.install.pip import Pip
from doctor.install.wheel_file import read_wheel
from doctor.runs.run_folders import new_run_folder
from doctor.wheel_search.install_error import InstallError
from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import tree_of
from tests.faults.preload import Ended, Fault, in_child

MOST = 100_000


class ForkedPip:
    """This machine, where pip is a forked child instead of a new process, with a fault of its own."""

    def __init__(self, fault: Fault | None) -> None:
        self._host, self._fault = live_host(), fault
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def programs_using(self, folder: str) -> Reading[Any]:
        return Found(())  # the process of the trials itself

    def run(
        self, command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None
    ) -> Reading[Completed]:
        assert "pip" in command, command
        ended = in_child(lambda: _pip(command, environment or {}), self._fault)
        self.calls = ended.calls
        return Found(Completed(exit_code=ended.status % 256, stdout=ended.output))


def _pip(command: Sequence[str], environment: Mapping[str, str]) -> None:
    from pip._internal.cli.main import main

    os.environ.update(environment)
    sys.argv = ["pip", *command[command.index("pip") + 1 :]]
    raise SystemExit(main(sys.argv[1:]))


class Installs:
    """An environment with `many 1.0`, where `many 2.0` is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        os.environ |= {
            "TMPDIR": str(self.temporary), "AIOS_HOME": str(folder / "state"), "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_CONFIG_FILE": os.devnull,
        }  # fmt: skip
        self.temporary.mkdir(exist_ok=True)
        host = live_host()
        self.site = Path(host.identity.site_packages)
        assert str(self.site).startswith(str(Path(sys.prefix))) and sys.prefix != sys.base_prefix, (
            "an environment of its own"
        )
        self.old, self.new = (self._wheel(version) for version in ("1.0", "2.0"))
        _warm()
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()
        self._install(self.old, None, None)
        shutil.rmtree(folder / "state", ignore_errors=True)
        shutil.rmtree(Path(sys.prefix) / ".aios-kept", ignore_errors=True)
        self.before = self.tree()
        assert any("many-1.0" in name for name in self.before)
        self.calls = self._counted()

    def _wheel(self, version: str) -> Path:
        files = {f"many/part_{number}.py": f"# {version}\nvalue = {number}\n" * 9 for number in range(5)}
        files[f"many/only_{version.replace('.', '_')}.py"] = "x = 1\n"
        return stand_ins.wheel(self.folder / "wheels", "many", version, files, programs=["many-program"])

    def tree(self) -> dict[str, str]:
        """The environment without the packages that are behind it."""
        return tree_of(Path(sys.prefix))

    def _counted(self) -> dict[str, int]:
        pip = 0

        def counted() -> None:
            nonlocal pip
            host = ForkedPip(Fault(MOST))
            self._run_installation(host, self.new)
            sys.stdout.write(f"pip calls {host.calls}\n")

        ended = in_child(counted, Fault(MOST))
        assert ended.status == 0, ended.output
        pip = int(ended.output.rpartition("pip calls ")[2])
        undone = in_child(self.undo, Fault(MOST))
        assert self.tree() == self.before, undone.output
        calls = {"aios": ended.calls, "pip": pip, "undo": undone.calls}
        assert min(calls.values()) > 20, calls
        return calls

    def _install(self, wheel: Path, aios: Fault | None, pip: Fault | None) -> Ended:
        return in_child(lambda: self._run_installation(ForkedPip(pip), wheel), aios)

    def _run_installation(self, forked: ForkedPip, path: Path) -> None:
        """What `install_packages` does with checked wheels."""
        host = cast(Host, forked)
        wheel = read_wheel(path, host.identity)
        reading = host.distribution(wheel.name)
        installed = {wheel.name: reading.value} if isinstance(reading, Found) else {}
        line = f"{wheel.name}=={wheel.version} --hash=sha256:{sha256_of(path)}"
        nothing: Any = SimpleNamespace(to_uninstall=(), targets=())
        pip = Pip(host, (sys.executable, "-m", "pip"))
        folder = new_run_folder(host, datetime.now(timezone.utc))
        completed = False
        try:
            run = back_up(host, folder, [wheel], installed)
            fetched = [transaction.Fetched(wheel, line)]
            trouble = transaction._install(host, nothing, nothing, fetched, run, pip, lambda text: None)
            completed = True
        finally:
            if not completed:
                repair_interrupted(host)
        if trouble:
            raise InstallError(trouble)
        append_event(folder, "installed")

    def repair(self) -> None:
        repair_interrupted(cast(Host, ForkedPip(None)))

    def undo(self) -> None:
        self.repair()
        transaction.undo(cast(Host, ForkedPip(None)))

    def trial(self, chance: random.Random) -> str | None:
        """Return what was wrong after a random fault."""
        self._fresh()
        kind = chance.choice(["aios", "pip", "pip", "undo", "aios, then repair"])
        faults = [Fault.any(chance, self.calls[kind.partition(",")[0]])]
        if kind == "pip":
            ended = self._install(self.new, None, faults[0])
        elif kind == "undo":
            self._install(self.new, None, None)
            ended = in_child(self.undo, faults[0])
        else:
            ended = self._install(self.new, faults[0], None)
            if kind == "aios, then repair":
                faults.append(Fault.any(chance, self.calls["undo"]))
                in_child(self.repair, faults[1])
        named = f"{kind}, {', '.join(map(str, faults))}"
        if ended.is_traceback and "OSError" not in ended.output and "Error:" not in ended.output:
            return f"{named}: {ended.output[-400:]}"
        if ended.status == -14:
            return f"{named}: it hangs"
        after = in_child(self.undo)
        if after.status:
            return f"{named}: the undo after it ended with {after.status}: {after.output[-400:]}"
        if (now := self.tree()) != self.before:
            differing = sorted(
                name for name in {*now, *self.before} if now.get(name) != self.before.get(name)
            )
            return f"{named}: differs after undo: {differing[:4]}"
        return None

    def _fresh(self) -> None:
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        assert self.tree() == self.before, "the trial before left something"


def _warm() -> None:
    """Import what pip imports, once."""
    from pip._internal.cli.main import main

    main(["install", "--quiet", "--dry-run", "--no-index", "no-such-package-of-the-trials"])
