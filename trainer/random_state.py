"""The state of torch's random generators that a run uses: of the CPU and of its GPU."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore the generators. A state saved without a GPU leaves the GPU's generator unchanged."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


class RandomStates:
    """Numbered states. They share one tensor: small ones that stay, between large ones that come and go, would keep the C
    library from reusing the memory (measured: 200 to 300 bytes a token with chunks of 1,024). Without effect on fake tensors,
    which have no random numbers.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self._device = device
        self._states: dict[str, Tensor] = {}
        if not isinstance(torch.empty(0), FakeTensor):
            self._states = {
                name: state.new_empty(count, len(state)) for name, state in random_state(device).items()
            }

    def save(self, number: int) -> None:
        if self._states:
            for name, state in random_state(self._device).items():
                self._states[name][number] = state

    def restore(self, number: int) -> None:
        if self._states:
            states = {name: states[number].clone() for name, states in self._states.items()}
            restore_random_state(states, self._device)
