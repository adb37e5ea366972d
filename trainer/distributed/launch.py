"""Starting a run in several processes of this machine, by torchrun's own launcher.

Each of them is this command once more, told by torchrun's variables which one it is.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from trainer.errors import RunError, UserError
from trainer.stop import SIGNALS

ENDED = "Checkpoints are as they were: go on with --resume."


def processes_started() -> int | None:
    """How many processes this one was started among; None where it was started alone."""
    count = os.environ.get("WORLD_SIZE")
    return int(count) if count and "RANK" in os.environ else None


def to_be_started(asked: int | None) -> int:
    """How many processes are asked for and yet to be started; 0 where this one goes on by itself.

    Raises:
        UserError: others have been started.
    """
    started = processes_started()
    if started and asked and asked != started:
        raise UserError(
            f"--processes {asked}, and torchrun has started {started}. Leave --processes out, or start `aios train` "
            "itself with it."
        )
    return asked if asked and asked > 1 and not started else 0


def start(count: int) -> int:
    """Run this process's own command line in `count` processes, and wait for them; returns their exit status.

    A request to stop is theirs: they end after the step in hand, with a checkpoint. torchrun would give them 30 seconds.

    Raises:
        RunError: one was ended from outside; the others have been ended, too.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    logging.disable()  # torchrun's own words; how it ended is told here
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(
        prefix="aios-", dir=_plain_folder(), ignore_cleanup_errors=True
    ) as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            local_addr="127.0.0.1",  # the machine's own name need not lead anywhere
            rdzv_backend="c10d",
            **_meeting_point(Path(folder)),
            run_id=f"aios-{os.getpid()}",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        # A setting of its own in newer releases of torch
        os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = config.signals_to_handle = "SIGHUP"
        try:
            with _requests_handed_on():
                elastic_launch(config, sys.executable)("-u", "-m", "aios", *sys.argv[1:])
        except SignalException as error:
            return 128 + error.sigval
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > 0:
                return failure.exitcode  # it has said why
            name = signal.Signals(-failure.exitcode).name
            raise RunError(f"Process {rank} of {count} was ended from outside ({name}). {ENDED}") from None
    return 0


def _meeting_point(folder: Path) -> dict[str, Any]:
    """Where the processes find each other: at a port; on Windows by a file.

    Windows builds of torch have no libuv. torchrun asks for it wherever it opens a port, whatever USE_LIBUV says.
    """
    if sys.platform != "win32":
        return {"rdzv_endpoint": "localhost:0"}
    os.environ.update(USE_LIBUV="0", TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    return {"rdzv_endpoint": str(folder / "meeting-point"), "rdzv_configs": {"store_type": "file"}}


def _plain_folder() -> str:
    """A folder for the meeting point. On Windows torch opens files by names in the code page of the machine: where the
    user's letters make another name of the usual folder, it is everybody's."""
    usual = tempfile.gettempdir()
    return usual if sys.platform != "win32" or usual.isascii() else os.environ.get("PUBLIC", usual)


@contextmanager
def _requests_handed_on() -> Iterator[None]:
    """While entered, a request to stop goes on to every process. On Windows the console itself sends Ctrl-C to all."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children() if sys.platform != "win32" else ():
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
