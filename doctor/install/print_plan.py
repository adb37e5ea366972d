"""Print the plan of an installation and the progress of downloads on the console."""

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
    """Show the progress of downloads in one line on stderr, if that is a terminal."""

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
