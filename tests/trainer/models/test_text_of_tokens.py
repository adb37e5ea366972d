"""Each kind of tokenizer: what stands before a text, the text of tokens one at a time, and long texts in pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from typer.testing import Result

from tests.trainer.small_models import SMALL
from tests.trainer.small_tokenizers import FAMILIES, TEXT, byte_level
from trainer.data import IGNORED, documents, split, stream_of, tokens
from trainer.errors import UserError
from trainer.models import generation, tokenizer
from trainer.models.huggingface_tokenizer import HuggingFaceTokenizer
from trainer.models.sampling import Sampling
from trainer.models.tokenizer import ByteTokenizer, encode_prompt

Call = Callable[..., Result]
LOSSLESS = [name for name in FAMILIES if name not in ("metaspace", "word piece")]
PREFIXES = {
    "byte level": ["<|begin|>"],
    "byte level, two first tokens": ["[mask]", "<sop>"],
    "byte level, space in front": [],
    "sentencepiece": ["<s>"],
    "metaspace": [],
    "word piece": ["[CLS]"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in FAMILIES.items():
        made[name] = tmp_path_factory.mktemp("tokenizer")
        make().save_pretrained(made[name])
    return made


def streamed(tok: tokenizer.Tokenizer, before: list[int], new: list[int]) -> str:
    decoder = tok.decoder(before)
    return "".join(decoder.decode(token) for token in new) + decoder.flush()


@pytest.mark.parametrize("name", FAMILIES)
def test_streamed_text_equals_the_decoded_whole_from_every_cut(name: str, folders: dict[str, Path]) -> None:
    tok = HuggingFaceTokenizer(folders[name])
    ids = encode_prompt(tok, TEXT + "€ 🙂🙂 漢字 �!")
    whole = tok.decode(ids).decode()
    assert whole.replace(" ", "").endswith("�!") or name in ("metaspace", "word piece")
    decoder, before = tok.decoder(), ""
    for cut, token in enumerate(ids):
        assert before + streamed(tok, ids[:cut], ids[cut:]) == whole, cut
        before += decoder.decode(token)


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=" \n\taé€🙂.'", max_size=30), cut=st.integers(0, 30))
def test_any_text_survives_encoding_and_decoding(
    name: str, folders: dict[str, Path], text: str, cut: int
) -> None:
    tok = HuggingFaceTokenizer(folders[name])
    ids, prompt = encode_prompt(tok, "x" + text), encode_prompt(tok, ("x" + text)[:cut])
    assert streamed(tok, [], ids).lstrip(" ") == "x" + text
    if ids[: len(prompt)] == prompt:
        assert ("x" + text)[:cut] + streamed(tok, prompt, ids[len(prompt) :]) == "x" + text or not cut


@pytest.mark.parametrize("name", FAMILIES)
def test_the_prefix_is_what_the_tokenizer_puts_before_a_text(name: str, folders: dict[str, Path]) -> None:
    tok, made = HuggingFaceTokenizer(folders[name]), AutoTokenizer.from_pretrained(folders[name])
    assert made.convert_ids_to_tokens([*tok.prefix]) == PREFIXES[name]
    whole = made("the cat")["input_ids"]
    assert encode_prompt(tok, "the cat") == [token for token in whole if token != tok.end_id]


def test_a_text_that_begins_with_the_prefix_gets_no_second_one(folders: dict[str, Path]) -> None:
    tok = HuggingFaceTokenizer(folders["byte level"])
    assert encode_prompt(tok, "<|begin|>the cat") == encode_prompt(tok, "the cat")


@pytest.mark.parametrize("wanted", [True, False])
def test_add_bos_token_is_saved_with_a_checkpoint_and_read_by_transformers(
    wanted: bool, tmp_path: Path
) -> None:
    made = byte_level()
    if wanted:
        made.add_bos_token = False
    made.save_pretrained(tmp_path / "own")
    tok = HuggingFaceTokenizer(tmp_path / "own", add_bos_token=wanted)
    assert tok.prefix == (0,) * wanted
    assert tok.fingerprint != HuggingFaceTokenizer(tmp_path / "own").fingerprint
    tok.save(tmp_path)
    assert tokenizer.load(None, tmp_path).prefix == tok.prefix
    assert AutoTokenizer.from_pretrained(tmp_path)("the")["input_ids"][:1] == [0] * wanted or not wanted


@pytest.mark.parametrize("name", ["byte", "byte level, space in front"])
def test_add_bos_token_without_such_a_token_is_refused(name: str, folders: dict[str, Path]) -> None:
    folder = str(folders.get(name, name))
    with pytest.raises(UserError, match=r"data\.add_bos_token is true, but .* no beginning-of-text token"):
        tokenizer.load(folder, None, add_bos_token=True)
    assert tokenizer.load(folder, None, add_bos_token=False).prefix == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_document_begins_with_the_prefix_and_no_prefix_is_a_target(
    name: str, folders: dict[str, Path]
) -> None:
    tok = HuggingFaceTokenizer(folders[name])
    document = [*encode_prompt(tok, "the cat"), tok.end_id]
    found = stream_of(b"the cat<|endoftext|>the cat<|endoftext|>the cat", tok, 3 * len(document))
    assert found.tokens.tolist() == document * 3
    targets = found.batch(np.arange(1)).targets[0].tolist()
    learned = document[len(tok.prefix) :]
    if tok.prefix:
        assert [target for target in targets if target != IGNORED] == learned * 3
        assert found.text_tokens == 3 * len(learned)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_document_has_the_same_tokens_in_pieces(
    name: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "PIECE", 200)
    tok = HuggingFaceTokenizer(folders[name])
    text = ("the cat and the hat sat,\n\nthat is it, the € 🙂 " * 60).encode()
    pieces = list(documents.of_text(text))
    assert len(pieces) > 10
    source = tokens.of_text(pieces, tok)
    whole = [*encode_prompt(tok, text.decode()), tok.end_id]
    assert source.tokens.tolist() == whole


def test_a_tail_of_a_long_sentencepiece_document_has_all_its_bytes(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "PIECE", 400)
    tok = HuggingFaceTokenizer(folders["sentencepiece"])
    text = b"the cat and the hat,\n" * 300
    source = tokens.of_text(documents.of_text(text), tok)
    cut = split.tail(source, tok, 0.1)
    assert cut.inside
    rest = tok.decode(source.tokens[cut.token :].tolist(), source.tokens[: cut.token].tolist())
    assert text.endswith(rest)
    assert cut.byte == len(text) - len(rest)


def test_bytes_have_no_prefix_and_streams_complete_a_character() -> None:
    tok = ByteTokenizer()
    assert encode_prompt(tok, "é") == [0xC3, 0xA9]
    assert streamed(tok, [0xC3], [0xA9]) == "é"


def small_llama(folder: Path) -> Any:
    ids = {"vocab_size": len(AutoTokenizer.from_pretrained(folder)), "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model("llama", **SMALL["llama"], **ids, initializer_range=0.3)
    torch.manual_seed(0)
    network: Any = AutoModelForCausalLM.from_config(config)
    network.save_pretrained(folder)
    return network.eval()


@pytest.mark.parametrize("name", LOSSLESS)
def test_greedy_tokens_equal_those_of_transformers_generate(name: str, folders: dict[str, Path]) -> None:
    network, own = small_llama(folders[name]), AutoTokenizer.from_pretrained(folders[name])
    tok = HuggingFaceTokenizer(folders[name])
    prompt = own("It is a truth", return_tensors="pt", return_token_type_ids=False)
    network.generation_config.eos_token_id = None
    expected = network.generate(**prompt, do_sample=False, pad_token_id=0, max_new_tokens=20)[0].tolist()
    ids = encode_prompt(tok, "It is a truth")
    found = generation.generate(
        network, ids, Sampling(20, temperature=0), end_id=-1, vocab_size=tok.vocab_size
    )
    assert [*ids, *found] == expected


def test_no_space_is_lost_in_generated_text_and_in_samples(
    folders: dict[str, Path], tmp_path: Path, call: Call, records: Any
) -> None:
    folder = folders["sentencepiece"]
    small_llama(folder)
    (tmp_path / "text.txt").write_text("It is a truth that\n    the cat sat.\n" * 100)
    options = ("--max-length", 32, "--batch-size", 4, "--steps", 60, "--lr", 0.01, "--sample-tokens", 12)
    data = ("--dataset-file", tmp_path / "text.txt", "--output-dir", tmp_path / "out")
    trained = call("train", "--name", folder, *options, *data, "--sample-prompt", "It is a")
    assert trained.exit_code == 0, trained.output
    assert trained.stderr.count("INFO: every document and prompt begins with <s>") == 1
    log = records(tmp_path / "out" / "metrics.jsonl")
    assert log[0]["prefix_ids"] == [1]
    assert [r["text"] for r in log if r["event"] == "sample"][-1].startswith(" truth that\n    the ca")
    prompted = ("--prompt", "It is a truth that\n", "--temperature", 0, "--max-new-tokens", 12)
    assert "that\n    the ca" in call("generate", "--checkpoint", tmp_path / "out", *prompted).stdout
    changed = call("train", "--name", folder, *options, *data, "--resume", "--no-add-bos-token")
    assert changed.exit_code == 2
    assert "data.add_bos_token differs from the checkpoint" in changed.stderr
