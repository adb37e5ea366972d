"""What a line of a log reports: whether it is an error or only mentions one, and of which package."""

from __future__ import annotations

import re

from doctor.failures.log import Log

TRACEBACK_LINES = 60  # lines above an exception that may be frames of its traceback
FRAME_LINES = 6  # lines above an exception in which its frame is, without the head of a traceback
FILE = 'File "'
TRACEBACK = "Traceback (most recent call last)"
# A log record of a level at which programs report no errors
UNREPORTED_LEVEL = re.compile(r"(?:^|[\s\[|-])(?:INFO|DEBUG|TRACE|Info|Debug)(?:\]|:|\s)")
RELAYED = "STDERR"  # after the level: the record relays what another program reports
# A value in a dict, a reason, an exception in quotes or parentheses, or an attempt that is retried
QUOTATION = re.compile(
    r"\{['\"]\w+['\"]\s*:|reason['\"]?\s*[:=]|['\"(]\w*(?:Error|Exception): $|\bRetrying\b"
)
WARNING = re.compile(r"\bWARN(?:ING)?\b|Warning\]?:? ")
FRAME = re.compile(r"(?:site|dist)-packages[\\/]+(?P<path>(?P<name>\w+)(?=[\\/.])[^\s\"']*)")
# A line of ComfyUI that says which extension it could not import, without the traceback
EXTENSION = re.compile(
    r"Cannot import .{1,300}[\\/]custom_nodes[\\/](?:[Cc]omfy[Uu][Ii][-_])?(?P<name>[^\\/ ]{1,80}) module for custom nodes:"
)
# Code that calls other packages: a frame in it does not name the package that failed
CALLERS = re.compile(
    r"pip\b|importlib|_pytest|torch[\\/]+(?:_ops|_library|_compile|_dynamo|autograd|amp|_utils"
    r"|utils[\\/]+(?:_contextlib|checkpoint)|nn[\\/]+modules[\\/]+module)\b"
)


def mentioned_only(before: str) -> bool:
    """Whether the words after `before`, the start of their line, are quoted or part of a message of level INFO."""
    return bool(QUOTATION.search(before) or UNREPORTED_LEVEL.search(before, max(before.rfind(RELAYED), 0)))


def is_warning(line: str) -> bool:
    """Whether `line` reports a warning, after which the program continues."""
    return bool(WARNING.search(line)) and "Error:" not in line.split("Warning:")[0]


def package_at(log: Log, place: int) -> str | None:
    """The package in site-packages that the line of `place` names, or else the nearest frame of its traceback."""
    start, _ = log.around(place, TRACEBACK_LINES, 0)
    line_start, line_end = log.line(place)
    traceback = log.text.rfind(TRACEBACK, start, line_start)
    if frames := _frames(log, line_start, line_end):
        return frames[-1]
    if extension := EXTENSION.match(log.text, line_start, line_end):
        return extension["name"]
    if traceback < 0:  # a report often has the last frames only
        nearest = log.text.rfind(FILE, log.around(place, FRAME_LINES, 0)[0], line_start)
        traceback = nearest if nearest >= 0 else line_start
    frames = _frames(log, traceback, line_start)
    return frames[-1] if frames else None


def _frames(log: Log, start: int, end: int) -> list[str]:
    return [
        frame["name"] for frame in FRAME.finditer(log.text, start, end) if not CALLERS.match(frame["path"])
    ]
