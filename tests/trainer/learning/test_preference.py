"""Preference losses: compared with the papers' formulas in float64, with TRL's code, and in runs."""

from __future__ import annotations

import ast
import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from typer.testing import Result

from tests.trainer import small_models
from tests.trainer.attention import third_party
from trainer import building, data
from trainer.config import LossName, ModelSection
from trainer.config.reading import load
from trainer.data import IGNORED, Batch
from trainer.device import Precision
from trainer.learning import preference
from trainer.learning.objective import NextToken
from trainer.learning.preference import Answers, Preference
from trainer.models import lora, model, tokenizer
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import checkpoint, memory_estimate

Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
FULL = Precision(torch.float32)
CPU = torch.device("cpu")
BETA = 0.3


@pytest.fixture
def pairs() -> Batch:
    """Three pairs, whose answers begin and end at different places; the third is padding."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 256, (6, 12), generator=generator)
    targets = tokens.roll(-1, 1)
    for row, (start, end) in enumerate([(3, 9), (3, 11), (5, 6), (5, 10), (0, 0), (0, 0)]):
        targets[row, :start] = IGNORED
        targets[row, end:] = IGNORED
    return Batch(tokens, targets, None, pairs=True)


def changed(network: Any) -> Any:
    """A model that differs from its reference."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def log_probabilities(network: Any, batch: Batch) -> Tensor:
    """(pairs, 2) in float64, from all logits; and the number of tokens of each answer."""
    logits = network.double()(input_ids=batch.tokens, use_cache=False).logits.double()
    picked = logits.log_softmax(-1).gather(-1, batch.targets.clamp_min(0)[..., None])[..., 0]
    return (picked * (batch.targets != IGNORED)).sum(1).view(-1, 2)


def expected(loss: str, policy: Tensor, reference: Tensor, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
    """The sum of the losses of these pairs, as the papers write them."""
    if loss == "dpo":
        h = BETA * ((policy[:, 0] - reference[:, 0]) - (policy[:, 1] - reference[:, 1]))
        return (
            -(1 - smoothing) * torch.log(torch.sigmoid(h)) - smoothing * torch.log(torch.sigmoid(-h))
        ).sum()
    if loss == "ipo":
        policy, reference = policy / tokens, reference / tokens
        h = (policy[:, 0] - reference[:, 0]) - (policy[:, 1] - reference[:, 1])
        return ((h - 1 / (2 * BETA)) ** 2).sum()
    p = torch.exp(policy / tokens)
    odds = p / (1 - p)
    return (-torch.log(p[:, 0]) - BETA * torch.log(torch.sigmoid(torch.log(odds[:, 0] / odds[:, 1])))).sum()


@pytest.mark.parametrize(("loss", "smoothing"), [("dpo", 0.0), ("dpo", 0.1), ("ipo", 0.0), ("orpo", 0.0)])
@pytest.mark.parametrize("adapter", [True, False])
def test_losses_and_gradients_are_those_of_the_papers(
    pairs: Batch, loss: LossName, smoothing: float, adapter: bool
) -> None:
    network = small_models.model("llama")
    before = copy.deepcopy(network)
    if adapter:
        lora.add(
            network, ModelSection(name="x", use_peft=True, lora_r=4, lora_modules_to_save=("embed_tokens",))
        )
    changed(network)
    frozen = None if adapter else NextToken(copy.deepcopy(before), FULL)
    objective = Preference(NextToken(network, FULL), loss, BETA, smoothing, frozen)
    [part] = objective.parts(pairs)
    part.loss.backward()

    exact = copy.deepcopy(network)
    exact.zero_grad()
    real = Batch(pairs.tokens[:4], pairs.targets[:4], None, pairs=True)
    with torch.no_grad():
        reference = log_probabilities(before, real)
    tokens = (real.targets != IGNORED).sum(1).view(-1, 2)
    policy = log_probabilities(exact, real)
    total = expected(loss, policy, reference, tokens, smoothing)
    total.backward()
    assert part.loss.item() == pytest.approx(total.item(), rel=1e-5)
    for (name, found), right in zip(network.named_parameters(), exact.parameters(), strict=True):
        assert (found.grad is None) == (right.grad is None), name
        if found.grad is not None:
            torch.testing.assert_close(found.grad.double(), right.grad, rtol=1e-3, atol=1e-6)
    assert part.measured["logps_chosen"].item() == pytest.approx(policy[:, 0].sum().item(), rel=1e-5)
    if loss != "orpo":
        rewards = BETA * (policy - reference).detach()
        margins = rewards[:, 0] - rewards[:, 1]
        assert part.measured["rewards_margin"].item() == pytest.approx(margins.sum().item(), rel=1e-3)
        assert part.measured["rewards_accuracy"] == (margins > 0).sum()
    network.eval()
    score = objective.score(pairs)
    assert score.nats == pytest.approx(total.item(), rel=1e-5) and score.valid == 2
    assert score.measured.keys() == part.measured.keys()


def test_an_untrained_model_has_the_dpo_loss_log_2_and_trains_as_before(pairs: Batch) -> None:
    network = small_models.model("llama")
    lora.add(network, ModelSection(name="x", use_peft=True, lora_dropout=0.5))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    network.train()
    [part] = Preference(NextToken(network, FULL), "dpo", BETA).parts(pairs)
    assert part.loss.item() == pytest.approx(2 * math.log(2))  # the adapter is new, so it changes nothing
    assert network.training
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == trained


@pytest.mark.parametrize("loss", ["dpo", "orpo"])
def test_pairs_stay_together_when_a_batch_is_split(pairs: Batch, loss: LossName) -> None:
    network = changed(small_models.model("llama"))
    objective = Preference(
        NextToken(network, FULL), loss, BETA, 0.0, NextToken(small_models.model("llama"), FULL)
    )
    [whole] = objective.parts(pairs)
    split = pairs.split(1)
    assert [len(each.tokens) for each in split] == [2, 2, 2] and all(each.pairs for each in split)
    assert sum(each.weight() for each in split) == pairs.weight() == 2
    parts = [part for each in split for part in objective.parts(each)]
    assert sum(part.loss.item() for part in parts) == pytest.approx(whole.loss.item(), rel=1e-5)
    assert parts[2].loss == 0


def code_of_trl(path: str, chosen: Callable[[ast.AST], bool]) -> ast.stmt:
    source = (third_party.folder("trl") / "trl" / path).read_text(encoding="utf-8")
    [found] = [node for node in ast.walk(ast.parse(source)) if chosen(node)]
    assert isinstance(found, ast.stmt)
    return found


def test_losses_are_those_that_trl_computes() -> None:
    def is_loop(node: ast.AST) -> bool:
        return isinstance(node, ast.For) and "loss_weight" in ast.dump(node.target)

    generator = torch.Generator().manual_seed(0)
    logps = -5 * torch.rand(4, 7, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, 9, (2, 7), generator=generator)
    policy, reference = Answers(logps[0], logps[1], tokens), Answers(logps[2], logps[3], tokens)
    scores = {"chosen_scores": logps[0] - logps[2], "rejected_scores": logps[1] - logps[3]}
    masks = torch.arange(9) < tokens.flatten()[:, None]
    own = {"dpo": preference.dpo(policy, reference, BETA), "ipo": preference.ipo(policy, reference, BETA)}
    loop = code_of_trl("trainer/dpo_trainer.py", is_loop)
    for name, loss_type in (("dpo", "sigmoid"), ("ipo", "ipo")):
        names = {
            **scores,
            "torch": torch,
            "F": F,
            "zip": zip,
            "loss": 0.0,
            "device": CPU,
            "delta_score": scores["chosen_scores"] - scores["rejected_scores"],
            "completion_mask": masks,
            "self": SimpleNamespace(
                beta=BETA, loss_types=[loss_type], loss_weights=[1.0], use_weighting=False
            ),
        }
        exec(compile(ast.Module([loop], []), "trl", "exec"), names)
        torch.testing.assert_close(own[name].mean(), names["loss"])

    def is_function(name: str) -> Callable[[ast.AST], bool]:
        return lambda node: isinstance(node, ast.FunctionDef) and node.name == name

    names = {"torch": torch, "F": F, "math": math}
    for path, function in (
        ("experimental/orpo/orpo_trainer.py", "log1mexp"),
        ("experimental/orpo/orpo_trainer.py", "odds_ratio_loss"),
    ):
        node = code_of_trl(path, is_function(function))
        exec(
            compile(
                ast.Module([ast.parse("from __future__ import annotations").body[0], node], []), "trl", "exec"
            ),
            names,
        )
    trainer = SimpleNamespace(beta=BETA, accelerator=SimpleNamespace(device=CPU))
    means = policy.means()
    theirs: Any = names["odds_ratio_loss"]
    losses, *_ = theirs(trainer, means.chosen, means.rejected)
    torch.testing.assert_close(-BETA * preference.odds_ratio(policy), losses.double(), rtol=1e-4, atol=1e-5)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base ß"
    small_models.model("llama", backend=None, max_position_embeddings=256).save_pretrained(folder)
    ByteTokenizer().save(folder)
    return folder


@pytest.fixture
def settings(settings: dict[str, Any], base: Path, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "pairs.jsonl"
    records = [
        {"prompt": f"{n}?", "chosen": "yes " * (n % 3 + 1), "rejected": "no " * (n % 4 + 1)}
        for n in range(24)
    ]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    settings["model"] = {"name": str(base)}
    settings["data"] = {"dataset_file": str(path), "max_length": 128, "eval_fraction": 0.2}
    settings["training"] |= {"loss": "dpo", "checkpoint_every": 3, "batch_size": 3, "learning_rate": 1e-4}
    return settings


@pytest.mark.parametrize("changes", [{"use_peft": True, "lora_dropout": 0.1}, {}])
def test_a_resumed_run_is_bit_equal_and_keeps_the_first_model_as_its_reference(
    settings: dict[str, Any],
    changes: dict[str, Any],
    write_config: Callable[[Any], Path],
    call: Call,
    records: Records,
    tmp_path: Path,
) -> None:
    settings["model"] |= changes
    config, log = write_config(settings), tmp_path / "out" / "metrics.jsonl"
    first = call("train", "--config", config)
    assert first.exit_code == 0, first.output
    assert ("frozen copy" in first.output) == (not changes)

    def figures() -> list[Any]:
        keys = ("step", "loss", "grad_norm", "rewards_margin", "rewards_accuracy", "logps_chosen")
        return [[record[key] for key in keys] for record in records(log) if record["event"] == "train"]

    whole = figures()
    assert whole[0][1] == pytest.approx(math.log(2)) and whole[-1][1] < whole[0][1]
    (last := checkpoint.find(tmp_path / "out", print) / "state.json").write_text("damaged")
    again = call("train", "--config", config, "--resume")
    assert again.exit_code == 0, again.output
    assert figures() == whole and last.exists()
    [*_, found] = (record for record in records(log) if record["event"] == "eval")
    assert found["ppl"] is None and 0 <= found["rewards_accuracy"] <= 1
    if changes:
        return
    folder = checkpoint.find(tmp_path / "out", print)
    trained, _ = model.build_trained(model.read_config(folder), folder)
    before, _ = model.build_trained(
        model.read_config(Path(settings["model"]["name"])), Path(settings["model"]["name"])
    )
    held_out = data.load(load(config, {}).data, tokenizer.load(None, folder), lambda message: None).held_out
    assert held_out is not None
    batch = held_out.batch(torch.arange(held_out.blocks).numpy())
    with torch.no_grad():
        margins = log_probabilities(trained, batch) - log_probabilities(before, batch)
    losses = -F.logsigmoid(0.1 * (margins[:, 0] - margins[:, 1]))
    assert found["loss"] == pytest.approx(losses.mean().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"use_chunked_training": True}}, "probability of a whole answer"),
        ({"training": {"sharding": "full"}}, "does not support training.sharding"),
        ({"training": {"loss": "orpo", "label_smoothing": 0.1}}, "has no label smoothing"),
        ({"training": {"loss": "next_token", "beta": 0.2}}, "training.beta has no effect"),
        ({"data": {"packing": True}}, "a row of its own"),
        ({"data": {"train_on": "all"}}, "compares answers only"),
        ({"data": {"format": "alpaca"}}, "reads preference data"),
        ({"training": {"loss": "next_token"}, "data": {"format": "preference"}}, "needs a loss that compares"),
        ({"model": {"from_scratch": True}}, "must be a trained one"),
        ({"model": {"resize_token_embeddings": True}}, "no rows for new tokens"),
        ({"model": {"architecture": {"model_type": "hrm_act_v1"}, "tokenizer": "byte"}, "training": {"loss": "orpo"}}, "HRM"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    settings: dict[str, Any],
    changes: dict[str, dict[str, Any]],
    words: str,
    write_config: Callable[[Any], Path],
    call: Call,
) -> None:
    for section, values in changes.items():
        settings[section] = values if "architecture" in values else settings[section] | values
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_other_trainers_names_of_the_settings_are_accepted(
    settings: dict[str, Any], write_config: Callable[[Any], Path]
) -> None:
    settings["training"] = {"rl": "ipo", "rl_beta": 0.2}
    config = load(write_config(settings), {})
    assert (config.training.loss, config.training.beta) == ("ipo", 0.2)
    assert (config.data.data_format, config.data.packing) == ("preference", False)


@pytest.mark.parametrize("adapter", [True, False])
def test_the_frozen_copy_is_in_the_memory_plan(
    settings: dict[str, Any], base: Path, adapter: bool, write_config: Callable[[Any], Path]
) -> None:
    settings["model"]["use_peft"] = adapter
    found = []
    for loss in ("next_token", "dpo"):
        settings["training"]["loss"] = loss
        config = load(write_config(settings), {})

        def build(config: Any = config) -> Any:
            built = building.build_for_estimate(config, model.read_config(base), FULL, False, CPU)
            return built.network, built.objective

        found.append(memory_estimate.estimate(build, config.training, CPU, (2, 64), False))
    plain, dpo = found
    assert dpo.weights == (plain.weights if adapter else 2 * plain.weights)
    assert (dpo.gradients, dpo.state) == (plain.gradients, plain.state)
    assert dpo.activations is not None and plain.activations is not None
    overhead = memory_estimate.OVERHEAD["cpu"]
    assert dpo.activations - overhead > 1.5 * (plain.activations - overhead)  # two sequences
