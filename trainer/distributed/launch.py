"""Starting a run in several processes on this machine, with torchrun's own launcher.

Each process runs this command line. torchrun's environment variables give it its rank.
"""

from __future__ import annotations

import logging
import os
import platform
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

RESUME_HINT = "Checkpoints are unchanged: continue with --resume."


def world_size() -> int | None:
    """The number of processes that torchrun has started, this one among them; None if it was not started by torchrun."""
    count = os.environ.get("WORLD_SIZE")
    return int(count) if count and "RANK" in os.environ else None


def processes_to_launch(requested: int | None) -> int:
    """The number of processes that this one must launch; 0 if it trains itself.

    Raises:
        UserError: torchrun has started another number of processes.
    """
    started = world_size()
    if started and requested and requested != started:
        raise UserError(
            f"--processes {requested} contradicts torchrun, which has started {started}. Leave --processes out, or start "
            "`aios train` without torchrun."
        )
    return requested if requested and requested > 1 and not started else 0


@contextmanager
def located() -> Iterator[None]:
    """While entered, errors name the process and its machine, if the run has several machines."""
    try:
        yield
    except (UserError, RunError) as error:
        count, here = world_size() or 1, int(os.environ.get("LOCAL_WORLD_SIZE", "0"))
        if not 0 < here < count:
            raise
        raise type(error)(f"rank {os.environ['RANK']} on {platform.node()}: {error}") from error


def restarted_after_failure() -> bool:
    """Whether torchrun would start this process again if it ended with a status other than 0."""
    restarts, limit = (
        os.environ.get(f"TORCHELASTIC_{name}", "0") for name in ("RESTART_COUNT", "MAX_RESTARTS")
    )
    return int(restarts) < int(limit)


def launch(count: int) -> int:
    """Run this command line in `count` processes, wait for them, and return their exit status.

    Stop signals are forwarded: the processes finish the current step and save a checkpoint. torchrun itself would end them
    after 30 seconds.

    Raises:
        RunError: a process was killed; the others have been ended.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    logging.disable()  # torchrun's messages; the result is reported here
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(
        prefix="aios-", dir=_ascii_temp_folder(), ignore_cleanup_errors=True
    ) as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            local_addr="127.0.0.1",  # the machine's own name may not resolve
            rdzv_backend="c10d",
            **_rendezvous(Path(folder)),
            run_id=f"aios-{os.getpid()}",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        # An environment variable in older releases of torch, a setting in newer ones.
        os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = config.signals_to_handle = "SIGHUP"
        try:
            with _stop_signals_forwarded():
                elastic_launch(config, sys.executable)("-u", "-m", "aios", *sys.argv[1:])
        except SignalException as error:
            return 128 + error.sigval
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > 0:
                return failure.exitcode  # the process has printed its error
            name = signal.Signals(-failure.exitcode).name
            raise RunError(f"Process {rank} of {count} was killed ({name}). {RESUME_HINT}") from None
    return 0


def _rendezvous(folder: Path) -> dict[str, Any]:
    """How the processes find each other: through a port, on Windows through a file.

    torchrun requires libuv to open a port, even with USE_LIBUV=0, and Windows builds of torch do not have it.
    """
    if sys.platform != "win32":
        return {"rdzv_endpoint": "localhost:0"}
    os.environ.update(USE_LIBUV="0", TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    return {"rdzv_endpoint": str(folder / "rendezvous"), "rdzv_configs": {"store_type": "file"}}


def _ascii_temp_folder() -> str:
    """The temporary folder, or on Windows the public one if the former is not ASCII.

    On Windows torch decodes file names with the machine's code page, which changes non-ASCII letters in a user's name.
    """
    folder = tempfile.gettempdir()
    return folder if sys.platform != "win32" or folder.isascii() else os.environ.get("PUBLIC", folder)


@contextmanager
def _stop_signals_forwarded() -> Iterator[None]:
    """While entered, stop signals are forwarded to every process. On Windows the console sends Ctrl-C to all of them."""

    def forward(number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children() if sys.platform != "win32" else ():
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
