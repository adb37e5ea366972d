"""A conversation with a model: its messages so far, and the answer to the next one, piece by piece."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

import numpy as np
from transformers import Cache

from trainer.attention.kv_cache import bytes_of
from trainer.errors import UserError
from trainer.models import chat, generation, rope, vocabulary
from trainer.models.chat_template import ChatTemplate, TemplateError
from trainer.models.sampling import Sampling
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say

Messages = list[dict[str, str]]


class Conversation:
    """The messages of a conversation.

    Args:
        network: a causal language model of transformers.
        system: a message before all others, such as how to answer; None for none.
        say: called when the oldest messages no longer fit into the model's context.

    Attributes:
        cache_bytes: memory of the keys and values of the newest answer's text.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        sampling: Sampling,
        system: str | None,
        say: Say,
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._template = template
        self._sampling = sampling
        self._system: Messages = [{"role": "system", "content": system}] if system else []
        self._said: Messages = []
        self._say = say
        self._stops = chat.stop_tokens(template, tokenizer)
        self.cache_bytes = 0

    @property
    def messages(self) -> Messages:
        """All messages, the oldest first."""
        return [*self._system, *self._said]

    def start_over(self) -> None:
        """Forget all messages except the system's."""
        self._said = []

    def answer(self, text: str) -> Generator[str, None, None]:
        """Yield the answer to a message. What was yielded becomes part of the conversation, even if not all is taken.

        Raises:
            UserError: the chat template refuses the conversation, or the message does not fit.
        """
        self._said.append({"role": "user", "content": text})
        answered = ""
        try:
            tokens = self._prompt()
            decoder = self._tokenizer.decoder(tokens)
            generated = generation.generate(
                self._network,
                tokens,
                self._sampling,
                self._tokenizer.end_id,
                self._tokenizer.vocab_size,
                stops=self._stops,
                done=self._measure,
            )
            with closing(generated):
                for token in generated:
                    piece = decoder.decode(token)
                    answered += piece
                    yield piece
            rest = decoder.flush()
            answered += rest
            yield rest
        except UserError:
            self._said.pop()
            raise
        finally:
            if self._said and self._said[-1]["role"] == "user":
                self._said.append({"role": "assistant", "content": answered})

    def _measure(self, cache: Cache) -> None:
        self.cache_bytes = bytes_of(cache)

    def _prompt(self) -> list[int]:
        """The tokens of the conversation, without its oldest messages if it has become too long."""
        limit = rope.max_length(self._network.config) or self._network.config.max_position_embeddings
        room = limit - min(self._sampling.max_new_tokens, limit // 2)
        said = list(self._said)
        while len(tokens := self._tokens(said)) > room and len(said) > 2:
            del said[:2]  # a question and its answer
        if len(tokens) > room:
            raise UserError(
                f"The message has {len(tokens)} tokens with the chat template, and only {room} fit beside an answer: the "
                f"model's context is {limit} tokens."
            )
        if dropped := len(self._said) - len(said):
            self._say(
                f"INFO: the oldest {dropped} messages no longer fit into the context of {limit} tokens."
            )
        self._said = said
        return tokens

    def _tokens(self, said: Messages) -> list[int]:
        try:
            tokens = chat.prompt_tokens(self._template, self._tokenizer, [*self._system, *said])
        except TemplateError as error:
            raise UserError(f"The message cannot be sent: {error}") from None
        vocabulary.check(self._network.config, self._tokenizer, [np.array(tokens)], "The message")
        return tokens
