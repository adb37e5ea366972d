"""The plan of an installation and what became of it, for a person at a console."""

from __future__ import annotations

import sys
import time

from doctor.install.install_answer import InstallAnswer, PackageAnswer
from doctor.models import Status
from doctor.report.console import COLOURS, Printer

MEBIBYTE = 2**20
SECONDS_BETWEEN = 0.2
SIGNS: dict[str, Status] = {"install": "info", "keep": "ok", "none": "warning"}
LADDER = {
    "xformers": "No flash-attn fits: xformers is the next best attention here.",
    "sdpa": "No flash-attn and no xformers fit: training uses PyTorch's own attention (sdpa), with kernels of aios for windows.",
}


def print_plan(printer: Printer, answer: InstallAnswer, can_build: bool) -> None:
    """A line for each package, and below it where it comes from, how it is checked, and why this one."""
    printer.line("Into ", (answer.python, "bold"), f", for {answer.torch}" if answer.torch else "")
    for package in answer.packages:
        sign = SIGNS[package.action]
        printer.paragraph(
            ((printer.glyphs.status[sign], COLOURS[sign]), " ", (package.package, "bold"), " "),
            _what(package),
        )
        if package.action == "install":
            size = f"{package.size / MEBIBYTE:.1f} MiB" if package.size is not None else "size not known"
            checked = f"SHA-256 {package.sha256}" if package.sha256 else "hash: what the package index says"
            printer.line(f"    {package.filename or 'the file that pip finds'} ({size})")
            printer.line(f"    from {package.source}")
            printer.line(f"    {checked}")
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
                "This machine could build flash-attn from source: hours, and tens of GiB; aios never starts that.",
            )


def _what(package: PackageAnswer) -> str:
    if package.action == "keep":
        return f"{package.version} stays" if package.version else "comes with torch"
    if package.action == "none":
        return f"none fits; {package.installed} is left as it is" if package.installed else "none fits"
    return (
        f"{package.version} instead of {package.installed}"
        if package.installed
        else f"{package.version}, new"
    )


class ProgressLine:
    """How far downloads have come: one line on stderr, and only where that is a terminal."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, name: str, done: int, size: int | None) -> None:
        if not sys.stderr.isatty() or (time.monotonic() < self._next and done != size):
            return
        self._next = time.monotonic() + SECONDS_BETWEEN
        of = f" of {size / MEBIBYTE:.0f}" if size else ""
        end = "\n" if done == size else ""
        sys.stderr.write(f"\r{name[:60]}: {done / MEBIBYTE:.0f}{of} MiB{end}")
        sys.stderr.flush()
