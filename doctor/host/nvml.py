"""The NVIDIA driver, queried in a child process through NVML, its management library.

A hung driver can block its caller forever, even at exit, and a broken library can crash it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from doctor.host.base import Completed, NvidiaDriver
from doctor.host.completed import exit_code, last_error_line
from doctor.host.machine import Entry, to_reading
from doctor.host.readings import Found, Reading, Unreadable

CHILD = Path(__file__).with_name("nvml_child.py")
TIMEOUT = 10.0  # seconds
ANSWER: TypeAdapter[Entry[NvidiaDriver]] = TypeAdapter(Entry[NvidiaDriver])

Run = Callable[[Sequence[str], float, Mapping[str, str]], Reading[Completed]]


def read_driver(run: Run) -> Reading[NvidiaDriver]:
    """Return the driver and its GPUs. Absent: no NVML, so no NVIDIA driver. `run` is `Reader.run`."""
    ran = run([sys.executable, str(CHILD)], TIMEOUT, {"PYTHONSAFEPATH": "1"})
    if not isinstance(ran, Found):
        reason = ran.reason if isinstance(ran, Unreadable) else "this Python cannot be started"
        return Unreadable(f"the driver does not answer NVML: {reason}")
    if ran.value.exit_code != 0:
        ended = f"the NVML process ended with exit code {exit_code(ran.value)}"
        return Unreadable(": ".join(filter(None, (ended, last_error_line(ran.value)))))
    return parse_answer(ran.value.stdout)


def parse_answer(output: str) -> Reading[NvidiaDriver]:
    """Parse the last line that the child printed; a library may have printed lines before it."""
    *_, last = output.strip().splitlines() or [""]
    try:
        return to_reading(ANSWER.validate_json(last))
    except ValidationError:
        return Unreadable(f"the NVML process printed {last[:80]!r}")
