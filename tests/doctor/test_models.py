"""Findings and fixes are changed by `but`, which validates what it is given."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from doctor.models import Finding, FindingChanges, Fix, FixChanges

FIX = Fix(id="repair", applicability="manual", commands=("type this",))
FINDING = Finding(check="x", status="ok", summary="fine", fix=FIX)


def test_but_changes_the_named_fields_only() -> None:
    changed = FINDING.but(status="error", summary="broken")
    assert changed == Finding(check="x", status="error", summary="broken", fix=FIX)
    assert FINDING.status == "ok"
    assert FIX.but(applicability="unsafe") == Fix(
        id="repair", applicability="unsafe", commands=("type this",)
    )


@pytest.mark.parametrize("changes", [{"status": "odd"}, {"sumary": "a typing error"}, {"fix": 1}])
def test_but_refuses_what_the_model_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FINDING.but(**changes)


def test_every_field_can_be_changed_except_the_check_id() -> None:
    assert set(FindingChanges.__annotations__) == set(Finding.model_fields) - {"check"}
    assert set(FixChanges.__annotations__) == set(Fix.model_fields)
