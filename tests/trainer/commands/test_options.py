"""The options of `aios train`, frozen: a change here affects every script that calls it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from trainer.commands import training as commands
from trainer.commands.options import canonical_spelling, with_config_options

# The options with --no- turn a key off.
OPTIONS = """
--[no-]add-bos-token --[no-]from-scratch --[no-]resize-token-embeddings
--adam-beta1 --adam-beta2 --adam-epsilon --[no-]amp --architecture --attention-backend --batch-size
--cache-dir --capability-file --carry-tokens --chat-template --checkpoint-every --chunk-gradients --chunk-size --config --data-format
--[no-]cpu-offload --[no-]offload-activations --[no-]recompute-carries --[no-]use-chunked-training --dataset-chunk-size --dataset-file
--dataset-start-offset --dry-run --decay-fraction --device --early-stop-patience --epochs --eval-batches --eval-every --eval-file --eval-fraction
--final-lr-fraction --force --full-layers --gradient-accumulation-steps --[no-]gradient-checkpointing
--[no-]iterate --keep-checkpoints --learning-rate --[no-]linear-dataset --log-every --log-file
--beta --[no-]compile --label-smoothing --loss --lora-alpha --lora-dropout --lora-r --lora-target-modules --max-grad-norm --max-length --name --optimizer
--output-dir --[no-]packing --processes --resume --sample-prompt --sample-tokens --schedule --seed
--sharding --[no-]reduce-every-batch --hang-timeout --[no-]async-checkpoints --steps --[no-]stop-after-epoch --stop-file --strict --strict-capability --[no-]tensorboard
--text-field --tokenizer --[no-]use-flash-attention --[no-]use-peft --warmup-steps --train-on --weight-decay
--window-pattern --window-size
--[no-]load-in-4bit --[no-]load-in-8bit --[no-]lora-use-dora --[no-]lora-use-rslora --lora-modules-to-save
"""


def test_the_list_of_options_is_unchanged() -> None:
    command: Any = typer.main.get_command(commands.train)
    shown = [
        option.replace("--", "--[no-]") if parameter.secondary_opts else option
        for parameter in command.params
        for option in parameter.opts
    ]
    assert sorted(shown) == sorted(OPTIONS.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--window-size", "512"], {"window_size": "512"}),
        (["--window-size=512"], {"window_size": "512"}),
        (["--window_size=512"], {"window_size": "512"}),
        (["--window_size", "512"], {"window_size": "512"}),
        (["--model.window-size", "512"], {"window_size": "512"}),
        (["--model.window_size=512"], {"window_size": "512"}),
        (["--attention_backend=sdpa"], {"attention_backend": "sdpa"}),
        (["--attention-backend", "flash_attn_2"], {"attention_backend": "flash_attn_2"}),
        (["--lr", "1e-3"], {"learning_rate": "1e-3"}),
        (["--amp"], {"amp": True}),
        (["--no-amp"], {"amp": False}),
        (["--training.amp", "--no_use_flash_attention"], {"amp": True, "use_flash_attention": False}),
        ([], {}),
    ],
)
def test_each_spelling_reaches_its_key(arguments: list[str], expected: dict[str, Any]) -> None:
    got: list[dict[str, Any]] = []
    app = typer.Typer()

    @app.command(context_settings={"token_normalize_func": canonical_spelling})
    @with_config_options
    def command(overrides: dict[str, Any]) -> None:
        got.append(overrides)

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert got == [expected]


@pytest.mark.parametrize("arguments", [["--windowsize", "5"], ["--data.window-size", "5"], ["extra"]])
def test_an_unknown_option_ends_with_status_2(call: Callable[..., Result], arguments: list[str]) -> None:
    assert call("train", *arguments).exit_code == 2


def test_help_describes_every_key_and_imports_no_torch() -> None:
    code = (
        "import sys, aios\n"
        "try: aios.app(['train', '--help'], prog_name='aios')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert "number of tokens that each token attends to" in " ".join(shown.replace("│", "").split())
