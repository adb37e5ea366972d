"""A small tokenizer of each kind: what it puts before a text, and how it writes spaces and rare characters, differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TEXT = "It is a truth that\n\tthe cat, the hat  and 'the' Grüße don't match: f(x) = x * x.\n\n    return x\n"


def _fast(tokenizer: Any, **special: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def _train(tokenizer: Any, trainer: Any) -> None:
    tokenizer.train_from_iterator([TEXT] * 20, trainer)


def byte_level(first: str = "<|begin|>", prefix_space: bool = False) -> Any:
    """Like Llama 3: byte-level BPE with `first` before every text; like GPT-2 if `first` is empty."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    bpe.decoder = decoders.ByteLevel()
    names = [*first.split(), "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(
        bpe,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=names, initial_alphabet=alphabet, show_progress=False
        ),
    )
    if first:
        ids = [(name, bpe.token_to_id(name)) for name in first.split()]
        bpe.post_processor = processors.TemplateProcessing(single=f"{first} $A", special_tokens=ids)
    return _fast(bpe, eos_token="<|end|>", **({"bos_token": first.split()[0]} if first else {}))


def sentencepiece() -> Any:
    """Like Llama 2: a space before the text, which the decoder removes, and bytes for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    bpe: Any = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    _train(
        bpe,
        trainers.BpeTrainer(vocab_size=340, special_tokens=names, limit_alphabet=40, show_progress=False),
    )
    described = _without_special_bytes(bpe)
    bpe = Tokenizer.from_str(described)
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _fast(bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _without_special_bytes(tokenizer: Any) -> str:
    """The tokenizer, in which the tokens for bytes are ordinary ones."""
    import json

    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [
        token for token in described["added_tokens"] if not token["content"].startswith("<0x")
    ]
    return json.dumps(described)


def metaspace() -> Any:
    """Like T5 and XGLM: a Unigram model with a Metaspace decoder, and end-of-text after every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    unigram: Any = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    names = ["<unk>", "</s>"]
    _train(
        unigram,
        trainers.UnigramTrainer(vocab_size=80, special_tokens=names, unk_token="<unk>", show_progress=False),
    )
    unigram.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return _fast(unigram, eos_token="</s>", unk_token="<unk>")


def word_piece() -> Any:
    """Like BERT: no spaces in the tokens, a first token and a last one."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    pieces: Any = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    names = ["[UNK]", "[CLS]", "[SEP]"]
    _train(pieces, trainers.WordPieceTrainer(vocab_size=120, special_tokens=names, show_progress=False))
    ids = [("[CLS]", 1), ("[SEP]", 2)]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return _fast(
        pieces, bos_token="[CLS]", eos_token="[SEP]", unk_token="[UNK]", clean_up_tokenization_spaces=True
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "byte level": byte_level,
    "byte level, two first tokens": lambda: byte_level("[mask] <sop>"),
    "byte level, space in front": lambda: byte_level("", prefix_space=True),
    "sentencepiece": sentencepiece,
    "metaspace": metaspace,
    "word piece": word_piece,
}
