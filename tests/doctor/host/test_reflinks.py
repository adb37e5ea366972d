"""Reflinks on real btrfs and XFS: copies that do not change with the original, and guard's backup made of them."""

from __future__ import annotations

from pathlib import Path

from doctor.host.reflinks import make_reflink


def test_a_reflink_does_not_change_with_the_file(volume: Path) -> None:
    original, copy = volume / "a file ż", volume / "copy"
    original.write_bytes(b"before" * 1000)
    assert make_reflink(original, copy)
    assert original.stat().st_ino != copy.stat().st_ino
    with original.open("r+b") as file:
        file.write(b"after!")
    assert copy.read_bytes() == b"before" * 1000


def test_no_copy_is_left_where_reflinks_are_not_supported(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert not make_reflink(tmp_path / "file", volume / "copy"), "another volume"
    assert not (volume / "copy").exists()
    assert not make_reflink(volume / "none", volume / "copy")
    (volume / "copy").write_bytes(b"mine")
    assert not make_reflink(tmp_path / "file", volume / "copy")
    assert (volume / "copy").read_bytes() == b"mine", "an existing file is not touched"
