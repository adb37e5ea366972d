"""Compare a training step with Hugging Face's Trainer and with a loop like nanoGPT's: same model, data and batch size.

The model is a GPT-2 with 6 layers, width 384 and 6 heads, from the same weights. The three programs take each step in turn, in
one process, so that other load on the machine affects all of them equally. Ratios are medians over steps. The losses are
compared. Memory is the peak of a new process for each program. Environment variables (MALLOC_*, OMP_NUM_THREADS) are the same.

    python scripts/bench_training.py --rounds 10
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LAYERS, WIDTH, HEADS, LENGTH, SIZE = 6, 384, 6, 512, 4
RATE, DECAY, BETAS, CLIP = 6e-4, 0.1, (0.9, 0.95), 1.0
OURS, TRAINER, NANOGPT = "ours", "HF Trainer", "nanoGPT style"
Step = Callable[[], float]  # takes a step and returns its loss


def tokens(vocabulary: int, batches: int) -> Tensor:
    """Return random tokens with the frequencies of words (Zipf's law): (batches, SIZE, LENGTH)."""
    frequency = 1 / torch.arange(1, vocabulary + 1)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.multinomial(frequency, batches * SIZE * LENGTH, replacement=True, generator=generator)
    return drawn.view(batches, SIZE, LENGTH)


def gpt2(vocabulary: int) -> Any:
    """Return Hugging Face's model, always with the same weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=vocabulary, n_layer=LAYERS, n_embd=WIDTH, n_head=HEADS, n_positions=LENGTH)
    config.update(dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0))
    config.update(dict.fromkeys(("bos_token_id", "eos_token_id"), 0))
    return GPT2LMHeadModel(config)


def ours(data: Tensor, vocabulary: int, bf16: bool) -> Iterator[float]:
    """Train with our code and yield the loss of each step."""
    from trainer.attention import huggingface
    from trainer.config import TrainingSection
    from trainer.data import Batch, Dataset
    from trainer.device import Precision
    from trainer.learning.objective import NextToken
    from trainer.learning.optimizer import make_optimizer
    from trainer.learning.state import Progress, Run
    from trainer.learning.step import optimizer_step
    from trainer.models import activations
    from trainer.models.tokenizer import ByteTokenizer

    model = gpt2(vocabulary)
    activations.fuse(model)
    huggingface.attach(model.config, backend="sdpa")
    training = TrainingSection(lr=RATE, weight_decay=DECAY, max_grad_norm=CLIP)
    run = Run(
        model=model.train(),
        objective=NextToken(model, Precision(torch.bfloat16 if bf16 else torch.float32)),
        tokenizer=ByteTokenizer(),
        optimizer=make_optimizer(model, training),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        dataset=Dataset(None, None, 0.0, 0.0),  # type: ignore[arg-type]
        training=training,
        device=torch.device("cpu"),
        labels={},
    )
    for x in data:
        batch = Batch(x, F.pad(x[:, 1:], (0, 1), value=-100), None)
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


def hf_trainer(data: Tensor, vocabulary: int, bf16: bool, after_step: Callable[[float], None]) -> None:
    """Train with Hugging Face's Trainer. `after_step` is called with the loss of each step."""
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class ReportLoss(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if "loss" in others["logs"]:
                after_step(float(others["logs"]["loss"]))

    # The Trainer shifts labels itself. The first label is never a target, but without -100 it would be counted as one.
    samples = [{"input_ids": row, "labels": F.pad(row[1:], (1, 0), value=-100)} for row in data.flatten(0, 1)]

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(samples)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=SIZE,
            max_steps=len(data),
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=DECAY,
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            max_grad_norm=CLIP,
            bf16=bf16,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = InOrder(gpt2(vocabulary), arguments, train_dataset=samples, callbacks=[ReportLoss()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def side_by_side(vocabulary: int, bf16: bool, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds and losses of the steps of each program. The seconds leave out the first step, which warms up."""
    data = tokens(vocabulary, rounds + 1)
    others = {NANOGPT: nanogpt(data, vocabulary, bf16), OURS: ours(data, vocabulary, bf16)}
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in (OURS, NANOGPT, TRAINER)}

    def note(name: str, seconds: float, loss: float) -> None:
        found[name][0].append(seconds)
        found[name][1].append(loss)

    began = 0.0

    def after_step(loss: float) -> None:
        """Run a step of the other programs between two steps of the Trainer."""
        nonlocal began
        note(TRAINER, time.perf_counter() - began, loss)
        for name, steps in others.items():
            began = time.perf_counter()
            loss = next(steps)
            note(name, time.perf_counter() - began, loss)
        began = time.perf_counter()

    hf_trainer(data, vocabulary, bf16, after_step)
    return {name: (seconds[1:], losses) for name, (seconds, losses) in found.items()}


def peak(program: str, vocabulary: int, bf16: bool) -> float:
    """Return the peak memory in MB of a new process that takes a few steps."""
    command = [sys.executable, __file__, "--alone", program, "--vocabularies", str(vocabulary)]
    done = subprocess.run(
        [*command, "--dtypes", "bfloat16" if bf16 else "float32"], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1e6


def peak_alone(program: str, vocabulary: int, bf16: bool) -> int:
    """Take a few steps in this process and return its peak memory in bytes."""
    from trainer.device import peak_memory_bytes

    data = tokens(vocabulary, 3)
    if program == TRAINER:
        hf_trainer(data, vocabulary, bf16, lambda loss: None)
    else:
        list((ours if program == OURS else nanogpt)(data, vocabulary, bf16))
    return peak_memory_bytes(torch.device("cpu"))


def rows(vocabulary: int, bf16: bool, rounds: int) -> Iterator[str]:
    """Yield the rows of the table, one for each program."""
    memory = {name: peak(name, vocabulary, bf16) for name in (OURS, NANOGPT, TRAINER)}
    found = side_by_side(vocabulary, bf16, rounds)
    mine, right = found[OURS][0], found[TRAINER][1]
    for name, (seconds, losses) in found.items():
        ratio = statistics.median(their / my for their, my in zip(seconds, mine, strict=True))
        apart = max(abs(one - other) / other for one, other in zip(losses, right, strict=True))
        cells = [
            str(vocabulary),
            "bfloat16" if bf16 else "float32",
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
    parser.add_argument("--alone", choices=[OURS, TRAINER, NANOGPT], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(peak_alone(options.alone, options.vocabularies[0], options.dtypes == ["bfloat16"]))  # noqa: T201
        return 0
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.rounds} rounds\n")  # noqa: T201
    heads = "V | dtype | program | tokens/s, median | best | time / ours | peak MB | largest relative difference in loss"
    print(f"| {heads} |\n|{'---|' * (heads.count('|') + 1)}")  # noqa: T201
    for vocabulary in options.vocabularies:
        for dtype in options.dtypes:
            for row in rows(vocabulary, dtype == "bfloat16", options.rounds):
                print(row, flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
