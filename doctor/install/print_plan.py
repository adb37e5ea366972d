"""Print the plan of an installation and the progress of downloads on the console."""

from __future__ import annotations

import sys
import time

from doctor.install.install_answer import InstallAnswer, PackageAnswer
from doctor.models import Status
from doctor.report.console import COLOURS, Printer

MEBIBYTE = 2**20
SECONDS_BETWEEN = 0.2
SECONDS_BETWEEN_LINES = 3.0  # without a terminal, as in the page in the browser
REST = " " * 8  # erases the end of a longer line on a terminal
SHORTEST = 0.5  # seconds; a rate over a shorter time is mostly chance
SIGNS: dict[str, Status] = {"install": "info", "keep": "ok", "none": "warning"}
LADDER = {
    "xformers": "No flash-attn fits: xformers is the next best attention here.",
    "sdpa": "Neither flash-attn nor xformers fits: training uses PyTorch's own attention (sdpa), with aios' kernels for sliding windows.",
}


def print_plan(printer: Printer, answer: InstallAnswer, can_build: bool) -> None:
    """Print a line for each package, and below it its file, source, hash and the reasons."""
    printer.sentence(f"Into {answer.python}{(answer.torch and f', for {answer.torch}') or ''}", answer.python)
    for package in answer.packages:
        sign = SIGNS[package.action]
        printer.paragraph(
            ((printer.glyphs.status[sign], COLOURS[sign]), " ", (package.package, "bold"), " "),
            _what(package),
        )
        if package.action == "install":
            size = f"{package.size / MEBIBYTE:.1f} MiB" if package.size is not None else "size not known"
            checked = (
                f"SHA-256 {package.sha256}"
                if package.sha256
                else "hash: checked by pip against the package index"
            )
            printer.paragraph(("    ",), f"{package.filename or 'the file that pip finds'} ({size})")
            printer.paragraph(("    ",), f"from {package.source}")
            printer.paragraph(("    ",), checked)
        for reason in package.reasons:
            printer.paragraph((f"    {printer.glyphs.arrow} ",), reason)
    if answer.fallback:
        printer.paragraph((), LADDER[answer.fallback])
        if sys.platform == "win32":
            printer.paragraph(
                (), "In WSL 2 there are flash-attn wheels for Linux: see aios doctor explain wsl"
            )
        if can_build:
            printer.paragraph(
                (),
                "This machine has everything to build flash-attn from source. That takes hours and tens of GiB; aios does not start it.",
            )


def _what(package: PackageAnswer) -> str:
    if package.action == "keep":
        return f"{package.version} is kept" if package.version else "is installed with torch"
    if package.action == "none":
        return f"none fits; {package.installed} is not changed" if package.installed else "none fits"
    return (
        f"{package.version} instead of {package.installed}"
        if package.installed
        else f"{package.version}, new"
    )


class ProgressLine:
    """Show the progress and the rate of downloads on stderr: in place on a terminal, elsewhere as a new line every few seconds."""

    def __init__(self) -> None:
        self._name, self._began, self._first = "", 0.0, 0
        self._next = 0.0

    def __call__(self, name: str, done: int, size: int | None) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if name != self._name:
            self._name, self._began, self._first = name, now, done
            self._next = now if terminal else now + SECONDS_BETWEEN_LINES
        if now < self._next and done != size:
            return
        self._next = now + (SECONDS_BETWEEN if terminal else SECONDS_BETWEEN_LINES)
        line = f"{name[:60]}: {progress(done, size, done - self._first, now - self._began)}"
        end = "\n" if done == size or not terminal else ""
        sys.stderr.write(f"\r{line}{REST}{end}" if terminal else f"{line}{end}")
        sys.stderr.flush()


def progress(done: int, size: int | None, new: int, seconds: float) -> str:
    """How much of a download is done, and its rate. `new`: bytes since it was started or resumed, in `seconds`."""
    of = f" of {size / MEBIBYTE:.0f}" if size else ""
    rate = f", {new / seconds / MEBIBYTE:.1f} MiB/s" if seconds >= SHORTEST else ""
    return f"{done / MEBIBYTE:.0f}{of} MiB{rate}"
