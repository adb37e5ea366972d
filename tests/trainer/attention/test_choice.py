"""The choice of a backend, as pure data: it needs no GPU and no third-party package."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast, get_args

import pytest
import torch

from doctor import capability as capability_file
from doctor.capability import BackendCapability, BackendName, Capability, Features, Fingerprint
from trainer import config
from trainer.attention import attention, choice, manual
from trainer.attention.backend import Backend
from trainer.attention.choice import decide
from trainer.attention.prove import prove
from trainer.attention.request import AttentionRequest

GPU = AttentionRequest("cuda:0", "bfloat16", 64, 8, 8, window=512)
CPU = replace(GPU, device="cpu", dtype="float32")
ALL = Features(window=True, packed=True, gqa=True, dropout=True)
HALF = ("float16", "bfloat16")


def proven(devices=("cuda:0",), dtypes=HALF, features=ALL, **others) -> BackendCapability:
    return BackendCapability(status="available", devices=devices, dtypes=dtypes, features=features, **others)


def refused(*reasons: str, status="unavailable") -> BackendCapability:
    return BackendCapability(status=status, reasons=reasons)


TORCH = proven(("cpu", "cuda:0"), ("float32", *HALF))
FULL = {
    "flash_attn_2": proven(max_head_dim=256),
    "flash_attn_4": refused("flash-attn-4 package not installed"),
    "hub_kernels": refused("kernels package not installed"),
    "xformers": proven(dtypes=("float32", *HALF)),
    "sdpa": TORCH,
    "manual": TORCH,
}
# Every package installed
ALL_PACKAGES = {
    **FULL,
    "flash_attn_4": proven(features=ALL.model_copy(update={"dropout": False}), max_head_dim=128),
    "hub_kernels": proven(max_head_dim=256),
}
BARE = {
    **FULL,
    "flash_attn_2": refused("flash-attn package not installed"),
    "xformers": refused("xformers package not installed"),
}


def capability(backends: dict[Any, BackendCapability]) -> Capability:
    return Capability(
        written_at="2026-11-21T00:00:00Z",
        aios_version="0",
        fingerprint=Fingerprint(
            python="3.12.4",
            platform="win_amd64",
            torch="2.13.0",
            cuda=None,
            driver=None,
            flash_attn=None,
            xformers=None,
            triton=None,
            gpus=(),
        ),
        devices=(),
        backends=backends,
        recommended={},
    )


TABLE = [
    # requested, request, proven, chosen, rejected
    ("auto", GPU, FULL, "flash_attn_2", {}),
    ("flash_attn_2", GPU, FULL, "flash_attn_2", {}),
    ("xformers", GPU, FULL, "xformers", {}),
    ("sdpa", GPU, FULL, "sdpa", {}),
    ("manual", GPU, FULL, "manual", {}),
    ("auto", GPU, BARE, "sdpa", {"flash_attn_2": "flash-attn package not inst", "xformers": "xformers package not"}),
    ("xformers", GPU, BARE, "sdpa", {"xformers": "xformers package not installed"}),
    ("auto", CPU, FULL, "sdpa", {"flash_attn_2": "needs an NVIDIA GPU", "xformers": "needs an NVIDIA GPU"}),
    ("auto", replace(GPU, dtype="float32"), FULL, "xformers", {"flash_attn_2": "float16 and bfloat16, not in float32"}),
    ("auto", replace(GPU, head_dim=288), FULL, "xformers", {"flash_attn_2": "up to 256, not 288"}),
    ("flash_attn_2", replace(GPU, head_dim=260), FULL, "sdpa", {"flash_attn_2": "256", "xformers": "multiple of 8"}),
    ("flash_attn_2", replace(GPU, device="cuda:1"), FULL, "manual", {
        "flash_attn_2": "not proven on cuda:1, only on cuda:0",
        "xformers": "not proven on cuda:1",
        "sdpa": "not proven on cuda:1, only on cpu, cuda:0",
    }),
    ("auto", replace(GPU, device="cuda"), FULL, "flash_attn_2", {}),
    ("auto", GPU, {**FULL, "flash_attn_2": proven(dtypes=("float16",))}, "xformers", {
        "flash_attn_2": "not proven in bfloat16, only in float16",
    }),
    ("auto", GPU, {**FULL, "flash_attn_2": refused(status="unknown")}, "xformers", {"flash_attn_2": "unknown here"}),
    ("auto", GPU, {**FULL, "flash_attn_2": refused("exit code 0xc0000005")}, "xformers", {
        "flash_attn_2": "exit code 0xc0000005",
    }),
    ("auto", GPU, None, "sdpa", {"flash_attn_2": "not proven on this machine", "xformers": "not proven"}),
    ("auto", CPU, None, "sdpa", {"flash_attn_2": "needs an NVIDIA GPU", "xformers": "needs an NVIDIA GPU"}),
    ("sdpa", CPU, {**FULL, "sdpa": refused("off")}, "manual", {"sdpa": "off"}),
    ("flash_attn_4", GPU, ALL_PACKAGES, "flash_attn_4", {}),
    ("flash_attn_4", replace(GPU, dropout=0.1), ALL_PACKAGES, "hub_kernels", {"flash_attn_4": "support dropout"}),
    ("flash_attn_4", replace(GPU, head_dim=256), ALL_PACKAGES, "hub_kernels", {"flash_attn_4": "up to 128"}),
    ("hub_kernels", GPU, ALL_PACKAGES, "hub_kernels", {}),
    ("hub_kernels", replace(GPU, dtype="float32"), ALL_PACKAGES, "xformers", {"hub_kernels": "float16 and bfloat16"}),
    ("auto", GPU, {**ALL_PACKAGES, "flash_attn_2": refused("off")}, "flash_attn_4", {"flash_attn_2": "off"}),
    ("auto", replace(GPU, dtype="float32"), ALL_PACKAGES, "xformers", {
        "flash_attn_2": "not in float32", "flash_attn_4": "not in float32", "hub_kernels": "not in float32",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("requested", "request_", "backends", "chosen", "rejected"), TABLE)
def test_the_first_backend_that_is_proven_and_supports_the_request_is_chosen(
    requested, request_, backends, chosen, rejected
):
    decision = decide(requested, request_, None if backends is None else capability(backends))
    assert decision.backend == chosen
    assert decision.fell_back is (requested not in ("auto", chosen))
    reasons = {backend: "; ".join(said) for backend, said in decision.rejections}
    if backends is not ALL_PACKAGES:  # rows about other backends
        reasons.pop("flash_attn_4", None)
        reasons.pop("hub_kernels", None)
    assert list(reasons) == list(rejected)
    for backend, part in rejected.items():
        assert part in reasons[backend]


@pytest.mark.parametrize(
    ("feature", "needing"),
    [
        ("window", GPU),
        ("packed", replace(GPU, window=None, packed=True)),
        ("gqa", replace(GPU, window=None, key_heads=2)),
        ("dropout", replace(GPU, window=None, dropout=0.1)),
    ],
)
def test_a_backend_is_not_used_for_a_feature_that_failed_its_proof(feature, needing):
    lame = capability({**FULL, "flash_attn_2": proven(features=ALL.model_copy(update={feature: False}))})
    decision = decide("auto", needing, lame)
    assert decision.backend == "xformers"
    assert decision.rejections[0] == ("flash_attn_2", (f"failed its proof with {feature}",))
    without = AttentionRequest("cuda:0", "bfloat16", 64, 8, 8)
    assert decide("auto", without, lame).backend == "flash_attn_2"


def test_unknown_name_is_rejected_with_the_list_of_names():
    with pytest.raises(
        ValueError,
        match="'flash'; one of auto, flash_attn_2, flash_attn_4, hub_kernels, xformers, sdpa, manual",
    ):
        decide("flash", GPU, None)


def test_the_log_line_of_a_fallback():
    plain = replace(GPU, window=None)
    without_xformers = capability({**BARE, "xformers": FULL["sdpa"].model_copy(update={"devices": ()})})
    lines = decide("flash_attn_2", plain, without_xformers).log_lines()
    assert lines[0] == (
        "WARNING: flash_attn_2 requested but flash-attn package not installed. "
        "Falling back to 'sdpa' (PyTorch SDPA (FlashAttention-1, standard))"
    )
    assert lines[-1] == "INFO: Attention backend: PyTorch SDPA (FlashAttention-1, standard)"
    assert decide("auto", plain, capability(FULL)).log_lines() == [
        "INFO: Attention backend: FlashAttention-2 (explicit, fastest)"
    ]


def test_log_of_auto_lists_unused_backends_without_a_warning():
    lines = decide("auto", CPU, capability(BARE)).log_lines()
    assert [line.split(":")[0] for line in lines] == ["INFO"] * 5
    assert lines[0] == "INFO: flash_attn_2 not used: flash-attn package not installed"
    assert lines[4] == "INFO: Attention backend: PyTorch SDPA (sliding window)"


def test_decision_is_plain_json():
    decision = decide("auto", CPU, capability(BARE))
    assert json.loads(json.dumps(decision.to_json())) == {
        "backend": "sdpa",
        "requested": "auto",
        "rejections": [
            {"backend": "flash_attn_2", "reasons": ["flash-attn package not installed"]},
            {"backend": "flash_attn_4", "reasons": ["flash-attn-4 package not installed"]},
            {"backend": "hub_kernels", "reasons": ["kernels package not installed"]},
            {"backend": "xformers", "reasons": ["xformers package not installed"]},
        ],
    }


def test_the_capability_file_and_the_configuration_name_the_same_backends_in_order():
    assert tuple(backend.name for backend in choice.BACKENDS) == capability_file.BACKENDS
    assert get_args(capability_file.BackendName) == capability_file.BACKENDS
    assert get_args(config.Backend) == ("auto", *capability_file.BACKENDS)


def test_a_new_backend_needs_one_value_and_one_entry(monkeypatch):
    """The choice, the interface and the proof work with it, because none of them knows a backend by name."""
    calls = []

    def run(q, k, v, options):
        calls.append(options.window)
        return manual.run(q, k, v, options)

    new = Backend(
        name=cast(BackendName, "new"),
        label=lambda request: f"new, on {request.device}",
        distribution="new-kernels",
        max_head_dim=32,
        reasons_here=lambda: [],
        reasons_against=lambda request: ["has no dropout"] if request.dropout else [],
        run=run,
        stores_table=True,  # as manual does
    )
    monkeypatch.setattr(choice, "BACKENDS", (new, *choice.BACKENDS))

    small = replace(CPU, head_dim=16)
    backends = {"new": proven(("cpu",), ("float32",), max_head_dim=32), **FULL}
    known = capability(FULL).model_copy(update={"backends": backends})
    assert decide("auto", small, known).label == "new, on cpu"
    assert decide("new", replace(small, dropout=0.1), known).rejections[0] == ("new", ("has no dropout",))
    assert decide("new", small, None).rejections[0] == (
        "new",
        ("not proven on this machine; run `aios doctor`",),
    )
    assert decide("new", small, capability(FULL)).rejections[0] == (
        "new",
        ("the capability file does not mention it",),
    )

    q, k, v = torch.randn(3, 1, 2, 20, 8).unbind()
    expected = attention(q, k, v, backend="manual", window=5)
    assert torch.equal(attention(q, k, v, backend="new", window=5), expected) and calls == [5]
    with pytest.raises(ValueError, match="new cannot serve this call: has no dropout"):
        attention(q, k, v, backend="new", dropout=0.1)

    proof, _ = prove("new")
    assert (proof.status, proof.max_head_dim, proof.version) == ("available", 32, None)
    assert proof.features == Features(window=True, packed=True, gqa=True, dropout=False)
