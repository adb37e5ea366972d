"""Compare a training step with Hugging Face's Trainer and with a loop like nanoGPT's: same model, data and batch size.

The model is a GPT-2 with 6 layers, width 384 and 6 heads, from the same weights. The three programs take each step in turn, in
one process, so that other load on the machine affects all of them equally. Ratios are medians over steps. The losses are
compared. Memory is the peak of a new process for each program. Environment variables (MALLOC_*, OMP_NUM_THREADS) are the same.

    python scripts/bench_training.py --rounds 10

TRL's SFTTrainer takes the place of the other two if it is installed (`pip install trl==1.16.0`, best in another environment).
"TRL, defaults" trains in bfloat16 and recomputes activations; "TRL, same settings" does what ours does.

    python scripts/bench_training.py --rounds 10 --against trl --vocabularies 50257

With `--chat`, ours and TRL each pack conversations of 64 to 512 tokens by themselves; only tokens of conversations count, and the
last column compares the mean losses, because the rows differ.

    python scripts/bench_training.py --rounds 10 --chat --vocabularies 50257 --dtypes float32
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from other_trainers import AfterStep, hf_trainer, sft_trainer
from torch import Tensor, nn

LAYERS, WIDTH, HEADS, LENGTH, SIZE = 6, 384, 6, 512, 4
RATE, DECAY, BETAS, CLIP = 6e-4, 0.1, (0.9, 0.95), 1.0
OURS, TRAINER, NANOGPT = "ours", "HF Trainer", "nanoGPT style"
TRL_ALIKE, TRL_DEFAULT = "TRL, same settings", "TRL, defaults"


def tokens(vocabulary: int, batches: int) -> Tensor:
    """Return random tokens with the frequencies of words (Zipf's law): (batches, SIZE, LENGTH)."""
    frequency = 1 / torch.arange(1, vocabulary + 1)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.multinomial(frequency, batches * SIZE * LENGTH, replacement=True, generator=generator)
    return drawn.view(batches, SIZE, LENGTH)


def gpt2(vocabulary: int, lora: bool = False) -> Any:
    """Return Hugging Face's model, always with the same weights; frozen, with an adapter on all linear layers for LoRA."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from trainer.config import ModelSection
    from trainer.models import lora as adapter

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=vocabulary, n_layer=LAYERS, n_embd=WIDTH, n_head=HEADS, n_positions=LENGTH)
    config.update(dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0))
    config.update(dict.fromkeys(("bos_token_id", "eos_token_id"), 0))
    model = GPT2LMHeadModel(config)
    if lora:
        adapter.add(model, ModelSection(name="gpt2"))
    return model


def ours(data: Tensor, vocabulary: int, bf16: bool, lora: bool = False) -> Iterator[float]:
    """Train with our code and yield the loss of each step."""
    from trainer.data import Batch

    batches = [Batch(x, F.pad(x[:, 1:], (0, 1), value=-100), None) for x in data]
    return train(gpt2(vocabulary, lora), batches, bf16)


def train(model: Any, batches: list[Any], bf16: bool) -> Iterator[float]:
    """Train a model with our code, a batch in each step, and yield the loss of each."""
    from trainer.attention import huggingface
    from trainer.config import TrainingSection
    from trainer.data import Dataset
    from trainer.device import Precision
    from trainer.learning.objective import NextToken
    from trainer.learning.optimizer import make_optimizer
    from trainer.learning.state import Progress, Run
    from trainer.learning.step import optimizer_step
    from trainer.models import activations
    from trainer.models.tokenizer import ByteTokenizer

    activations.fuse(model)
    huggingface.attach(model.config, backend="sdpa")
    objective = NextToken(model, Precision(torch.bfloat16 if bf16 else torch.float32))
    assert objective.output_layer is not None  # found here, outside the documents of a batch
    training = TrainingSection(lr=RATE, weight_decay=DECAY, max_grad_norm=CLIP)
    run = Run(
        model=model.train(),
        objective=objective,
        tokenizer=ByteTokenizer(),
        optimizer=make_optimizer(model, training),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        dataset=Dataset(None, None, 0.0, 0.0),  # type: ignore[arg-type]
        training=training,
        device=torch.device("cpu"),
        labels={},
    )
    for batch in batches:
        yield optimizer_step(run, Progress(), [batch], RATE, lambda *said: None).loss


class Block(nn.Module):
    """A layer like nanoGPT's."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.c_attn, self.attn_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.c_fc, self.mlp_proj = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.c_attn(self.ln_1(x)).split(WIDTH, dim=2)
        q, k, v = (y.view(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2) for y in qkv)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(y.transpose(1, 2).contiguous().view(x.shape))
        hidden = F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh")
        out: Tensor = x + self.mlp_proj(hidden)
        return out


class NanoGPT(nn.Module):
    """A model like nanoGPT's: tied embeddings, all logits at once."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.h = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        hidden = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.h:
            hidden = block(hidden)
        logits = self.lm_head(self.ln_f(hidden))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-100)

    def load(self, source: Any) -> None:
        """Load the weights of Hugging Face's GPT-2, whose linear layers are transposed."""
        names = {
            "attn.c_attn": "c_attn",
            "attn.c_proj": "attn_proj",
            "mlp.c_fc": "c_fc",
            "mlp.c_proj": "mlp_proj",
        }
        state = {}
        for name, value in source.transformer.state_dict().items():
            for theirs, mine in names.items():
                name = name.replace(theirs, mine)
            linear = value.ndim == 2 and not name.startswith("w")
            state[name] = value.t() if linear else value
        self.load_state_dict(state | {"lm_head.weight": state["wte.weight"]})


def nanogpt(data: Tensor, vocabulary: int, bf16: bool) -> Iterator[float]:
    """Train with a loop like nanoGPT's and yield the loss of each step."""
    model = NanoGPT(vocabulary).train()
    model.load(gpt2(vocabulary))
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS)  # nanoGPT uses the fused version only on CUDA
    for x in data:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(x, F.pad(x[:, 1:], (0, 1), value=-100))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def settings_of(name: str, bf16: bool) -> dict[str, Any]:
    """Return the settings of one of the other trainers."""
    settings = {
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_grad_norm": CLIP,
    }
    if name != TRL_DEFAULT:
        settings["bf16"] = bf16
    if name == TRL_ALIKE:
        settings["gradient_checkpointing"] = False
    return settings


def driver(name: str, data: Tensor, vocabulary: int, bf16: bool, lora: bool, after_step: AfterStep) -> None:
    """Train with a program that takes all steps by itself and calls `after_step` after each."""
    program = hf_trainer if name == TRAINER else sft_trainer
    program(gpt2(vocabulary, lora), data, settings_of(name, bf16), after_step)


def side_by_side(
    vocabulary: int, bf16: bool, rounds: int, lora: bool = False, theirs: str = TRAINER
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds and losses of the steps of each program. The seconds leave out the first step, which warms up."""
    data = tokens(vocabulary, rounds + 1)
    others = {OURS: ours(data, vocabulary, bf16, lora)}
    if theirs == TRAINER and not lora:
        others[NANOGPT] = nanogpt(data, vocabulary, bf16)
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in (*others, theirs)}

    def note(name: str, seconds: float, loss: float) -> None:
        found[name][0].append(seconds)
        found[name][1].append(loss)

    began = 0.0

    def after_step(loss: float) -> None:
        """Run a step of the other programs between two steps of the one that drives."""
        nonlocal began
        note(theirs, time.perf_counter() - began, loss)
        for name, steps in others.items():
            began = time.perf_counter()
            loss = next(steps)
            note(name, time.perf_counter() - began, loss)
        began = time.perf_counter()

    driver(theirs, data, vocabulary, bf16, lora, after_step)
    return {name: (seconds[1:], losses) for name, (seconds, losses) in found.items()}


def peak(program: str, vocabulary: int, bf16: bool, lora: bool, chat: bool = False) -> float:
    """Return the peak memory in MB of a new process that takes a few steps."""
    command = [sys.executable, __file__, "--alone", program, "--vocabularies", str(vocabulary)]
    command += ["--dtypes", "bfloat16" if bf16 else "float32", *["--lora"] * lora, *["--chat"] * chat]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1e6


def peak_alone(program: str, vocabulary: int, bf16: bool, lora: bool, chat: bool) -> int:
    """Take a few steps in this process and return its peak memory in bytes."""
    from trainer.device import peak_memory_bytes

    if chat:
        import bench_training_chat

        bench_training_chat.alone(program, vocabulary, *chat_arguments(vocabulary, bf16))
        return peak_memory_bytes(torch.device("cpu"))
    data = tokens(vocabulary, 3)
    if program == OURS:
        list(ours(data, vocabulary, bf16, lora))
    elif program == NANOGPT:
        list(nanogpt(data, vocabulary, bf16))
    else:
        driver(program, data, vocabulary, bf16, lora, lambda loss: None)
    return peak_memory_bytes(torch.device("cpu"))


def chat_arguments(vocabulary: int, bf16: bool) -> tuple[Any, ...]:
    """Return the arguments of the functions of `bench_training_chat` after the number of rounds."""
    return (
        SIZE,
        LENGTH,
        lambda: gpt2(vocabulary),
        lambda model, batches: train(model, batches, bf16),
        settings_of(TRL_ALIKE, bf16),
    )


def chat_rows(vocabulary: int, bf16: bool, rounds: int) -> Iterator[str]:
    """Yield the rows of the table for packed conversations."""
    import bench_training_chat

    mine, theirs = bench_training_chat.side_by_side(vocabulary, rounds, *chat_arguments(vocabulary, bf16))
    mean = statistics.fmean(theirs.losses)
    for name, steps, ratio in (
        (OURS, mine, 1.0),
        (TRL_ALIKE, theirs, bench_training_chat.ratio(mine, theirs)),
    ):
        cells = [
            str(vocabulary),
            f"{'bfloat16' if bf16 else 'float32'}, packed chat",
            name,
            f"{statistics.median(steps.rates):.0f}",
            f"{max(steps.rates):.0f}",
            f"{ratio:.2f}",
            f"{peak(name, vocabulary, bf16, False, chat=True):.0f}",
            f"{abs(statistics.fmean(steps.losses) - mean) / mean:.0e}",
        ]
        yield "| " + " | ".join(cells) + " |"


def rows(vocabulary: int, bf16: bool, rounds: int, lora: bool, theirs: str) -> Iterator[str]:
    """Yield the rows of the table, one for each program."""
    found = side_by_side(vocabulary, bf16, rounds, lora, theirs)
    memory = {name: peak(name, vocabulary, bf16, lora) for name in found}
    mine, right = found[OURS][0], found[theirs][1]
    for name, (seconds, losses) in found.items():
        ratio = statistics.median(their / my for their, my in zip(seconds, mine, strict=True))
        apart = max(abs(one - other) / other for one, other in zip(losses, right, strict=True))
        cells = [
            str(vocabulary),
            ("bfloat16" if bf16 else "float32") + (", LoRA" if lora else ""),
            name,
            f"{SIZE * LENGTH / statistics.median(seconds):.0f}",
            f"{SIZE * LENGTH / min(seconds):.0f}",
            f"{ratio:.2f}",
            f"{memory[name]:.0f}",
            f"{apart:.0e}",
        ]
        yield "| " + " | ".join(cells) + " |"


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[50257, 256])
    parser.add_argument(
        "--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"]
    )
    parser.add_argument("--rounds", type=int, default=10, help="steps of each program")
    parser.add_argument("--against", choices=["trainer", "trl"], default="trainer")
    parser.add_argument("--lora", action="store_true", help="train an adapter, not the whole model")
    parser.add_argument(
        "--chat", action="store_true", help="packed conversations, against TRL, with the same settings"
    )
    everything = [OURS, TRAINER, NANOGPT, TRL_ALIKE, TRL_DEFAULT]
    parser.add_argument("--alone", choices=everything, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        bf16 = options.dtypes == ["bfloat16"]
        print(peak_alone(options.alone, options.vocabularies[0], bf16, options.lora, options.chat))  # noqa: T201
        return 0
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.rounds} rounds\n")  # noqa: T201
    heads = "V | dtype | program | tokens/s, median | best | time / ours | peak MB | largest relative difference in loss"
    print(f"| {heads} |\n|{'---|' * (heads.count('|') + 1)}")  # noqa: T201
    for vocabulary in options.vocabularies:
        for dtype in options.dtypes:
            bf16 = dtype == "bfloat16"
            if options.chat:
                for row in chat_rows(vocabulary, bf16, options.rounds):
                    print(row, flush=True)  # noqa: T201
                continue
            # TRL's default is bfloat16
            trl = [TRL_ALIKE, TRL_DEFAULT] if bf16 else [TRL_ALIKE]
            for theirs in trl if options.against == "trl" else [TRAINER]:
                for row in rows(vocabulary, bf16, options.rounds, options.lora, theirs):
                    print(row, flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
