"""Download a file, resuming an interrupted download; the target exists only after its size and hash were checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from doctor.files import move, sha256_of
from doctor.host.web import HTTPStatusError, open_stream
from doctor.wheel_search.install_error import InstallError

TRIES = 5
LARGEST = 16 << 30  # bytes of a file of unknown size
Progress = Callable[[int, int | None], None]  # bytes so far, total


def download(url: str, target: Path, size: int | None, sha256: str, progress: Progress) -> None:
    """Download `url` to `target` and check its hash. A partial download is resumed. Raises InstallError, OSError."""
    if target.is_file() and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.is_file()
    found = _complete(url, part, size, progress)
    if found != sha256 and resumed:  # the first part was of another file
        part.unlink()
        found = _complete(url, part, size, progress)
    if found != sha256:
        part.unlink()
        raise InstallError(
            f"{url} is not the published file: expected SHA-256 {sha256}, got {found}. "
            "Nothing was installed. Retry later, or pass the folder of the right file with --wheel-dir."
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
    """Download the rest of `part`; return its SHA-256."""
    trouble = "the server sent nothing"
    for _ in range(TRIES):
        before = part.stat().st_size if part.is_file() else 0
        if size is not None and before > size:
            part.unlink()
            before = 0
        if size is None or before < size:
            try:
                announced = _fetch(url, part, before, progress, size)
            except OSError as error:
                trouble = str(error)
                out_of_range = isinstance(error, HTTPStatusError) and error.status == 416
                if part.is_file() and before and out_of_range:  # longer than the file on the server
                    part.unlink()
                continue
        wanted = size if size is not None else announced
        have = part.stat().st_size
        if wanted is None or have == wanted:
            return sha256_of(part)
        if have > wanted:
            part.unlink()
        trouble = f"{url}: received {have} of {wanted} bytes"
    raise InstallError(
        f"The download failed after {TRIES} tries ({trouble}). Nothing was installed. Check the network connection "
        "and the proxy (HTTPS_PROXY), then run this again: the download resumes."
    )


def _fetch(url: str, part: Path, start: int, progress: Progress, expected: int | None) -> int | None:
    """Append to `part`, or restart if the server cannot resume; return the announced size of the whole file.

    A server that sends more than it should is cut off: the file then has a wrong size or hash.
    """
    with open_stream(url, start) as answer, part.open("ab" if answer.start else "wb") as file:
        done = answer.start
        for chunk in answer.chunks:
            file.write(chunk)
            done += len(chunk)
            progress(done, answer.size)
            if done > (expected or answer.size or LARGEST):
                break
        return answer.size
