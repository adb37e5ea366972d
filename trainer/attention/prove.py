"""Run one backend on this machine and say what it can do: `python -m trainer.attention.prove BACKEND`.

The last line of stdout is one JSON object: {"backend": BackendCapability, "devices": [Device, ...]}. The doctor runs
this in a child process, because a kernel may take its process down. It says so, too, where there is no torch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import psutil

from doctor.capability import BACKENDS, BackendCapability, Device, Features, ProofEvidence
from trainer.attention.request import AttentionRequest

if TYPE_CHECKING:
    from trainer.attention.proof_cases import Outcome

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Trial:
    """One case on one device in one dtype, by one implementation where a backend has several."""

    device: str
    dtype: str
    case: str
    implementation: str
    outcome: Outcome

    @property
    def problem(self) -> str | None:
        """What went wrong, and where."""
        if self.outcome.problem is None:
            return None
        where = " ".join(filter(None, (self.device, self.dtype, self.case, self.implementation)))
        return f"{where}: {self.outcome.problem}"


def devices_here() -> tuple[Device, ...]:
    """The CPU and every CUDA device."""
    import torch

    memory = psutil.virtual_memory().total
    found = [Device(type="cpu", index=0, name="CPU", compute_capability=None, total_memory_bytes=memory)]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        gpu = torch.cuda.get_device_properties(index)
        found.append(
            Device(
                type="cuda",
                index=index,
                name=gpu.name,
                compute_capability=(gpu.major, gpu.minor),
                total_memory_bytes=gpu.total_memory,
            )
        )
    return tuple(found)


def trials(module: ModuleType, devices: tuple[Device, ...]) -> list[Trial]:
    """Every case that the backend is made for, on every device, in every dtype, by every implementation."""
    from trainer.attention.proof_cases import CASES, HEAD_DIM, HEADS, Laboratory, Outcome

    laboratory = Laboratory()
    done = []
    for device in ("cpu" if device.type == "cpu" else f"cuda:{device.index}" for device in devices):
        for dtype in DTYPES:
            for case in CASES:
                request = AttentionRequest(
                    device,
                    dtype,
                    HEAD_DIM,
                    HEADS,
                    case.key_heads,
                    case.window,
                    case.packed,
                    case.dropout,
                    case.softcap is not None,
                )
                if module.reasons_against(request):
                    continue
                for name, one in getattr(module, "IMPLEMENTATIONS", {"": module}).items():
                    if name and laboratory.ask(one.reasons_against, case, device, dtype):
                        continue
                    try:
                        outcome = laboratory.run(one.run, case, device, dtype)
                    except Exception as error:  # noqa: BLE001 - a third-party kernel may fail in any way
                        outcome = Outcome(problem=_first_line(error))
                    done.append(Trial(device, dtype, case.name, name, outcome))
    return done


def summary(done: list[Trial], version: str | None, max_head_dim: int | None) -> BackendCapability:
    """What the trials prove.

    A device counts where "plain" and "window" agreed in some dtype, a dtype where they did so on each such device, and
    a feature where it agreed on all of these devices in all of these dtypes. What failed beside that is in `reasons`.
    """

    def agreed(case: str, device: str, dtype: str) -> bool:
        there = [trial for trial in done if (trial.case, trial.device, trial.dtype) == (case, device, dtype)]
        return bool(there) and all(trial.problem is None for trial in there)

    def basic(device: str, dtype: str) -> bool:
        return agreed("plain", device, dtype) and agreed("window", device, dtype)

    tried = tuple(dict.fromkeys(trial.dtype for trial in done))
    devices = tuple(
        device
        for device in dict.fromkeys(trial.device for trial in done)
        if any(basic(device, dtype) for dtype in tried)
    )
    dtypes = tuple(dtype for dtype in tried if devices and all(basic(device, dtype) for device in devices))
    problems = tuple(trial.problem for trial in done if trial.problem)
    if not dtypes:
        reasons = problems[:3] or ("is made for no device of this machine",)
        return BackendCapability(status="unavailable", version=version, reasons=reasons)

    good = [
        trial for trial in done if trial.device in devices and trial.dtype in dtypes and not trial.problem
    ]
    features = {
        name: all(agreed(name, device, dtype) for device in devices for dtype in dtypes)
        for name in Features.model_fields
    }
    return BackendCapability(
        status="available",
        version=version,
        reasons=problems,
        devices=devices,
        dtypes=dtypes,
        max_head_dim=max_head_dim,
        features=Features(**features),
        evidence=ProofEvidence(
            forward_error=max(trial.outcome.forward_error for trial in good),
            backward_error=max(trial.outcome.backward_error for trial in good),
            window_support_exact=True,  # else the case "window" would not have agreed
            milliseconds=min(trial.outcome.milliseconds for trial in good if trial.case == "window"),
        ),
        implementations=tuple(dict.fromkeys(trial.implementation for trial in good if trial.implementation)),
    )


def prove(backend: str) -> tuple[BackendCapability, tuple[Device, ...]]:
    """What the backend can do here, and the devices that torch sees."""
    if importlib.util.find_spec("torch") is None:
        return BackendCapability(status="unavailable", reasons=("torch package not installed",)), ()
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = f"torch cannot be imported: {_first_line(error)}"
        return BackendCapability(status="unavailable", reasons=(reason,)), ()
    torch.set_num_threads(1)  # the doctor runs four of these at a time
    devices = devices_here()
    module = importlib.import_module(f"trainer.attention.{backend}")
    version = _version(getattr(module, "DISTRIBUTION", "torch"))
    try:
        reasons = module.reasons_here()
    except Exception as error:  # noqa: BLE001 - importing a third-party package may fail in any way
        reasons = [f"cannot be used: {_first_line(error)}"]
    if reasons:
        return BackendCapability(status="unavailable", version=version, reasons=tuple(reasons)), devices
    return summary(trials(module, devices), version, getattr(module, "MAX_HEAD_DIM", None)), devices


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    """Print the JSON line. Exit status 2 where no backend is named."""
    if len(arguments) != 1 or arguments[0] not in BACKENDS:
        sys.stderr.write(f"usage: python -m trainer.attention.prove {{{','.join(BACKENDS)}}}\n")
        return 2
    backend, devices = prove(arguments[0])
    result = {
        "backend": backend.model_dump(mode="json"),
        "devices": [device.model_dump(mode="json") for device in devices],
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
