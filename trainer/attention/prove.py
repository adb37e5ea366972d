"""Run one backend on this machine and report what it can do: `python -m trainer.attention.prove BACKEND`.

The last line of stdout is one JSON object: {"backend": BackendCapability, "devices": [Device, ...], "installed": bool}. The
doctor runs this in a child process, because a kernel may crash its process. Without torch it reports that torch is missing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import psutil

from doctor.capability import BACKENDS, BackendCapability, Device, Features, ProofEvidence

if TYPE_CHECKING:
    from trainer.attention.backend import Backend
    from trainer.attention.proof_cases import CaseResult

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Trial:
    """One case on one device in one dtype, by one implementation if the backend has several."""

    device: str
    dtype: str
    case: str
    implementation: str
    result: CaseResult

    @property
    def problem(self) -> str | None:
        """The problem that was found and where it occurred; None if there was none."""
        if self.result.problem is None:
            return None
        where = " ".join(filter(None, (self.device, self.dtype, self.case, self.implementation)))
        return f"{where}: {self.result.problem}"


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


def run_cases(backend: Backend, devices: tuple[Device, ...]) -> list[Trial]:
    """Run every case that the backend supports, on every device, in every dtype, by every implementation."""
    from trainer.attention.backend import Implementation
    from trainer.attention.proof_cases import CASES, Case, CaseResult, Harness
    from trainer.attention.proof_memory import MemoryCase

    harness = Harness()
    cases: list[Case | MemoryCase] = [*CASES, *([] if backend.stores_table else [MemoryCase()])]
    whole = Implementation("", backend.run, backend.reasons_against)
    names = ["cpu" if device.type == "cpu" else f"cuda:{device.index}" for device in devices]
    trials = []
    for device, dtype, case in product(names, DTYPES, cases):
        request = case.request(device, dtype)
        for implementation in backend.implementations or (whole,):
            if backend.reasons_against(request) or implementation.reasons_against(request):
                continue
            try:
                if isinstance(case, MemoryCase):
                    result = CaseResult(problem=case.problem(implementation.run, device, dtype))
                else:
                    result = harness.run(implementation.run, case, device, dtype)
            except Exception as error:  # noqa: BLE001 - a third-party kernel may fail in any way
                result = CaseResult(problem=_first_line(error))
            trials.append(Trial(device, dtype, case.name, implementation.name, result))
    return trials


def summarize(
    trials: list[Trial], version: str | None, max_head_dim: int | None, last: str = ""
) -> BackendCapability:
    """The capability that the trials prove.

    A device counts if "plain" and "window" agreed in some dtype, a dtype if they agreed on each such device, and a
    feature if it agreed on all of these devices in all of these dtypes. An implementation that failed where the last
    one agreed is left out, because it is not used then. All failures are listed in `reasons`.

    Args:
        last: the implementation that serves what the others do not; "" if there is only one.
    """
    problems = tuple(trial.problem for trial in trials if trial.problem)
    trials = _without_failures(trials, last)
    devices, dtypes = _proven(trials)
    if not dtypes:
        reasons = problems[:3] or ("supports no device of this machine",)
        return BackendCapability(status="unavailable", version=version, reasons=reasons)
    good = [
        trial for trial in trials if trial.device in devices and trial.dtype in dtypes and not trial.problem
    ]
    features = {
        name: all(_agreed(trials, name, device, dtype) for device, dtype in product(devices, dtypes))
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
            forward_error=max(trial.result.forward_error for trial in good),
            backward_error=max(trial.result.backward_error for trial in good),
            window_support_exact=True,  # otherwise the case "window" would not have agreed
            milliseconds=min(trial.result.milliseconds for trial in good if trial.case == "window"),
        ),
        implementations=tuple(dict.fromkeys(trial.implementation for trial in good if trial.implementation)),
    )


def _without_failures(trials: list[Trial], last: str) -> list[Trial]:
    """The trials of the last implementation, and of the others that agreed wherever the last one did."""
    agreed = {
        (trial.device, trial.dtype, trial.case)
        for trial in trials
        if trial.implementation == last and not trial.problem
    }
    failed = {
        trial.implementation
        for trial in trials
        if trial.problem and (trial.device, trial.dtype, trial.case) in agreed
    } - {last}
    return [trial for trial in trials if trial.implementation not in failed]


def _proven(trials: list[Trial]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The devices and dtypes for which "plain" and "window" agreed."""

    def basic(device: str, dtype: str) -> bool:
        return all(_agreed(trials, case, device, dtype) for case in ("plain", "window"))

    dtypes = tuple(dict.fromkeys(trial.dtype for trial in trials))
    devices = tuple(
        device
        for device in dict.fromkeys(trial.device for trial in trials)
        if any(basic(device, dtype) for dtype in dtypes)
    )
    if not devices:
        return (), ()
    return devices, tuple(dtype for dtype in dtypes if all(basic(device, dtype) for device in devices))


def _agreed(trials: list[Trial], case: str, device: str, dtype: str) -> bool:
    """Whether a case ran on this device in this dtype, and every implementation agreed with the reference."""
    problems = [
        trial.problem for trial in trials if (trial.case, trial.device, trial.dtype) == (case, device, dtype)
    ]
    return bool(problems) and not any(problems)


def prove(name: str) -> tuple[BackendCapability, tuple[Device, ...]]:
    """What the backend of this name can do here, and the devices that torch sees."""
    if importlib.util.find_spec("torch") is None:
        return BackendCapability(status="unavailable", reasons=("torch package not installed",)), ()
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = f"torch cannot be imported: {_first_line(error)}"
        return BackendCapability(status="unavailable", reasons=(reason,)), ()
    torch.set_num_threads(1)  # the doctor proves all backends at the same time
    devices = devices_here()
    from trainer.attention.choice import backend_named

    backend = backend_named(name)
    version = _version(backend.distribution)
    try:
        reasons = backend.reasons_here()
    except Exception as error:  # noqa: BLE001 - importing a third-party package may fail in any way
        reasons = [f"cannot be used: {_first_line(error)}"]
    if reasons:
        return BackendCapability(status="unavailable", version=version, reasons=tuple(reasons)), devices
    last = backend.implementations[-1].name if backend.implementations else ""
    return summarize(run_cases(backend, devices), version, backend.max_head_dim, last), devices


def _missing(name: str) -> str | None:
    """Why this backend has no kernel to test; None if it has one, or if that is unknown."""
    from trainer.attention.choice import backend_named

    try:
        return backend_named(name).missing()
    except Exception:  # noqa: BLE001 - importing a third-party package may fail in any way
        return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(arguments: list[str]) -> int:
    """Print the JSON line. The exit status is 2 unless one backend is named."""
    if len(arguments) != 1 or arguments[0] not in BACKENDS:
        sys.stderr.write(f"usage: python -m trainer.attention.prove {{{','.join(BACKENDS)}}}\n")
        return 2
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler writes lines to stderr otherwise
    backend, devices = prove(arguments[0])
    result = {
        "backend": backend.model_dump(mode="json"),
        "devices": [device.model_dump(mode="json") for device in devices],
        "installed": not devices or _missing(arguments[0]) is None,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
