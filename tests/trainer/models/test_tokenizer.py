"""Bytes and Hugging Face tokenizers behind one interface."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from trainer.data import documents, split, tokens
from trainer.errors import UserError
from trainer.models import tokenizer
from trainer.models.huggingface_tokenizer import HuggingFaceTokenizer
from trainer.models.tokenizer import ByteTokenizer

TEXT = "Grüße, мир\n€ 🙂 done"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE tokenizer that, like GPT-2's, has an end-of-text token and no padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([TEXT, "the cat and the hat\n" * 20], trainer)
    path = tmp_path_factory.mktemp("tok enizer ä")
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained(path)
    return path


def streamed(tok: tokenizer.Tokenizer, tokens: list[int]) -> str:
    decoder = tok.decoder()
    return "".join(decoder.decode(token) for token in tokens) + decoder.flush()


def test_bytes_stand_for_themselves() -> None:
    tok = ByteTokenizer()
    assert tok.encode(bytes(range(256))).tolist() == list(range(256))
    assert len({*range(256), tok.end_id, tok.pad_id}) == tok.vocab_size


def test_bytes_are_streamed_character_by_character() -> None:
    tok = ByteTokenizer()
    decoder = tok.decoder()
    pieces = [decoder.decode(token) for token in tok.encode("€!".encode()).tolist()]
    assert pieces == ["", "", "€", "!"]
    assert streamed(tok, tok.encode(TEXT.encode()).tolist()) == TEXT


def test_invalid_bytes_become_replacement_characters() -> None:
    assert streamed(ByteTokenizer(), [0xFF, 65, 0xE2, 0x82]) == "\ufffdA\ufffd"


def test_a_hugging_face_tokenizer_streams_what_it_encoded(folder: Path) -> None:
    tok = tokenizer.load(str(folder), None)
    assert isinstance(tok, HuggingFaceTokenizer)
    assert streamed(tok, tok.encode(TEXT.encode()).tolist()) == TEXT


def test_padding_never_equals_end_of_text(folder: Path) -> None:
    tok = tokenizer.load(None, folder)
    assert tok.pad_id != tok.end_id
    assert 0 <= tok.pad_id < tok.vocab_size


def test_each_tokenizer_can_be_loaded_from_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    for number, name in enumerate(["byte", str(folder)]):
        tok = tokenizer.load(name, None)
        beside = tmp_path / str(number)
        beside.mkdir()
        tok.save(beside)
        again = tokenizer.load(None, beside)
        assert type(again) is type(tok)
        assert again.encode(TEXT.encode()).tolist() == tok.encode(TEXT.encode()).tolist()


def test_text_that_is_not_utf8_is_explained(folder: Path) -> None:
    with pytest.raises(UserError, match=r"not UTF-8 .* looks like Latin-1"):
        tokenizer.load(str(folder), None).encode(b"caf\xe9")


def test_a_missing_tokenizer_names_both_places_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        tokenizer.load("no-such/tokenizer", None)
    assert str(tmp_path / "no-such" / "tokenizer") in str(error.value)
    assert "Hugging Face cache" in str(error.value)


def test_a_folder_without_a_tokenizer_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No tokenizer could be read from"):
        tokenizer.load(str(tmp_path), None)


UNREADABLE: dict[str, tuple[dict[str, str], str]] = {
    "a configuration only": (
        {"tokenizer_config.json": '{"tokenizer_class": "LlamaTokenizer"}'},
        "has no vocabulary",
    ),
    "the model's configuration only": ({"config.json": '{"model_type": "gpt2"}'}, "has no vocabulary"),
    "half a file": (
        {"tokenizer.json": "{", "tokenizer_config.json": "{}"},
        "Complete the folder, or name another",
    ),
    "a newer format": (
        {"tokenizer.json": '{"version": "9", "added_tokens": [], "model": {"type": "X"}}'},
        "name another",
    ),
    "a web page": ({"tokenizer_config.json": "<html>"}, "Complete the folder, or name another"),
    "sentencepiece": (
        {"tokenizer.model": "x", "config.json": '{"model_type": "llama"}'},
        "package sentencepiece",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_tokenizer_that_cannot_be_read_is_explained(case: str, tmp_path: Path) -> None:
    files, words = UNREADABLE[case]
    if case == "sentencepiece" and find_spec("sentencepiece"):
        pytest.skip("sentencepiece is installed")
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"No tokenizer could be read from .*: (?s:.*){words}") as error:
        HuggingFaceTokenizer(tmp_path)
    assert "--tokenizer byte" not in str(error.value)


def test_a_batch_encodes_each_text_as_alone(folder: Path) -> None:
    texts = [TEXT.encode(), b"the cat", b""]
    for tok in (ByteTokenizer(), HuggingFaceTokenizer(folder)):
        encoded = [found.tolist() for found in tok.encode_batch(texts)]
        assert encoded == [tok.encode(text).tolist() for text in texts]
        assert [tok.decode([*found, tok.end_id]) for found in encoded] == texts


def test_a_fingerprint_depends_on_the_tokenizer_alone(folder: Path, tmp_path: Path) -> None:
    tok = HuggingFaceTokenizer(folder)
    before = tok.fingerprint
    tok.encode_batch([b"one", b"two two"])
    tok.save(tmp_path)
    assert HuggingFaceTokenizer(tmp_path).fingerprint == before != ByteTokenizer().fingerprint
    description = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    description["model"]["merges"].pop()
    (tmp_path / "tokenizer.json").write_text(json.dumps(description), encoding="utf-8")
    assert HuggingFaceTokenizer(tmp_path).fingerprint != before


def test_tokens_of_a_long_text_are_the_same_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 200)
    text = b"the cat and the hat  sat,\n\nthat is it\r\n and\tso on " * 60
    tok = HuggingFaceTokenizer(folder)
    pieces = list(documents.of_text(text))
    assert len(pieces) > 10
    joined = [token for piece in pieces for token in tok.encode(piece.text).tolist()]
    assert joined == tok.encode(text).tolist()


def test_a_tail_is_cut_after_a_line_and_its_bytes_are_counted(folder: Path) -> None:
    tok = HuggingFaceTokenizer(folder)
    text = "der Hut, die Katze: € 🙂\n".encode() * 300
    source = tokens.of_text(documents.of_text(text), tok)
    cut = split.tail(source, tok, 0.1)
    tail = tok.decode(source.tokens[cut.token :].tolist())
    assert cut.inside
    assert text.endswith(tail)
    assert tail.startswith(b"der Hut")
    assert cut.byte == len(text) - len(tail)
    assert 0.08 < len(tail) / len(text) <= 0.1
