"""torch.compile for the blocks of a model, with what it gained.

The first steps of a run are eager, so that the gain can be measured. Then each block is compiled; blocks that are alike share
their code. If compiling fails, the step is retried eagerly, and the run continues eagerly.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from trainer.attention import huggingface
from trainer.errors import RunError
from trainer.learning.out_of_memory import is_out_of_memory
from trainer.learning.sharded_objective import blocks
from trainer.random_state import random_state, restore_random_state

EAGER = 3  # steps that are measured without torch.compile; the first one of them warms up
COMPILING = 2  # steps in which code is compiled: the second one if a shape changes
COMPILED = 3  # steps that are measured with it
RECOMPILE_LIMIT = 64  # variants of a block: windows, training and evaluation, lengths of rows
# Beginnings of warnings of the compiler: one that it causes itself, and one about cached functions, which are pure here.
HARMLESS = (
    r"The \.grad attribute of a Tensor that is not a leaf",
    "Dynamo detected a call to a `functools.lru_cache`",
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Gain:
    """What torch.compile gained.

    Attributes:
        eager, compiled: tokens per second of the median step; None if not measured.
        seconds: of the step that compiled.
        error: why the run continues without it; None if it works.
    """

    eager: float | None
    compiled: float | None
    seconds: float | None
    error: str | None = None

    def __str__(self) -> str:
        if self.error:
            return f"torch.compile failed ({self.error}). Training continues without it; to avoid the attempt, use --no-compile."
        assert self.eager and self.compiled
        return (
            f"torch.compile: {self.compiled:,.0f} instead of {self.eager:,.0f} tokens/s, {self.compiled / self.eager:.2f} times "
            f"as many; the step that compiled took {self.seconds:.0f} s"
        )

    def to_json(self) -> dict[str, float | str | None]:
        """The fields of the compile record."""
        return {
            "eager_tokens_per_second": self.eager,
            "compiled_tokens_per_second": self.compiled,
            "compile_seconds": self.seconds,
            "error": self.error,
        }


@dataclass
class Compilation:
    """The progress of compiling a model during a run.

    Attributes:
        model: whose blocks are compiled in place; its names of weights stay as they are.
        report: called once, with what it gained or why it failed.
        wanted: whether to compile at all.
        eager_steps: to measure before compiling.
    """

    model: Any
    device: torch.device
    report: Callable[[Gain], None]
    wanted: bool
    eager_steps: int = EAGER
    _eager: list[float] = field(default_factory=list)
    _seconds: list[float] = field(default_factory=list)
    _compiled: list[float] = field(default_factory=list)
    _state: str = "eager"

    def step(self, compute: Callable[[], Result]) -> Result:
        """Take a step, compiled when it is due. A step whose compilation fails is retried without."""
        if not self.wanted:
            return compute()
        if self._state == "eager" and len(self._eager) >= self.eager_steps:
            self._state = "compiled"
            compile_blocks(self.model)
        if self._state != "compiled" or self._compiled:
            return compute()
        random = random_state(self.device)
        try:
            return compute()
        except RunError:
            raise
        except Exception as error:  # compilers fail in many ways
            if is_out_of_memory(error):
                raise
            message = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        self._state = "failed"
        self._undo()
        restore_random_state(random, self.device)
        self.report(Gain(_median(self._eager[1:]), None, None, message[:300]))
        return compute()

    def took(self, seconds: float, tokens_per_second: float) -> None:
        """Note a step. Reports the gain once it is known."""
        if self._state == "eager":
            self._eager.append(tokens_per_second)
        elif self._state == "compiled" and len(self._seconds) < COMPILING:
            self._seconds.append(seconds)
        elif self._state == "compiled":
            self._compiled.append(tokens_per_second)
            if len(self._compiled) == COMPILED and self.eager_steps:
                gain = Gain(_median(self._eager[1:]), _median(self._compiled), max(self._seconds))
                self.report(gain)

    def _undo(self) -> None:
        for block in blocks(self.model):
            block._compiled_call_impl = None
        self.model.zero_grad(set_to_none=True)
        torch.compiler.reset()


def compile_blocks(model: Any) -> None:
    """Compile the blocks of a model, in place, when they are called next."""
    dynamo: Any = torch._dynamo
    dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    huggingface.fix_windows(model)
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    for block in blocks(model):
        block.compile()


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
