"""What an installer's exit code means.

Sources: Windows Installer error codes (learn.microsoft.com/windows/win32/msi/error-codes), those of the Visual Studio
installer (learn.microsoft.com/visualstudio/install/use-command-line-parameters-to-install-visual-studio) and winget's
(github.com/microsoft/winget-cli, doc/windows/package-manager/winget/returnCodes.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Result = Literal["applied", "already so", "refused", "failed"]


@dataclass(frozen=True)
class Ending:
    """What came of trying to bring a state about. `reason` says why it is not there, or why nothing had to be done."""

    result: Result
    reason: str = ""
    restart: bool = False  # does it count only after a restart of the computer?


APPLIED = Ending("applied")
_RESTART = Ending("applied", restart=True)
_THERE = Ending("already so", "it is installed already")
_CANCELLED = Ending("refused", "it was cancelled")
_NOT_ELEVATED = Ending(
    "failed", "it needs administrator rights: run this in a terminal opened as administrator"
)
_BUSY = Ending("failed", "another installer is running: wait for its end, then run this again")
_IN_USE = Ending("failed", "what it would replace is in use: close those programs, then run this again")
_RESTART_FIRST = Ending("failed", "it wants a restart first: restart this computer, then run this again")
_DISK_FULL = Ending("failed", "the disk is full: make room, then run this again")
_NO_NETWORK = Ending("failed", "it has no network: connect, then run this again")
_BLOCKED = Ending("failed", "a policy of this computer's organization forbids it: ask whoever looks after it")

ENDINGS: dict[int, Ending] = {
    0: APPLIED,
    # Windows Installer; most installers follow it
    740: _NOT_ELEVATED,
    1602: _CANCELLED,
    1618: _BUSY,
    1625: _BLOCKED,
    1638: _THERE,  # another version of the product
    1641: _RESTART,  # it has begun
    3010: _RESTART,
    # Visual Studio
    1001: _BUSY,
    5003: _NO_NETWORK,
    5004: _CANCELLED,
    8006: _IN_USE,
    0xC000013A: _CANCELLED,  # its window was closed, or Ctrl-C
    # winget
    0x8A150005: _CANCELLED,  # Ctrl-C
    0x8A150019: _NOT_ELEVATED,
    0x8A15002B: _THERE,  # no applicable upgrade
    0x8A15003A: _BLOCKED,
    0x8A15004F: _THERE,  # the upgrade is not newer
    0x8A150061: _THERE,
    0x8A150101: _IN_USE,
    0x8A150102: _BUSY,
    0x8A150103: _IN_USE,
    0x8A150105: _DISK_FULL,
    0x8A150107: _NO_NETWORK,
    0x8A150109: _RESTART,
    0x8A15010A: _RESTART_FIRST,
    0x8A15010B: _RESTART,  # it has begun
    0x8A15010C: _CANCELLED,
    0x8A15010D: _THERE,
    0x8A15010E: _THERE,  # a newer version
    0x8A15010F: _BLOCKED,
    0x8A150111: _IN_USE,
}


def ending(exit_code: int) -> Ending:
    """What came of an installer that ended with `exit_code`, signed or unsigned."""
    code = exit_code & 0xFFFFFFFF
    shown = f"{code:#010x}" if code > 0xFFFF else str(code)
    return ENDINGS.get(code, Ending("failed", f"it ended with exit code {shown}"))
