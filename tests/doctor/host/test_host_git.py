"""Settings of git, with the git that is installed here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from doctor.host import Absent, Found, Host, Unreadable


@pytest.fixture
def git_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    home = tmp_path / "hóme of x"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "system"))
    return home


def test_a_git_setting_is_set_and_restored_to_the_byte(host: Host, git_home: Path) -> None:
    assert host.git_setting("core.longpaths") == Absent()
    host.set_git_setting("core.longpaths", "true")
    assert host.git_setting("core.longpaths") == host.git_setting("core.longpaths", "user") == Found("true")
    host.set_git_setting("core.longpaths", None)
    host.set_git_setting("core.longpaths", None)
    assert host.git_setting("core.longpaths") == Absent()
    assert list(git_home.iterdir()) == []


def test_other_git_settings_are_kept(host: Host, git_home: Path) -> None:
    config = git_home / ".gitconfig"
    config.write_text("[user]\n\tname = Zoë\n", encoding="utf-8", newline="\n")
    before = config.read_bytes()
    host.set_git_setting("core.longpaths", "true")
    assert host.git_setting("user.name") == Found("Zoë")
    host.set_git_setting("core.longpaths", None)
    assert config.read_bytes() == before


def test_gits_system_setting_is_effective_but_not_the_users(host: Host, git_home: Path) -> None:
    system = git_home.parent / "system"
    system.write_text("[core]\n\tlongpaths = true\n", encoding="utf-8", newline="\n")
    assert host.git_setting("core.longpaths") == Found("true")
    assert host.git_setting("core.longpaths", "user") == Absent()


def test_a_damaged_git_configuration_is_unreadable(host: Host, git_home: Path) -> None:
    (git_home / ".gitconfig").write_text("[core\n", encoding="utf-8", newline="\n")
    reading = host.git_setting("core.longpaths")
    assert isinstance(reading, Unreadable) and "status 128" in reading.reason
    with pytest.raises(OSError, match="git config ended with exit status"):
        host.set_git_setting("core.longpaths", "true")


def test_without_git_its_settings_are_unreadable(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.git_setting("core.longpaths") == Unreadable("git is not installed")
    with pytest.raises(OSError, match="git is not installed"):
        host.set_git_setting("core.longpaths", "true")
