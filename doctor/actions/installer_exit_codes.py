"""The meaning of an installer's exit code.

Sources: Windows Installer error codes (learn.microsoft.com/windows/win32/msi/error-codes), the Visual Studio installer
(learn.microsoft.com/visualstudio/install/use-command-line-parameters-to-install-visual-studio) and winget
(github.com/microsoft/winget-cli, doc/windows/package-manager/winget/returnCodes.md).
"""

from __future__ import annotations

from doctor.actions.outcome import Outcome

_APPLIED = Outcome(result="applied")
_RESTART = Outcome(result="applied", restart=True)
_INSTALLED = Outcome(result="already so", reason="already installed")
_CANCELLED = Outcome(result="refused", reason="cancelled")
_NOT_ELEVATED = Outcome(
    result="failed", reason="needs administrator rights: run this in a terminal opened as administrator"
)
_BUSY = Outcome(
    result="failed", reason="another installer is running: wait until it has finished, then run this again"
)
_IN_USE = Outcome(
    result="failed",
    reason="files to be replaced are in use: close the programs that use them, then run this again",
)
_RESTART_FIRST = Outcome(
    result="failed", reason="needs a restart first: restart this computer, then run this again"
)
_DISK_FULL = Outcome(result="failed", reason="the disk is full: free some space, then run this again")
_NO_NETWORK = Outcome(result="failed", reason="no network: connect, then run this again")
_BLOCKED = Outcome(result="failed", reason="blocked by a policy of your organization: ask its administrator")

OUTCOMES: dict[int, Outcome] = {
    0: _APPLIED,
    # Windows Installer, followed by most installers
    740: _NOT_ELEVATED,
    1602: _CANCELLED,
    1618: _BUSY,
    1625: _BLOCKED,
    # another version of the product
    1638: _INSTALLED,
    # the restart has begun
    1641: _RESTART,
    3010: _RESTART,
    # Visual Studio
    1001: _BUSY,
    5003: _NO_NETWORK,
    5004: _CANCELLED,
    8006: _IN_USE,
    # its window was closed, or Ctrl-C
    0xC000013A: _CANCELLED,
    # winget: Ctrl-C
    0x8A150005: _CANCELLED,
    0x8A150019: _NOT_ELEVATED,
    # no applicable upgrade
    0x8A15002B: _INSTALLED,
    0x8A15003A: _BLOCKED,
    # the upgrade is not newer
    0x8A15004F: _INSTALLED,
    0x8A150061: _INSTALLED,
    0x8A150101: _IN_USE,
    0x8A150102: _BUSY,
    0x8A150103: _IN_USE,
    0x8A150105: _DISK_FULL,
    0x8A150107: _NO_NETWORK,
    0x8A150109: _RESTART,
    0x8A15010A: _RESTART_FIRST,
    # the restart has begun
    0x8A15010B: _RESTART,
    0x8A15010C: _CANCELLED,
    0x8A15010D: _INSTALLED,
    # a newer version is installed
    0x8A15010E: _INSTALLED,
    0x8A15010F: _BLOCKED,
    0x8A150111: _IN_USE,
}


def outcome_of(exit_code: int) -> Outcome:
    """Return what an installer that ended with `exit_code`, signed or unsigned, has done."""
    code = exit_code & 0xFFFFFFFF
    shown = f"{code:#010x}" if code > 0xFFFF else str(code)
    return OUTCOMES.get(code, Outcome(result="failed", reason=f"ended with exit code {shown}"))
