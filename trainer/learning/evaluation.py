"""How well a model does between steps: the loss of held-out text, and a sample of its own."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from trainer.data import Indices, Stream
from trainer.learning.state import Run
from trainer.models.generation import Sampling, generate
from trainer.records.metrics import MetricsLog
from trainer.records.progress import Reporter


@dataclass(frozen=True)
class Evaluation:
    """On held-out text: nats per token, its exponential, share of tokens guessed right, bits per byte of text."""

    loss: float
    ppl: float
    token_accuracy: float
    bits_per_byte: float


def examine(run: Run, step: int, log: MetricsLog, reporter: Reporter) -> Evaluation | None:
    """Evaluate, and show a sample, as far as the run has held-out text and a prompt; records of both."""
    evaluation = evaluate(run, run.dataset.held_out) if run.dataset.held_out else None
    if evaluation:
        log.write("eval", step, **asdict(evaluation))
    if (prompt := run.training.sample_prompt) is not None:
        text = sample(run, prompt)
        log.write("sample", step, prompt=prompt, text=text)
        reporter.say(f"{prompt}{text}")
    return evaluation


def evaluate(run: Run, stream: Stream) -> Evaluation:
    """Loss over the first blocks of held-out text, as many as the configuration allows; the processes share them."""
    run.model.eval()
    size, processes = run.training.batch_size, run.processes
    count = min(stream.blocks, run.training.eval_batches * size)
    nats, correct, valid = 0.0, 0.0, 0.0
    for first in range(0, count, size * processes.count):
        indices: Indices = np.arange(size) + first + size * processes.rank
        indices = np.where(
            indices < count, indices, stream.blocks
        )  # padding: each process has as many batches
        score = run.objective.score(stream.batch(indices).to(run.device))
        nats, correct, valid = nats + score.nats, correct + score.correct, valid + score.valid
    nats, correct, valid = processes.sum(nats, correct, valid)
    run.model.train()
    loss = nats / valid
    tokens_per_byte = len(stream.tokens) / stream.text_bytes
    return Evaluation(
        loss=loss,
        ppl=math.exp(min(loss, 700)),  # beyond it a float overflows
        token_accuracy=correct / valid,
        bits_per_byte=loss / math.log(2) * tokens_per_byte,
    )


def sample(run: Run, prompt: str) -> str:
    """What the model says after the prompt; always with the same seed, so that samples can be compared."""
    text = run.tokenizer
    tokens = text.encode(prompt.encode("utf-8", "surrogateescape")).tolist()
    sampling = Sampling(max_new_tokens=run.training.sample_tokens, seed=run.training.seed)
    decoder = text.decoder()
    run.model.eval()
    said = run.with_model(lambda: [*generate(run.model, tokens, sampling, text.end_id, text.vocab_size)])
    run.model.train()
    return "".join(decoder.decode(token) for token in said) + decoder.rest()
