"""Atomic writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doctor.files import write_atomically


def test_a_file_is_created_with_its_folder_and_then_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "f.json"
    write_atomically(file, b"one")
    write_atomically(file, b"\x00two\r\n")
    assert file.read_bytes() == b"\x00two\r\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.json"
    write_atomically(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_folder_at_the_path_is_an_error_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "taken", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_a_file_that_a_virus_scanner_holds_open_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows os.replace fails with a sharing violation while another process has the file open."""
    attempts = []
    replace = Path.replace

    def held_twice(self: Path, target: Path) -> Path:
        attempts.append(self)
        if len(attempts) < 3:
            raise PermissionError(13, "The process cannot access the file")
        return replace(self, target)

    monkeypatch.setattr("doctor.files.RETRIES", 20)
    monkeypatch.setattr(Path, "replace", held_twice)
    write_atomically(tmp_path / "f", b"x")
    assert (tmp_path / "f").read_bytes() == b"x" and len(attempts) == 3


@pytest.mark.skipif(os.name == "nt", reason="on Windows a file inherits the permissions of its folder")
def test_a_new_file_follows_the_umask_and_a_replaced_one_keeps_its_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "new", b"")
        (tmp_path / "secret").touch(mode=0o600)
        write_atomically(tmp_path / "secret", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
