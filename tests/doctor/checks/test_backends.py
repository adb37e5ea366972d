"""What the checks of the attention backends say besides the result."""

from __future__ import annotations

import json

from doctor.check import Check
from doctor.checks import CHECKS
from doctor.host import Completed
from doctor.probes.backends import parse_proof
from tests.doctor.checks.cases import machine_json

SDPA: Check = next(check for check in CHECKS if check.id == "backend-sdpa")


def test_what_failed_its_proof_is_named_although_the_backend_runs() -> None:
    run = machine_json("linux-h100")["runs"]["python -m trainer.attention.prove sdpa"]
    answer = json.loads(run["stdout"])
    answer["backend"]["reasons"] = ["cuda:0 bfloat16 gqa causal: stores S x S weights"]
    facts = parse_proof(Completed(exit_code=0, stdout=json.dumps(answer), stderr=""))
    finding = SDPA.judge(facts)
    assert finding.status == "ok"
    assert finding.measured.endswith("; not used: cuda:0 bfloat16 gqa causal: stores S x S weights")
