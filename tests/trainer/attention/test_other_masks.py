"""The masks that other projects make for packed documents and windows are those of our definition."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.trainer.attention import third_party
from trainer.attention import mask

pytestmark = pytest.mark.slow
LENGTHS = [[13], [1] * 13, [5, 8], [1, 7, 2, 3], [12, 1]]


def ids_of(lengths: list[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]


@pytest.fixture(scope="module")
def masks() -> ModuleType:
    """attn_gym.masks, whose sliding window is the number of keys before the query's own."""
    with third_party.importable("attn-gym"):
        return importlib.import_module("attn_gym.masks")


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("window", [None, 1, 2, 5, 13, 20])
def test_attn_gym(window, lengths, masks):
    inner = masks.causal_mask if window is None else masks.generate_sliding_window(window - 1)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    sees = masks.generate_doc_mask_mod(inner, offsets)
    i, j, zero = torch.arange(13)[:, None], torch.arange(13)[None], torch.tensor(0)
    assert torch.equal(mask(13, 13, window, ids_of(lengths))[0], sees(zero, zero, i, j))
    if window is None:
        packed = masks.generate_packed_causal_doc_mask_mod(offsets)
        assert torch.equal(mask(13, 13, None, ids_of(lengths))[0], packed(zero, zero, i, j))


@pytest.fixture(scope="module")
def attention_utils() -> ModuleType:
    """torchtune's masks. Its packages would import the whole project and torchao, so empty packages replace them."""
    root = third_party.folder("torchtune")
    with third_party.importable("torchtune"):
        for name in ("torchtune", "torchtune.modules", "torchtune.utils"):
            package = ModuleType(name)
            package.__path__ = [str(root.joinpath(*name.split(".")))]
            sys.modules[name] = package
        return importlib.import_module("torchtune.modules.attention_utils")


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_torchtune(lengths, attention_utils):
    made = attention_utils.create_block_causal_mask([torch.tensor(lengths)])
    assert torch.equal(mask(13, 13, None, ids_of(lengths)), made)
    ids = attention_utils._get_document_ids_from_seq_lens([torch.tensor(lengths)])
    assert torch.equal(mask(13, 13, 4, ids), mask(13, 13, 4, ids_of(lengths)))
