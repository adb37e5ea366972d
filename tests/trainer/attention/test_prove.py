"""The proof that the doctor runs: a backend is available only if it ran here and agreed with the reference."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from doctor.capability import BackendCapability, Device
from trainer.attention import choice, manual, prove, scaled_dot_product, sdpa
from trainer.attention.backend import Backend, Implementation, no_limits
from trainer.attention.proof_cases import CaseResult
from trainer.attention.prove import Trial, main, run_cases, summarize
from trainer.attention.request import Options

CPU = (Device(type="cpu", index=0, name="CPU", compute_capability=None, total_memory_bytes=1),)


def answer(text: str) -> tuple[BackendCapability, list[Device]]:
    said = json.loads(text.splitlines()[-1])
    assert list(said) == ["backend", "devices", "installed"]
    backend = BackendCapability.model_validate_json(json.dumps(said["backend"]))
    return backend, [Device.model_validate_json(json.dumps(device)) for device in said["devices"]]


def backend_of(run) -> Backend:
    """A backend that serves every request by `run`."""
    return replace(manual.MANUAL, run=run)


def judged(run) -> BackendCapability:
    """The proof of a backend that serves every request by `run`, on the CPU."""
    return summarize(run_cases(backend_of(run), CPU), "1", None)


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
    assert backend.features and backend.evidence
    assert all(backend.features.model_dump().values())
    assert 0 < backend.evidence.forward_error < 0.02 and 0 < backend.evidence.backward_error < 0.05
    assert backend.evidence.window_support_exact and backend.evidence.milliseconds > 0
    assert devices[0].type == "cpu" and devices[0].total_memory_bytes > 2**28


def test_without_torch_it_reports_that_torch_is_missing():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from trainer.attention.prove import main; sys.exit(main(['manual']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    backend, devices = answer(done.stdout)
    assert (backend.status, backend.reasons, devices) == ("unavailable", ("torch package not installed",), [])


@pytest.mark.parametrize(
    ("backend", "package"),
    [
        ("flash_attn_2", "flash-attn"),
        ("flash_attn_4", "flash-attn-4"),
        ("hub_kernels", "kernels"),
        ("xformers", "xformers"),
    ],
)
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

    monkeypatch.setattr(choice, "BACKENDS", (replace(manual.MANUAL, reasons_here=broken),))
    capability, _ = prove.prove("manual")
    assert capability.reasons == ("cannot be used: [WinError 126] The specified module could not be found",)


def test_unknown_backend_is_a_usage_error(capsys):
    assert main(["flash"]) == 2
    assert "flash_attn_2,flash_attn_4,hub_kernels,xformers,sdpa,manual" in capsys.readouterr().err


def faulty(q, k, v, asked, fault):
    """Attention with one of the faults that have been seen in kernels and their calls."""
    options, window, document_ids = dict(vars(asked)), asked.window, asked.document_ids
    queries = q.shape[2]
    if fault == "window one too wide" and window:
        options["window"] = window + 1
    if fault == "window one too narrow" and window:
        options["window"] = window - 1
    if fault == "aligned at the first key" or (
        fault == "documents aligned at the first key" and document_ids is not None
    ):
        k, v = (torch.cat([x[:, :, queries:], x[:, :, :queries]], 2) for x in (k, v))
        if document_ids is not None:
            options["document_ids"] = torch.cat([document_ids[:, queries:], document_ids[:, :queries]], 1)
    if fault == "default scale":
        options["scale"] = q.shape[3] ** -0.5
    if document_ids is not None:
        if fault == "documents cut one too late":
            options["document_ids"] = torch.cat([document_ids[:, :1], document_ids[:, :-1]], 1)
        if fault == "documents ignored":
            options["document_ids"] = None
        if fault == "documents of the first row":
            options["document_ids"] = document_ids[:1].expand(len(q), -1)
    if fault == "heads grouped the other way":
        k, v = (x.repeat(1, q.shape[1] // x.shape[1], 1, 1) for x in (k, v))
    if fault in ("dq", "dk", "dv"):
        scaled = {"dq": q, "dk": k, "dv": v}[fault]
        scaled.register_hook(lambda grad: grad * 0.95)
    if fault == "window one too wide in the backward pass" and window:
        wide = manual.run(q, k, v, replace(asked, window=window + 1))
        return wide + (manual.run(q, k, v, Options(**options)) - wide).detach()
    if fault == "no gradient for the last query":
        q = torch.cat([q[:, :, :-1], q[:, :, -1:].detach()], 2)
    return manual.run(q, k, v, Options(**options))


# A fault, and the feature that is lost; "" for the whole backend.
FAULTS = {
    "window one too wide": "",
    "window one too narrow": "",
    "window one too wide in the backward pass": "",
    "aligned at the first key": "",
    "default scale": "",
    "dq": "",
    "dk": "",
    "dv": "",
    "no gradient for the last query": "",
    "documents aligned at the first key": "packed",
    "documents cut one too late": "packed",
    "documents ignored": "packed",
    "documents of the first row": "packed",
    "heads grouped the other way": "gqa",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_in_every_dtype(fault):
    trials = run_cases(backend_of(partial(faulty, fault=fault)), CPU)
    cases = {trial.case for trial in trials if trial.problem}
    assert cases == {FAULTS[fault]} if FAULTS[fault] else cases & {"plain", "window"}
    for case in cases:
        assert {trial.dtype for trial in trials if trial.case == case and trial.problem} == set(prove.DTYPES)
    capability = summarize(trials, "1", None)
    if FAULTS[fault]:
        assert capability.features
        features = capability.features.model_dump()
        assert [name for name, proven in features.items() if not proven] == [FAULTS[fault]]
    else:
        assert capability.status == "unavailable"


def test_a_leaking_key_with_little_weight_is_found():
    def leaks_a_little(q, k, v, options):
        others = manual.run(q, k, v, replace(options, window=None))
        return manual.run(q, k, v, options) * (1 - 1e-5) + others * 1e-5

    capability = judged(leaks_a_little)
    assert capability.reasons[0] == "cpu float32 window: sees other keys than the definition allows"


def test_a_kernel_that_raises_loses_only_the_features_that_failed():
    def no_bf16_no_documents(q, k, v, options):
        if q.dtype == torch.bfloat16:
            raise RuntimeError("no kernel for bfloat16\n  at line 3")
        if options.document_ids is not None:
            raise NotImplementedError
        return manual.run(q, k, v, options)

    capability = judged(no_bf16_no_documents)
    assert capability.status == "available" and capability.dtypes == ("float32", "float16")
    assert capability.features
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
    def wrong(q, k, v, options):
        def dropped(rate):
            return manual.run(q, k, v, replace(options, dropout=rate))

        return WRONG_DROPOUT[problem](dropped) if options.dropout else dropped(0.0)

    capability = judged(wrong)
    assert capability.status == "available" and capability.features
    assert not capability.features.dropout
    assert capability.reasons[0].startswith(f"cpu float32 dropout: {problem[:30]}")


def test_nan_does_not_pass():
    capability = judged(lambda q, k, v, options: manual.run(q, k, v, options) * float("nan"))
    assert capability.status == "unavailable"


def test_each_implementation_of_sdpa_is_tested(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    implementations = (sdpa.SDPA.implementations[0], Implementation("dense", broken, no_limits))
    monkeypatch.setattr(choice, "BACKENDS", (replace(sdpa.SDPA, implementations=implementations),))
    capability, _ = prove.prove("sdpa")
    assert capability.status == "unavailable"
    assert capability.reasons[0] == "cpu float32 plain dense: broken"


def test_an_implementation_that_stores_a_table_of_weights_for_grouped_heads_is_left_out(monkeypatch):
    def plain_products(q, k, v, options):
        with sdpa_kernel(SDPBackend.MATH):
            return scaled_dot_product.causal(q, k, v, options)

    by_products = replace(scaled_dot_product.CAUSAL, run=plain_products)
    implementations = (by_products, *sdpa.SDPA.implementations[-2:])
    monkeypatch.setattr(choice, "BACKENDS", (replace(sdpa.SDPA, implementations=implementations),))
    monkeypatch.setattr(prove, "DTYPES", ("float32",))
    capability, _ = prove.prove("sdpa")
    assert capability.reasons == (
        "cpu float32 gqa causal: stores S x S weights: 24 MiB for 1024 tokens, where one table has 8 MiB",
    )
    assert capability.features and capability.features.gqa
    assert capability.implementations == ("dense", "banded")


@pytest.mark.parametrize("dtype", prove.DTYPES)
def test_an_implementation_is_left_out_where_the_last_one_agrees(dtype):
    def trial(implementation, kind, problem=None):
        return Trial("cpu", kind, "plain", implementation, CaseResult(problem=problem))

    trials = [
        trial("first", dtype, "wrong"),
        trial("last", "float32"),
        trial("last", "bfloat16", "no bfloat16"),
    ]
    left = prove._without_failures(trials, "last")
    assert (
        [each.implementation for each in left] == ["last"] * 2
        if dtype == "float32"
        else ["first", "last", "last"]
    )


def test_a_backend_without_a_supported_device_says_so():
    backend = replace(manual.MANUAL, reasons_against=lambda request: ["no"])
    assert summarize(run_cases(backend, CPU), "1", None).reasons == ("supports no device of this machine",)
