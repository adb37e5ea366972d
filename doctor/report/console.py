"""The report for a person at a console, coloured on a terminal, in ASCII where the stream knows no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.text import Text

from doctor.check import Group
from doctor.models import Finding, Report, Status
from doctor.report.wording import WORST_FIRST, counts, evidence_line, machine_line, next_step, what_to_do

HEADINGS: dict[Group, str] = {
    "system": "System",
    "gpu": "GPU",
    "build-tools": "Build tools",
    "packages": "Packages",
    "backends": "Attention backends",
}
COLOURS: dict[Status, str] = {
    "ok": "green",
    "info": "cyan",
    "warning": "yellow",
    "error": "bold red",
    "skipped": "dim",
    "unknown": "magenta",
}


@dataclass(frozen=True)
class Glyphs:
    """The signs of the statuses, and the arrow before what to do."""

    status: Mapping[Status, str]
    arrow: str


UNICODE = Glyphs({"ok": "✓", "info": "•", "warning": "!", "error": "✗", "skipped": "·", "unknown": "?"}, "→")
ASCII = Glyphs({"ok": "+", "info": "i", "warning": "!", "error": "x", "skipped": "-", "unknown": "?"}, "->")


class Printer:
    """Prints lines of text as they are: no markup, no wrapping, nothing that the stream's encoding lacks."""

    def __init__(self, file: TextIO, ascii_only: bool = False) -> None:
        self.console = Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self.encoding = "ascii" if ascii_only else (getattr(file, "encoding", None) or "utf-8")
        self.glyphs = UNICODE if self._can_show(UNICODE) else ASCII

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Print one line of plain parts and of (text, style) parts."""
        text = Text()
        for part in parts:
            plain, style = part if isinstance(part, tuple) else (part, "")
            text.append(self._safe(plain), style or None)
        self.console.print(text)

    def _can_show(self, glyphs: Glyphs) -> bool:
        try:
            "".join((*glyphs.status.values(), glyphs.arrow)).encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def _safe(self, text: str) -> str:
        """Control characters (a machine's text may hold escape sequences) and unknown letters become `\\x..`."""
        visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        return visible.encode(self.encoding, "backslashreplace").decode(self.encoding)


def print_report(
    report: Report, groups: Mapping[str, Group], printer: Printer, verbose: bool = False
) -> None:
    """Print the findings by group, the worst first. `groups` tells each check's group."""
    printer.line(machine_line(report))
    width = max((len(finding.check) for finding in report.findings), default=0)
    for group, heading in HEADINGS.items():
        members = [finding for finding in report.findings if groups.get(finding.check) == group]
        if not members:
            continue
        printer.line()
        printer.line((heading, "bold"))
        for finding in sorted(members, key=lambda member: WORST_FIRST.index(member.status)):
            sign, colour = printer.glyphs.status[finding.status], COLOURS[finding.status]
            printer.line("  ", (sign, colour), f" {finding.check:<{width}}  ", (finding.summary, colour))
            if todo := what_to_do(finding):
                printer.line(f"      {printer.glyphs.arrow} {todo}")
            if verbose:
                for detail in _details(finding):
                    printer.line((f"      {detail}", "dim"))
    printer.line()
    printer.line(counts(report))
    if report.capability_file:
        printer.line(f"What each attention backend can do here: {report.capability_file}")
    printer.line(next_step(report))


def _details(finding: Finding) -> Iterator[str]:
    for name in ("measured", "expected", "impact"):
        if value := getattr(finding, name):
            yield f"{name}: {value}"
    yield from map(evidence_line, finding.evidence)
    for command in finding.fix.commands if finding.fix else ():
        yield f"by hand: {command}"
    yield from finding.links
