"""Evaluation between steps: the loss on held-out text, and a sample of generated text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from trainer.data import Indices, Stream
from trainer.learning.divergence import NotFiniteError
from trainer.learning.state import Progress, Run
from trainer.models.generation import generate
from trainer.models.sampling import Sampling
from trainer.models.tokenizer import encode_prompt
from trainer.records.metrics import MetricsLog
from trainer.records.progress import Reporter

LARGEST_EXPONENT = 700.0  # above about 709 the exponential overflows a float


@dataclass(frozen=True)
class Evaluation:
    """The model's figures on held-out text.

    Attributes:
        loss: nats per token; of preference data, the mean loss of a pair.
        ppl: perplexity, the exponential of the loss. This and the following are None for preference data.
        token_accuracy: fraction of tokens for which the most likely prediction is right.
        bits_per_byte: of text, so that tokenizers can be compared.
        measured: what else the objective measures, per pair.
    """

    loss: float
    ppl: float | None
    token_accuracy: float | None
    bits_per_byte: float | None
    measured: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, float | None]:
        """The fields of the eval record."""
        found = asdict(self)
        measured: Mapping[str, float] = found.pop("measured")
        return {**found, **measured}


def evaluate(run: Run, progress: Progress, log: MetricsLog, reporter: Reporter) -> Evaluation | None:
    """Record the evaluation on held-out text and a sample; each only if the run has held-out text or a prompt.

    Raises:
        NotFiniteError: the held-out loss is not finite, so the weights are unusable.
    """
    step = progress.position.step
    evaluation = evaluate_on(run, run.dataset.held_out) if run.dataset.held_out else None
    if evaluation:
        log.write("eval", step, **evaluation.to_json())
        if not math.isfinite(evaluation.loss):
            raise NotFiniteError(
                f"The held-out loss is not finite after step {step}. {progress.checkpoints.advice()}"
            )
        progress.checkpoints.evaluation_was_finite()
        if run.training.early_stop_patience:
            progress.best = progress.best.after(evaluation.loss, step)
    if (prompt := run.training.sample_prompt) is not None:
        text = sample(run, prompt)
        log.write("sample", step, prompt=prompt, text=text)
        reporter.say(f"{prompt}{text}")
    return evaluation


def evaluate_on(run: Run, stream: Stream) -> Evaluation:
    """The model's figures on the first `eval_batches` batches of a text. The processes share the work."""
    run.model.eval()
    size, processes = run.training.batch_size, run.processes
    count = min(stream.blocks, run.training.eval_batches * size)
    sums = dict.fromkeys(("nats", "correct", "valid"), 0.0)
    for first in range(0, count, size * processes.count):
        indices: Indices = np.arange(size) + first + size * processes.rank
        # Padding blocks, so that all processes have the same number of batches.
        indices = np.where(indices < count, indices, stream.blocks)
        score = run.objective.score(stream.batch(indices).to(run.device))
        for name, value in {
            **score.measured,
            "nats": score.nats,
            "correct": score.correct,
            "valid": score.valid,
        }.items():
            sums[name] = sums.get(name, 0.0) + value
    sums = dict(zip(sums, processes.sum(*sums.values()), strict=True))
    run.model.train()
    nats, correct, valid = (sums.pop(name) for name in ("nats", "correct", "valid"))
    loss = nats / valid
    measured = {name: total / valid for name, total in sums.items()}
    if stream.pairs:
        return Evaluation(loss, None, None, None, measured)
    tokens_per_byte = stream.text_tokens / stream.text_bytes
    return Evaluation(
        loss=loss,
        ppl=math.exp(min(loss, LARGEST_EXPONENT)),
        token_accuracy=correct / valid,
        bits_per_byte=loss / math.log(2) * tokens_per_byte,
        measured=measured,
    )


def sample(run: Run, prompt: str) -> str:
    """The model's continuation of a prompt; always with the run's seed, so that samples can be compared."""
    tokenizer = run.tokenizer
    tokens = encode_prompt(tokenizer, prompt)
    sampling = Sampling(max_new_tokens=run.training.sample_tokens, seed=run.training.seed)
    decoder = tokenizer.decoder(tokens)
    run.model.eval()
    generated = run.with_model(
        lambda: [*generate(run.model, tokens, sampling, tokenizer.end_id, tokenizer.vocab_size)]
    )
    run.model.train()
    return "".join(decoder.decode(token) for token in generated) + decoder.flush()
