"""`mask` and `attention` follow the definition and reject invalid arguments."""

from __future__ import annotations

import pytest
import torch

from trainer.attention import attention, mask


def seen(table: torch.Tensor) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in table]


def test_window_counts_the_token_itself():
    table = mask(1024, 1024, window=512)
    assert seen(table)[1000] == list(range(489, 1001))


def test_without_a_window_a_query_sees_all_earlier_keys():
    for window in (None, 0, 4, 5):
        assert seen(mask(4, 4, window)) == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_a_window_of_one_sees_the_token_itself():
    assert seen(mask(3, 3, 1)) == [[0], [1], [2]]


def test_fewer_queries_than_keys_are_aligned_at_the_end():
    assert seen(mask(2, 5, 2)) == [[2, 3], [3, 4]]


def test_documents_belong_to_the_keys_and_need_not_be_in_order():
    ids = torch.tensor([[0, 0, 1, 0, 1], [7, 7, 7, 7, 7]])
    first, second = mask(2, 5, 4, ids)
    assert seen(first) == [[0, 1, 3], [2, 4]]
    assert seen(second) == [[0, 1, 2, 3], [1, 2, 3, 4]]


def tensors(queries=4, keys=4, heads=2, key_heads=2, dim=8, batch=1):
    return (
        torch.randn(batch, heads, queries, dim),
        torch.randn(batch, key_heads, keys, dim),
        torch.randn(batch, key_heads, keys, dim),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"window": -1}, "window must not be negative, got -1"),
        ({"backend": "flash"}, "unknown attention backend 'flash'; one of auto, flash_attn_2"),
        ({"backend": "flash_attn_2"}, "flash_attn_2 cannot serve this call: needs an NVIDIA GPU"),
        ({"backend": "xformers"}, "xformers cannot serve this call: needs an NVIDIA GPU"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"softcap": -1.0}, "softcap must not be negative, got -1.0"),
        ({"softcap": float("inf")}, "got inf"),
        (
            {"document_ids": torch.zeros(1, 3, dtype=torch.long)},
            r"document_ids must be integers of shape \(1, 4\)",
        ),
        ({"document_ids": torch.zeros(1, 4)}, "got torch.float32"),
    ],
)
def test_invalid_options_are_rejected(change, says):
    with pytest.raises(ValueError, match=says):
        attention(*tensors(), **change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda q, k, v: (q[0], k, v), "need q"),
        (lambda q, k, v: (q, k, v[:, :, :3]), "need q"),
        (lambda q, k, v: (q[..., :4], k, v), "agree in batch size and head dimension"),
        (lambda q, k, v: (q.expand(2, -1, -1, -1), k, v), "agree in batch size"),
        (lambda q, k, v: (q, k[:, :, :2], v[:, :, :2]), "more queries than keys, got 4 and 2"),
        (lambda q, k, v: (q[:, :1], k, v), "multiple of key heads, got 1 and 2"),
        (lambda q, k, v: (q.half(), k, v), "one floating-point dtype"),
        (lambda q, k, v: (q.long(), k.long(), v.long()), "one floating-point dtype"),
        (lambda q, k, v: (q[:, :, :0], k, v), "must not be empty"),
        (lambda q, k, v: (q, k.to("meta"), v.to("meta")), "on one device, got cpu, meta"),
    ],
)
def test_invalid_tensors_are_rejected(change, says):
    with pytest.raises(ValueError, match=says):
        attention(*change(*tensors()))


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_autocast_casts_mixed_inputs_as_torch_does(backend, window):
    q, k, v = tensors(9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(q, k, v.bfloat16(), backend=backend, window=window)
    assert output.dtype == torch.bfloat16
    exact = attention(*(x.bfloat16().float() for x in (q, k, v)), backend=backend, window=window)
    torch.testing.assert_close(output.float(), exact, atol=2e-2, rtol=2e-2)


def test_autocast_does_not_cast_float64_as_in_torch():
    q, k, v = (x.double() for x in tensors(9, 9))
    with torch.autocast("cpu", torch.bfloat16):
        assert attention(q, k, v, window=3).dtype == torch.float64
        assert torch.nn.functional.scaled_dot_product_attention(q, k, v).dtype == torch.float64


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_scores_are_multiplied_by_the_scale(backend):
    q, k, v = tensors(9, 9)
    for window in (None, 4):
        scaled = attention(q, k, v, backend=backend, window=window, scale=0.7)
        by_hand = attention(q * 0.7 * 8**0.5, k, v, backend=backend, window=window)
        torch.testing.assert_close(scaled, by_hand)


def test_one_token_at_a_time_sees_what_the_whole_sequence_sees():
    q, k, v = tensors(50, 50, heads=4)
    for window in (None, 7):
        whole = attention(q, k, v, window=window)
        steps = [
            attention(q[:, :, i : i + 1], k[:, :, : i + 1], v[:, :, : i + 1], window=window)
            for i in range(50)
        ]
        torch.testing.assert_close(torch.cat(steps, dim=2), whole)


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
@pytest.mark.parametrize("widths", [(12, 8), (8, 12)])
def test_values_of_another_width_than_keys_are_served(backend, widths):
    """Multi-head latent attention (DeepSeek): keys 192 wide, values 128."""
    width, value_width = widths
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 9, width, generator=generator, dtype=torch.float64)
    k = torch.randn(2, 2, 9, width, generator=generator, dtype=torch.float64)
    v = torch.randn(2, 2, 9, value_width, generator=generator, dtype=torch.float64, requires_grad=True)
    got = attention(q, k, v, backend=backend, window=4)
    scores = q @ k.repeat_interleave(2, 1).transpose(2, 3) * width**-0.5
    weights = scores.masked_fill(~mask(9, 9, 4), float("-inf")).softmax(-1)
    expected = weights @ v.repeat_interleave(2, 1)
    torch.testing.assert_close(got, expected)
    gradients = [torch.autograd.grad(each.square().sum(), v)[0] for each in (got, expected)]
    torch.testing.assert_close(*gradients)
