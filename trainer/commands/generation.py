"""`aios generate`. torch is imported when the command runs, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from trainer.commands.explanation import report_errors
from trainer.commands.output import write_generated
from trainer.commands.required_packages import require_training_packages
from trainer.commands.training import CapabilityFile, Strict, StrictCapability
from trainer.config import Backend
from trainer.early_checks import check_model_folder

Checkpoint = Annotated[
    Path, typer.Option(help="Output folder of a training run, one of its checkpoints, or a model folder.")
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Maximum number of tokens to generate.")]
Temperature = Annotated[
    float, typer.Option(min=0, help="Sampling temperature; 0 always picks the most likely token.")
]
TopK = Annotated[int, typer.Option(min=0, help="Sample from the k most likely tokens; 0 for all.")]
TopP = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Sample from the most likely tokens that together have this probability; 1 for all.",
    ),
]
MinP = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Sample from the tokens with at least this fraction of the largest probability."
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option(min=0.01, help="Lowers the probability of tokens that occurred before; 1 for no penalty."),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed: the same seed gives the same text.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
AttentionBackend = Annotated[
    Backend,
    typer.Option(help=f"Attention backend: {', '.join(get_args(Backend))}.", metavar="TEXT"),
]
Amp = Annotated[
    bool, typer.Option("--amp", help="Compute in bfloat16 if the device supports it, else in float16.")
]

generate = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@generate.command()
def run_generate(
    checkpoint: Checkpoint,
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "",
    max_new_tokens: MaxNewTokens = 200,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = 1234,
    device: Device = "auto",
    attention_backend: AttentionBackend = "auto",
    amp: Amp = False,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
) -> None:
    """Generate text from a checkpoint. The text goes to stdout, messages to stderr."""
    with report_errors():
        check_model_folder(checkpoint, "--checkpoint")
        require_training_packages()
        import numpy as np

        from trainer import capability
        from trainer.generate import load
        from trainer.models import generation, vocabulary
        from trainer.models.sampling import Sampling
        from trainer.models.tokenizer import encode_prompt
        from trainer.records.progress import Reporter

        say = Reporter().say
        proven = capability.load(capability_file, strict=strict_capability, say=say)
        model, tokenizer = load(checkpoint, device, attention_backend, proven, say, amp=amp, strict=strict)
        sampling = Sampling(max_new_tokens, temperature, top_k, seed, top_p, min_p, repetition_penalty)
        write_generated(prompt)
        tokens = encode_prompt(tokenizer, prompt)
        vocabulary.check(model.config, tokenizer, [np.array(tokens)], "--prompt")
        decoder = tokenizer.decoder(tokens)
        for token in generation.generate(model, tokens, sampling, tokenizer.end_id, tokenizer.vocab_size):
            write_generated(decoder.decode(token))
        write_generated(decoder.flush() + "\n")
