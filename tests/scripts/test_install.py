"""The installation after a Python was found: order of steps, failures that end it, folder of the environment."""

from __future__ import annotations

import sys
from pathlib import Path

import install
import pytest
from environment import Environment, PreparationError

WSL = "5.15.153.1-microsoft-standard-WSL2"
DEBIAN = "6.1.0-28-amd64"
MOUNTS = """\
/dev/sdc / ext4 rw,relatime 0 0
none /usr/lib/wsl/drivers 9p ro 0 0
C:\\134 /mnt/c 9p rw,noatime 0 0
D:\\134 /mnt/d drvfs rw,noatime 0 0
/dev/sdd /mnt/data ext4 rw 0 0
"""


class Machine:
    """Records the steps; `statuses` are the exit statuses of those that do not end with 0."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.statuses: dict[str, int] = {}

    def prepare(self, extra: str = "") -> None:
        self.steps.append(f"prepare {extra}".strip())

    def aios(self, *arguments: str) -> int:
        step = " ".join(arguments)
        self.steps.append(step)
        return self.statuses.get(step, 0)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    pretended = Machine()
    monkeypatch.setattr(Environment, "prepare", pretended.prepare)
    monkeypatch.setattr(Environment, "aios", pretended.aios)
    monkeypatch.setattr(sys, "argv", ["install.py", str(tmp_path / "Zoë & co" / ".venv")])
    return pretended


ALL = ["prepare", "doctor --fix", "install", "prepare train", "doctor"]


def test_the_steps(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.statuses = {"doctor --fix": 1, "doctor": 1}
    assert install.main() == 0
    assert machine.steps == ALL
    said = capsys.readouterr().out
    start = said[said.index("How to start") :]
    assert "train --config configs/quickstart.yaml" in start
    assert '"' in start or "'" in start, "a path with a space is quoted"


def test_an_unattended_installation_passes_yes_to_every_step_that_asks(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--yes"])
    assert install.main() == 0
    assert machine.steps == ["prepare", "doctor --fix --yes", "install --yes", "prepare train", "doctor"]


@pytest.mark.parametrize("status", [1, 4, 130])
def test_declined_or_failed_packages_end_it_with_a_working_doctor(
    machine: Machine, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    machine.statuses = {"install": status}
    assert install.main() == status
    assert machine.steps == ALL[:3]
    said = capsys.readouterr().out
    assert "run this again" in said
    assert said.rstrip().endswith("install"), "what brings the packages comes last"


@pytest.mark.parametrize(("status", "steps"), [(4, 5), (5, 5), (2, 2), (130, 2), (-11, 2)])
def test_a_failing_doctor_ends_it_but_findings_do_not(machine: Machine, status: int, steps: int) -> None:
    machine.statuses = {"doctor --fix": status}
    assert install.main() == (0 if steps == 5 else status)
    assert machine.steps == ALL[:steps]


def test_a_failed_preparation_is_reported(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Environment, extra: str = "") -> None:
        raise PreparationError("pip could not install the packages")

    monkeypatch.setattr(Environment, "prepare", fails)
    assert install.main() == 1
    assert capsys.readouterr().out.endswith("pip could not install the packages\n")
    assert machine.steps == []


def test_an_interruption_says_how_to_continue(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Environment, *arguments: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Environment, "aios", interrupted)
    assert install.main() == 130
    assert "Run this again to continue" in capsys.readouterr().out


def test_a_relative_folder_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", "venv"])
    with pytest.raises(SystemExit) as ended:
        install.main()
    assert ended.value.code == 2
    assert "absolute path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kernel", "folder", "refused"),
    [
        (WSL, "/home/zoe/.local/share/aios/venv", False),
        (WSL, "/mnt/c/Users/Zoë/aios", True),
        (WSL, "/mnt/d/aios", True),
        (WSL, "/mnt/data/aios", False),
        (WSL, "/mnt/cellar", False),
        (DEBIAN, "/mnt/c/aios", False),  # a 9p share that is not a Windows drive
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="WSL is a Linux")
def test_a_linux_environment_is_not_created_on_a_windows_drive(
    kernel: str, folder: str, refused: bool
) -> None:
    assert install.is_windows_drive_in_wsl(Path(folder), kernel, MOUNTS) is refused


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has its own")
def test_the_folder_on_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert install.default_folder() == tmp_path / ".local" / "share" / "aios" / "venv"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert install.default_folder() == tmp_path / "data" / "aios" / "venv"
