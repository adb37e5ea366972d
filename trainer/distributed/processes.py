"""The processes of a run, and the communication between them.

All processes have the same weights, and each reads its own share of a step's samples. After the last backward pass of a
step, gradients are all-reduced in buckets: once per step, for any number of batches and parts of a batch.
DistributedDataParallel reduces gradients during backward passes instead. It must know which pass is the last, every weight
must take part in it, and the loss must come from the forward of its wrapper. Objectives here have no such restrictions; the
price is that communication does not overlap with computation.

Losses are sums divided by the number of valid tokens of all processes, so gradients are summed, not averaged. A single
process communicates nothing and does not use torch.distributed.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from trainer.distributed import launch
from trainer.distributed.heartbeat import Heartbeat, store_of
from trainer.errors import RunError, UserError
from trainer.say import Say

TIMEOUT = timedelta(minutes=30)  # others may wait for a checkpoint to be written to a slow disk
BUCKET = 64 << 20  # bytes of gradients in one all-reduce
TORCHRUN_GRACE = 90.0  # seconds; by then torchrun has ended the processes that did not fail first

Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """The rank of this process and the number of processes.

    Attributes:
        rank: the process of rank 0 prints messages and writes files.
        count: number of processes.
        local_rank: rank on this machine; the process uses the GPU of that number.
        local_count: number of processes on this machine.
        heartbeat: finds processes that hang; None for a single process.
        names: of all processes, by rank.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    heartbeat: Heartbeat | None = None
    names: tuple[str, ...] = ()

    def mark(self, doing: str | None = None, step: int | None = None) -> None:
        """Note that this process has made progress; see `Heartbeat.mark`."""
        if self.heartbeat:
            self.heartbeat.mark(doing, step)

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def name(self) -> str:
        """The rank and the machine, for messages."""
        return f"rank {self.rank} on {platform.node() or 'an unnamed machine'}"

    def sum(self, *figures: float) -> tuple[float, ...]:
        """Each figure summed over the processes in float64; bit-equal on all of them."""
        if self.count == 1:
            return figures
        total = torch.tensor(figures, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def any(self, condition: bool) -> bool:
        """Whether the condition holds in at least one process."""
        return self.sum(condition)[0] > 0

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum the gradient of each trained parameter over the processes. A gradient that is None in all of them stays None."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        counts = self.sum(*(parameter.grad is not None for parameter in trained))
        gradients = []
        for parameter, count in zip(trained, counts, strict=True):
            if count:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            sizes = [gradient.numel() for gradient in bucket]
            for gradient, summed in zip(bucket, torch.split(flat, sizes), strict=True):
                gradient.copy_(summed.view_as(gradient))

    def main_process_first(self, compute: Callable[[], Result]) -> Result:
        """Return the result of `compute`, which the other processes call after the first one, to use its cached files."""
        if not self.first:
            self.sum(0)
        result = compute()
        if self.first:
            self.sum(0)
        return result

    def check_same_weights(self, model: Any) -> None:
        """Check that all processes start with the same weights.

        Raises:
            RunError: they have read different files, or drawn different random numbers.
        """
        if self.count == 1:
            return
        own = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()])
        if any(not torch.equal(own, other) for other in self.all_gather(own)):
            raise RunError(
                "The processes of this run did not start with the same weights. All of them must read the same model and "
                "checkpoints: use folders that every machine can read."
            )

    def check_sharding(self, device: torch.device, sharding: str) -> None:
        """Check that sharding works on a device, where it requires NCCL if that is a GPU, and on these machines.

        Raises:
            UserError: NCCL is missing, as on Windows; or hybrid sharding has too few or different numbers of processes.
        """
        if device.type == "cuda" and not dist.is_nccl_available():
            raise UserError(
                f"training.sharding = {sharding} requires NCCL on GPUs, and this torch ({torch.__version__}) was built without "
                "it, as are all builds for Windows. Use --sharding none, or Linux (for example WSL 2)."
            )
        if sharding != "hybrid":
            return
        counts = [int(each) for each in self.all_gather(torch.tensor(self.local_count))]
        if len({*counts}) > 1:
            raise UserError(
                "training.sharding = hybrid needs the same number of processes on every machine, but there are "
                f"{' and '.join(map(str, sorted({*counts})))} on some. Start the same --nproc-per-node on each, or use "
                "--sharding full."
            )
        if self.local_count == 1:
            raise UserError(
                "training.sharding = hybrid shares the model between the processes of a machine, but each machine has only one. "
                "Start more with --nproc-per-node, or use --sharding full (shared by all machines) or none (copied to each)."
            )

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """A CPU tensor of each process, by rank."""
        if self.count == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(gathered, tensor)
        return gathered

    def all_texts(self, text: str) -> list[str]:
        """A text of each process, by rank."""
        own = torch.frombuffer(bytearray(text.encode("utf-8")) or bytearray(1), dtype=torch.uint8)
        sizes = [int(size) for size in self.all_gather(torch.tensor(len(text.encode("utf-8"))))]
        padded = torch.zeros(max(1, *sizes), dtype=torch.uint8)
        padded[: len(own)] = own[: len(padded)]
        texts = zip(self.all_gather(padded), sizes, strict=True)
        return [bytes(each[:size].tolist()).decode("utf-8") for each, size in texts]


ALONE = Processes()


@contextmanager
def process_group(hang_timeout: float = 0, say: Say = lambda line: None) -> Iterator[Processes]:
    """Join the process group that torchrun has started, if any.

    Args:
        hang_timeout: seconds without progress after which the process names those that are behind, and ends; 0 for never.

    The process that fails first prints its error and exits. The others wait for torchrun to end them, so that the error is
    printed once.

    Raises:
        UserError: torchrun's environment variables are incomplete.
        RunError: another process has failed or does not respond.
    """
    if (launch.world_size() or 1) == 1:
        yield ALONE
        return
    if sys.platform == "win32":
        os.environ["USE_LIBUV"] = "0"  # Windows builds of torch do not have it
    if missing := [name for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise UserError(
            f"WORLD_SIZE = {os.environ['WORLD_SIZE']} means several processes, but not set: {', '.join(missing)}. "
            "Start them with torchrun or --processes. For a single process, unset WORLD_SIZE and RANK."
        )
    local_rank = int(os.environ["LOCAL_RANK"])
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    with explain_missing_gloo(), explain_lost_processes():
        store, rank, count = next(rendezvous("env://", timeout=TIMEOUT))
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    processes = Processes(rank, count, local_rank)
    try:
        with explain_lost_processes():
            machines = processes.all_texts(platform.node())
            # Processes that were started by hand on several machines may not have this variable of torchrun.
            here = int(os.environ.get("LOCAL_WORLD_SIZE", machines.count(platform.node())))
            processes = replace(processes, local_count=here)
            names = processes.all_texts(processes.name)
            with Heartbeat(store_of(store), rank, names, hang_timeout, say) as heartbeat:
                yield replace(processes, heartbeat=heartbeat, names=tuple(names))
            # Wait for the others: if one exits with a status other than 0, as a stopped run does, torchrun ends the rest.
            processes.sum(0)
    except BaseException:
        another_failed = _another_failed_first(store)
        signal.signal(signal.SIGTERM, signal.SIG_DFL if another_failed else signal.SIG_IGN)
        if another_failed:
            time.sleep(TORCHRUN_GRACE)
        raise
    dist.destroy_process_group()


def exit_now(status: int) -> NoReturn:
    """End this process without the interpreter's shutdown.

    While torch tears down FSDP's threads there, it sometimes aborts ("terminate called without an active exception").
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


@contextmanager
def explain_missing_gloo() -> Iterator[None]:
    """Explain torch's error about gloo without a network device, which the Windows builds of torch 2.8 to 2.10 lack.

    Raises:
        UserError: this build of torch cannot connect processes. https://github.com/SystemPanic/vllm-windows/issues/19
    """
    try:
        yield
    except RuntimeError as error:
        if "unsupported gloo device" not in str(error):
            raise
        raise UserError(
            f"torch {torch.__version__} cannot connect processes on this system: its gloo backend finds no network device. "
            "Train in one process (without --processes), or install torch 2.11 or newer."
        ) from error


@contextmanager
def explain_lost_processes() -> Iterator[None]:
    """Explain torch's error about a lost connection.

    Raises:
        RunError: the connection to another process is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if "unsupported gloo device" in str(error) or not (
            isinstance(error, dist.DistError) or "gloo" in str(error)
        ):
            raise
        raise RunError(
            f"Lost the connection to another process of this run ({_cause(error)}): it has ended, or did not respond for "
            f"{TIMEOUT.seconds // 60} minutes. {launch.RESUME_HINT}"
        ) from error


def _another_failed_first(store: Any) -> bool:
    try:
        return bool(store.add("failed", 1) > 1)
    except RuntimeError:  # the process that hosts the store has ended
        return False


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Group consecutive tensors of the same dtype into buckets."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        size = sum(one.nbytes for one in (*bucket, tensor))
        if bucket and (size > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _cause(error: Exception) -> str:
    """The message of gloo or NCCL, without the source line before it and the advice after it."""
    return re.sub(r"^\[[^]]*\] *", "", str(error).strip().split("\n")[0]).split(". ")[0]
