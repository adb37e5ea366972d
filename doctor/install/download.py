"""Downloading a file: resumed where it broke off, and only there for others once its size and hash are right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from doctor.files import move, sha256_of
from doctor.host.web import HTTPStatusError, open_stream
from doctor.wheel_search.install_error import InstallError

TRIES = 5
Progress = Callable[[int, int | None], None]  # bytes so far, of how many


def download(url: str, target: Path, size: int | None, sha256: str, progress: Progress) -> None:
    """Have `target` be the file with this hash. What is there in part is gone on with. Raises InstallError, OSError."""
    if target.is_file() and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.is_file()
    found = _complete(url, part, size, progress)
    if found != sha256 and resumed:  # the beginning was of another file
        part.unlink()
        found = _complete(url, part, size, progress)
    if found != sha256:
        part.unlink()
        raise InstallError(
            f"{url} is not the file that was published: its SHA-256 should be {sha256}, and is {found}. "
            "Nothing was installed; try again later, or give the right file with --wheel-dir."
        )
    move(part, target)


def discard(path: Path) -> None:
    """Delete a downloaded file, or a folder of them. What cannot be deleted stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _complete(url: str, part: Path, size: int | None, progress: Progress) -> str:
    """Fetch what `part` lacks; gives its hash."""
    trouble = "the server sends nothing"
    for _ in range(TRIES):
        before = part.stat().st_size if part.is_file() else 0
        if size is not None and before > size:
            part.unlink()
            before = 0
        if size is None or before < size:
            try:
                announced = _fetch(url, part, before, progress)
            except OSError as error:
                trouble = str(error)
                out_of_range = isinstance(error, HTTPStatusError) and error.status == 416
                if part.is_file() and before and out_of_range:  # longer than the file itself
                    part.unlink()
                continue
        wanted = size if size is not None else announced
        have = part.stat().st_size
        if wanted is None or have == wanted:
            return sha256_of(part)
        if have > wanted:
            part.unlink()
        trouble = f"{url}: {have} bytes came, {wanted} were announced"
    raise InstallError(
        f"The download did not come to its end ({trouble}). Nothing was installed. "
        "Is there a connection, or a proxy that programs are not told of? Run this again: what has come is kept."
    )


def _fetch(url: str, part: Path, start: int, progress: Progress) -> int | None:
    """Append, or begin anew where the server does; gives the size of the whole file, as announced."""
    with open_stream(url, start) as answer, part.open("ab" if answer.start else "wb") as file:
        done = answer.start
        for chunk in answer.chunks:
            file.write(chunk)
            done += len(chunk)
            progress(done, answer.size)
        return answer.size
