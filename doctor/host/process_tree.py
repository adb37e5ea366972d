"""A program and all processes that it starts, which can be killed together.

No program outlives the doctor: all are killed when this process ends. On Windows that holds even if this process is
killed; elsewhere the front door turns terminating signals into a normal exit.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil

# How long to wait at exit for programs that are being started; on a drive that is gone a start takes longer
SECONDS_TO_START = 2.0

_starting: set[ProcessTree] = set()
_running: set[ProcessTree] = set()
_exiting = False


@contextmanager
def _registered(tree: ProcessTree) -> Iterator[None]:
    """Register a program while it is started. Raises OSError if this process is exiting."""
    _starting.add(tree)
    try:
        if _exiting:
            raise OSError("the doctor is exiting")
        yield
        _running.add(tree)
    finally:
        _starting.discard(tree)


def _start(
    command: Sequence[str], environment: Mapping[str, str], *, flags: int = 0, session: bool = False
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        creationflags=flags,
        start_new_session=session,
    )


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    CREATE_SUSPENDED = 0x4
    PROCESS_TERMINATE_AND_SET_QUOTA = 0x101
    EXTENDED_LIMIT_INFORMATION = 9
    KILL_ON_JOB_CLOSE = 0x2000

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateJobObjectW.argtypes = [wintypes.LPVOID, wintypes.LPCWSTR]
    kernel32.CreateJobObjectW.restype = wintypes.HANDLE
    kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    kernel32.OpenProcess.restype = wintypes.HANDLE
    kernel32.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
    kernel32.SetInformationJobObject.argtypes = [
        wintypes.HANDLE,
        ctypes.c_int,
        wintypes.LPVOID,
        wintypes.DWORD,
    ]
    kernel32.TerminateJobObject.argtypes = [wintypes.HANDLE, wintypes.UINT]
    kernel32.CloseHandle.argtypes = [wintypes.HANDLE]

    class BasicLimits(ctypes.Structure):
        """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

        _fields_ = (
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class Limits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

        _fields_ = (
            ("BasicLimitInformation", BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    class ProcessTree:
        """A program in a job object, without a console window. Raises OSError if it cannot start.

        Without a job, the children of a process that has ended could not be found.
        """

        def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
            with _registered(self):
                # Suspended, so that it cannot start a process before it is in the job
                flags = subprocess.CREATE_NO_WINDOW | CREATE_SUSPENDED
                self.process = _start(command, environment, flags=flags)
                self._job: int | None = kernel32.CreateJobObjectW(None, None)
                try:
                    self._limit(KILL_ON_JOB_CLOSE)
                    self._enter_job()
                    psutil.Process(self.process.pid).resume()
                except OSError:
                    self.close()
                    self.process.kill()
                    raise

        def _limit(self, flags: int) -> None:
            limits = Limits(BasicLimitInformation=BasicLimits(LimitFlags=flags))
            size = ctypes.sizeof(limits)
            kernel32.SetInformationJobObject(
                self._job, EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), size
            )

        def _enter_job(self) -> None:
            handle = kernel32.OpenProcess(PROCESS_TERMINATE_AND_SET_QUOTA, False, self.process.pid)
            if not handle:
                raise ctypes.WinError(ctypes.get_last_error())
            assigned = kernel32.AssignProcessToJobObject(self._job, handle)
            error = ctypes.WinError(ctypes.get_last_error())
            kernel32.CloseHandle(handle)
            if not assigned:
                raise error

        def kill(self) -> None:
            """Kill the program and all processes that it started."""
            kernel32.TerminateJobObject(self._job, 1)

        def close(self) -> None:
            """Release the program without killing it."""
            _running.discard(self)
            self._limit(0)
            job, self._job = self._job, None
            kernel32.CloseHandle(job)

else:
    import os
    import signal
    from contextlib import suppress

    class ProcessTree:
        """A program in a session of its own. Raises OSError if it cannot start."""

        def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
            with _registered(self):
                self.process = _start(command, environment, session=True)

        def kill(self) -> None:
            """Kill the program and all processes that it started: its session, and descendants that left the session."""
            descendants: list[psutil.Process] = []
            with suppress(psutil.NoSuchProcess):
                descendants = psutil.Process(self.process.pid).children(recursive=True)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            for descendant in descendants:
                with suppress(psutil.NoSuchProcess):
                    descendant.kill()

        def close(self) -> None:
            """Release the program without killing it."""
            _running.discard(self)


@atexit.register
def _kill_all() -> None:
    """Kill the programs of the probes when the doctor is interrupted, and let the probes start no more."""
    global _exiting
    _exiting = True
    deadline = time.monotonic() + SECONDS_TO_START
    while _starting and time.monotonic() < deadline:
        time.sleep(0.01)
    for tree in tuple(_running):
        tree.kill()
