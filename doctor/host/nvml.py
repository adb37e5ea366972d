"""The NVIDIA driver through its management library, NVML, which a process of its own asks.

A wedged driver keeps whoever asks it for ever, where not even an exit ends him; a broken library takes him down.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from doctor.host.base import Completed, NvidiaDriver
from doctor.host.completed import exit_code, last_words
from doctor.host.machine import Entry, to_reading
from doctor.host.readings import Found, Reading, Unreadable

CHILD = Path(__file__).with_name("nvml_child.py")
TIMEOUT = 10.0  # seconds
ANSWER: TypeAdapter[Entry[NvidiaDriver]] = TypeAdapter(Entry[NvidiaDriver])

Run = Callable[[Sequence[str], float, Mapping[str, str]], Reading[Completed]]


def read_driver(run: Run) -> Reading[NvidiaDriver]:
    """The driver and its GPUs. Absent: there is no NVML, so no NVIDIA driver. `run` is `Host.run`."""
    ran = run([sys.executable, str(CHILD)], TIMEOUT, {"PYTHONSAFEPATH": "1"})
    if not isinstance(ran, Found):
        reason = ran.reason if isinstance(ran, Unreadable) else "this Python cannot be started"
        return Unreadable(f"the driver is not answering NVML: {reason}")
    if ran.value.exit_code != 0:
        ended = f"the process that asked NVML ended with exit code {exit_code(ran.value)}"
        return Unreadable(": ".join(filter(None, (ended, last_words(ran.value)))))
    return parse_answer(ran.value.stdout)


def parse_answer(output: str) -> Reading[NvidiaDriver]:
    """The last line of what the child printed; a library may have printed others."""
    *_, last = output.strip().splitlines() or [""]
    try:
        return to_reading(ANSWER.validate_json(last))
    except ValidationError:
        return Unreadable(f"the process that asked NVML printed {last[:80]!r}")
