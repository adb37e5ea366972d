"""The proof that the doctor asks for: it says what ran here and agreed, and nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from doctor.capability import BackendCapability, Device
from trainer.attention import manual, prove, sdpa
from trainer.attention.prove import main, summary, trials

CPU = (Device(type="cpu", index=0, name="CPU", compute_capability=None, total_memory_bytes=1),)


def answer(text: str) -> tuple[BackendCapability, list[Device]]:
    said = json.loads(text.splitlines()[-1])
    assert list(said) == ["backend", "devices"]
    backend = BackendCapability.model_validate_json(json.dumps(said["backend"]))
    return backend, [Device.model_validate_json(json.dumps(device)) for device in said["devices"]]


def judged(run) -> BackendCapability:
    """What the proof says of a backend that runs `run` on the CPU."""
    module = ModuleType("backend")
    module.reasons_against, module.run = manual.reasons_against, run
    return summary(trials(module, CPU), "1", None)


def test_child_process_prints_one_json_line():
    done = subprocess.run(
        [sys.executable, "-m", "trainer.attention.prove", "sdpa"], capture_output=True, text=True, check=True
    )
    backend, devices = answer(done.stdout)
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    assert (
        backend.status == "available"
        and backend.version == importlib.metadata.version("torch")
        and backend.reasons == ()
    )
    assert "cpu" in backend.devices and backend.dtypes == ("float32", "float16", "bfloat16")
    assert backend.implementations == ("causal", "dense", "banded")
    assert all(backend.features.model_dump().values())
    assert 0 < backend.evidence.forward_error < 0.02 and 0 < backend.evidence.backward_error < 0.05
    assert backend.evidence.window_support_exact and backend.evidence.milliseconds > 0
    assert devices[0].type == "cpu" and devices[0].total_memory_bytes > 2**28


def test_without_torch_it_still_answers():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from trainer.attention.prove import main; sys.exit(main(['manual']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    backend, devices = answer(done.stdout)
    assert (backend.status, backend.reasons, devices) == ("unavailable", ("torch package not installed",), [])


@pytest.mark.parametrize(("backend", "package"), [("flash_attn_2", "flash-attn"), ("xformers", "xformers")])
def test_missing_package_is_the_reason(backend, package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    monkeypatch.setitem(sys.modules, "xformers", None)
    assert main([backend]) == 0
    capability, devices = answer(capsys.readouterr().out)
    assert (capability.status, capability.reasons) == ("unavailable", (f"{package} package not installed",))
    assert devices[0].type == "cpu"


def test_package_that_fails_to_import_is_the_reason(monkeypatch):
    def broken():
        raise OSError("[WinError 126] The specified module could not be found\nmore")

    monkeypatch.setattr(manual, "reasons_here", broken)
    capability, _ = prove.prove("manual")
    assert capability.reasons == ("cannot be used: [WinError 126] The specified module could not be found",)


def test_unknown_backend_is_a_usage_error(capsys):
    assert main(["flash"]) == 2
    assert "flash_attn_2,xformers,sdpa,manual" in capsys.readouterr().err


def test_window_that_is_off_by_one_is_found():
    def off_by_one(q, k, v, *, window, **options):
        return manual.run(q, k, v, window=window and window + 1, **options)

    capability = judged(off_by_one)
    assert capability.status == "unavailable"
    assert capability.reasons[0].startswith("cpu float32 window: off the float64 reference by")


def test_key_outside_the_window_is_found_even_where_it_hardly_counts():
    def leaks_a_little(q, k, v, **options):
        others = manual.run(q, k, v, **{**options, "window": None})
        return manual.run(q, k, v, **options) * (1 - 1e-5) + others * 1e-5

    capability = judged(leaks_a_little)
    assert capability.reasons[0] == "cpu float32 window: other keys are seen than the definition allows"


def test_wrong_gradient_is_found():
    def half_of_dv(q, k, v, **options):
        return manual.run(q, k, v * 0.5 + v.detach() * 0.5, **options)

    assert "(gradients)" in judged(half_of_dv).reasons[0]


def test_kernel_that_raises_costs_what_it_failed_at():
    def no_bf16_no_documents(q, k, v, *, document_ids, **options):
        if q.dtype == torch.bfloat16:
            raise RuntimeError("no kernel for bfloat16\n  at line 3")
        if document_ids is not None:
            raise NotImplementedError
        return manual.run(q, k, v, document_ids=None, **options)

    capability = judged(no_bf16_no_documents)
    assert capability.status == "available" and capability.dtypes == ("float32", "float16")
    features = capability.features.model_dump()
    assert features == {"window": True, "packed": False, "gqa": True, "dropout": True}
    assert "cpu bfloat16 plain: no kernel for bfloat16" in capability.reasons
    assert "cpu float32 packed: NotImplementedError" in capability.reasons


WRONG_DROPOUT = {
    "dropout drops nothing": lambda dropped: dropped(0.0),
    "dropout drops other weights in the backward pass": lambda dropped: (
        (one := dropped(0.25)) + (dropped(0.25) - one).detach()
    ),
    "dropout changes the scale by 0.75": lambda dropped: dropped(0.25) * 0.75,
}


@pytest.mark.parametrize("problem", WRONG_DROPOUT)
def test_wrong_dropout_is_found(problem):
    def wrong(q, k, v, *, dropout, **options):
        def dropped(rate):
            return manual.run(q, k, v, dropout=rate, **options)

        return WRONG_DROPOUT[problem](dropped) if dropout else dropped(0.0)

    capability = judged(wrong)
    assert capability.status == "available" and not capability.features.dropout
    assert capability.reasons[0].startswith(f"cpu float32 dropout: {problem[:30]}")


def test_numbers_that_are_not_numbers_do_not_pass():
    capability = judged(lambda q, k, v, **options: manual.run(q, k, v, **options) * float("nan"))
    assert capability.status == "unavailable"


def test_each_implementation_of_sdpa_is_tried(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setitem(sdpa.IMPLEMENTATIONS, "dense", broken)
    capability, _ = prove.prove("sdpa")
    assert capability.status == "unavailable"
    assert capability.reasons[0] == "cpu float32 plain dense: broken"


def test_backend_that_serves_no_device_here_says_so():
    module = ModuleType("backend")
    module.reasons_against, module.run = lambda request: ["no"], None
    assert summary(trials(module, CPU), "1", None).reasons == ("is made for no device of this machine",)
