"""Preference objectives: raise the probability of chosen answers over that of rejected ones, without a reward model.

* DPO, Rafailov et al. 2023, arXiv:2305.18290, with the label smoothing of Mitchell 2023 (conservative DPO).
* IPO, Azar et al. 2023, arXiv:2310.12036, on mean log-probabilities, as its authors recommend.
* ORPO, Hong et al. 2024, arXiv:2403.07691, which needs no reference model.

DPO and IPO compare with the model before training. That of a LoRA run is the model without its adapter; otherwise it is a
frozen copy. Shapes: P pairs, in 2 P rows: chosen, rejected, chosen, ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.config import LossName
from trainer.data import IGNORED, Batch
from trainer.learning.cross_entropy import token_cross_entropies
from trainer.learning.objective import NextToken, Part, Score
from trainer.models import lora


@dataclass(frozen=True)
class Answers:
    """The answers of P pairs.

    Attributes:
        chosen, rejected: (P,) log-probabilities, summed over the tokens of an answer.
        tokens: (2, P) number of tokens of the chosen and of the rejected answers; at least 1.
    """

    chosen: Tensor
    rejected: Tensor
    tokens: Tensor

    def means(self) -> Answers:
        """Return the answers with the mean log-probability of their tokens in place of the sum."""
        return Answers(self.chosen / self.tokens[0], self.rejected / self.tokens[1], self.tokens)


def dpo(policy: Answers, reference: Answers, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """The DPO loss of each pair, (P,). `label_smoothing`: the probability that the labels are swapped."""
    margin = beta * ((policy.chosen - policy.rejected) - (reference.chosen - reference.rejected))
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def ipo(policy: Answers, reference: Answers, beta: float) -> Tensor:
    """The IPO loss of each pair, (P,)."""
    policy, reference = policy.means(), reference.means()
    margin = (policy.chosen - policy.rejected) - (reference.chosen - reference.rejected)
    return (margin - 1 / (2 * beta)) ** 2


def odds_ratio(policy: Answers) -> Tensor:
    """The odds ratio loss of ORPO, (P,): -log sigmoid(log(odds of the chosen / odds of the rejected)).

    The probability of an answer is the geometric mean of those of its tokens.
    """
    means = policy.means()
    return -F.logsigmoid(_log_odds(means.chosen) - _log_odds(means.rejected))


def _log_odds(log_probability: Tensor) -> Tensor:
    """log(p / (1 - p)), exact for p close to 1, where log(1 - p) is log(-expm1(log p))."""
    return log_probability - torch.log(-torch.expm1(log_probability.clamp(max=-1e-7)))


@dataclass(frozen=True)
class Preference:
    """A preference loss of a causal language model.

    Attributes:
        policy: computes the model that is trained.
        beta: of DPO and IPO, how strongly the model is kept close to the reference; of ORPO, the weight of its odds ratio.
        copy: the frozen copy that DPO and IPO compare with; None if the model without its adapter is the reference.
    """

    policy: NextToken
    loss: LossName
    beta: float
    label_smoothing: float = 0.0
    copy: NextToken | None = None

    pairs = True  # the kind of batches

    @property
    def model(self) -> Any:
        return self.policy.model

    def parts(self, batch: Batch) -> Iterator[Part]:
        reference = self._reference(batch)  # before the policy, whose activations are kept
        answers, router_loss = _answers(self.policy, batch)
        losses, measured = self._losses(answers, reference)
        real = (batch.targets[::2] != IGNORED).any(1)  # others are padding
        loss = losses.where(real, 0).sum()
        sums = {name: values.where(real, 0).sum().detach() for name, values in measured.items()}
        if router_loss is not None:
            sums["router_loss"] = router_loss.detach() * batch.weight()
            loss = loss + router_loss * batch.weight()
        yield Part(loss, sums)

    @torch.no_grad()
    def score(self, batch: Batch) -> Score:
        [part] = self.parts(batch)
        measured = {name: value.item() for name, value in part.measured.items()}
        return Score(part.loss.item(), 0, batch.weight(), measured)

    @torch.no_grad()
    def _reference(self, batch: Batch) -> Answers | None:
        """The log-probabilities of the model before training; None if the loss needs none."""
        if self.loss == "orpo":
            return None
        if self.copy is not None:
            return _answers(self.copy, batch)[0]
        with _without_adapter(self.model):
            return _answers(self.policy, batch)[0]

    def _losses(self, policy: Answers, reference: Answers | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each pair, and what is measured of it: (P,) each."""
        measured: dict[str, Tensor] = {"logps_chosen": policy.chosen, "logps_rejected": policy.rejected}
        if reference is None:
            ratio, means = odds_ratio(policy), policy.means()
            losses = -means.chosen + self.beta * ratio
            measured |= {"nll": -means.chosen, "odds_ratio_loss": ratio}
            chosen, rejected = self.beta * means.chosen, self.beta * means.rejected
        else:
            losses = (
                ipo(policy, reference, self.beta)
                if self.loss == "ipo"
                else dpo(policy, reference, self.beta, self.label_smoothing)
            )
            chosen = self.beta * (policy.chosen - reference.chosen)
            rejected = self.beta * (policy.rejected - reference.rejected)
        measured |= {
            "rewards_chosen": chosen,
            "rewards_rejected": rejected,
            "rewards_margin": chosen - rejected,
            "rewards_accuracy": (chosen > rejected).to(losses.dtype),
        }
        return losses, measured


def _answers(objective: NextToken, batch: Batch) -> tuple[Answers, Tensor | None]:
    """The log-probabilities of a batch's answers by a model, and its router loss."""
    hidden, head, output = objective.forward(batch)
    nats = token_cross_entropies(hidden, head, batch.targets, objective.precision.dtype)
    sums = -nats.sum(1)
    tokens = (batch.targets != IGNORED).sum(1).clamp_min(1).view(-1, 2).t()
    router_loss = objective.router_loss(output)
    return Answers(sums[::2], sums[1::2], tokens), None if router_loss is None else router_loss.float()


@contextmanager
def _without_adapter(network: Any) -> Iterator[None]:
    """While entered, the network computes as before training: without its adapter, and without dropout."""
    training = network.training
    network.eval()
    try:
        with lora.disabled(network):
            yield
    finally:
        network.train(training)
