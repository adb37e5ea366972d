"""The processes of a run: which of them this is, and how they agree.

Weights are the same everywhere, each process reads its own share of a step's samples, and after the step's last backward pass
the gradients are summed: all-reduced in buckets, once a step, whatever the number of batches and of parts of a batch.
DistributedDataParallel sums in the midst of backward passes instead, and so wants to know which is the last, that every
weight takes part in it, and that the loss was computed by the forward of its own wrapper. An objective owes none of that.
The price is that nothing is computed meanwhile.

Losses are sums, and divided by the valid tokens of all processes: so gradients are summed, not averaged. Alone, nothing is
communicated and torch.distributed is not used.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from trainer.distributed import launch
from trainer.errors import RunError, UserError

PATIENCE = timedelta(minutes=30)  # others may wait for a checkpoint on a slow disk
BUCKET = 64 << 20  # bytes of gradients that are sent together
OUTLIVED = 90.0  # seconds in which torchrun ends those that fail after another


Made = TypeVar("Made")


@dataclass(frozen=True)
class Processes:
    """This process among those of its run.

    Attributes:
        rank: which one it is; 0 writes and speaks.
        count: how many there are.
        local_rank: which one it is on this machine: it has the GPU of that number.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, *figures: float) -> tuple[float, ...]:
        """Each figure summed over the processes, in float64: the same to the last bit on all."""
        if self.count == 1:
            return figures
        total = torch.tensor(figures, dtype=torch.float64)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def any(self, condition: bool) -> bool:
        """Whether it holds in one of them."""
        return self.sum(condition)[0] > 0

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """The gradient of each trained parameter, summed over the processes. None stays None where it is so everywhere."""
        if self.count == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        there = self.sum(*(parameter.grad is not None for parameter in trained))
        gradients = []
        for parameter, processes in zip(trained, there, strict=True):
            if processes:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            together = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(together)
            sizes = [gradient.numel() for gradient in bucket]
            for gradient, summed in zip(bucket, torch.split(together, sizes), strict=True):
                gradient.copy_(summed.view_as(gradient))

    def after_the_first(self, make: Callable[[], Made]) -> Made:
        """What the first process makes, and leaves for the others to find."""
        if not self.first:
            self.sum(0)
        made = make()
        if self.first:
            self.sum(0)
        return made

    def check_alike(self, model: Any) -> None:
        """Refuse to begin with different weights.

        Raises:
            RunError: the processes have read other files, or drawn other numbers.
        """
        if self.count == 1:
            return
        own = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()])
        if any(not torch.equal(own, other) for other in self.each(own)):
            raise RunError(
                "The processes of this run do not begin with the same weights. All of them must read the same model and "
                "checkpoints: name folders that every machine sees."
            )

    def check_sharding(self, device: torch.device) -> None:
        """Refuse what gloo cannot do.

        Raises:
            UserError: GPUs without NCCL, as on Windows.
        """
        if device.type == "cuda" and not dist.is_nccl_available():
            raise UserError(
                f"training.sharding = full takes NCCL on GPUs, and this torch ({torch.__version__}) has none: builds for "
                "Windows never do. Use --sharding none, or Linux (WSL 2 is one)."
            )

    def each(self, tensor: Tensor) -> list[Tensor]:
        """A tensor of the CPU, as each process has it."""
        if self.count == 1:
            return [tensor]
        all_of_them = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(all_of_them, tensor)
        return all_of_them


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Be one of the processes that torchrun has started, or alone.

    Whoever fails first says why, and ends; the others wait for torchrun to end them, so that nothing is said twice.

    Raises:
        UserError: the variables that tell which are not all there.
        RunError: another process has failed, or does not answer.
    """
    if (launch.processes_started() or 1) == 1:
        yield ALONE
        return
    if sys.platform == "win32":
        os.environ["USE_LIBUV"] = "0"  # the Windows builds of torch have none
    if missing := [name for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise UserError(
            f"WORLD_SIZE = {os.environ['WORLD_SIZE']} says that this is one of several processes, and {', '.join(missing)} "
            "is not set. Start them by torchrun or --processes; for a single one unset WORLD_SIZE and RANK."
        )
    local_rank = int(os.environ["LOCAL_RANK"])
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    with lost_processes_told():
        store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    processes = Processes(rank, count, local_rank)
    try:
        with lost_processes_told():
            yield processes
            processes.sum(
                0
            )  # torchrun ends the others when one has left with a status, such as that of a stopped run
    except BaseException:
        follows = _failed_before(store)
        signal.signal(signal.SIGTERM, signal.SIG_DFL if follows else signal.SIG_IGN)
        if follows:
            time.sleep(OUTLIVED)
        raise
    dist.destroy_process_group()


def leave(status: int) -> NoReturn:
    """End this process, with all done. In the interpreter's own end torch tears down the threads of shares, and aborts at
    times ("terminate called without an active exception")."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


@contextmanager
def lost_processes_told() -> Iterator[None]:
    """What torch says of a connection that is lost, as an error for a person.

    Raises:
        RunError: it is.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise RunError(
            f"The connection to another process of this run is lost ({_cause(error)}): it has ended, or did not answer for "
            f"{PATIENCE.seconds // 60} minutes. "
            f"{launch.ENDED}"
        ) from error


def _failed_before(store: Any) -> bool:
    """Whether another process has failed before this one."""
    try:
        return bool(store.add("failed", 1) > 1)
    except RuntimeError:  # the process that kept the store has ended
        return False


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one kind in a row, as many as fit into a bucket."""
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
    """What gloo or NCCL says, without the line of source and the advice around it."""
    return re.sub(r"^\[[^]]*\] *", "", str(error).strip().split("\n")[0]).split(". ")[0]
