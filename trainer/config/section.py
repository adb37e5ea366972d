"""What all sections of a configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

LARGEST = 2**63 - 1  # what numpy and torch can store


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Reject true and false, which Python counts as numbers, and integers that need more than 64 bits."""
        expected = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and expected in (int, float, int | None, float | None):
            raise ValueError("a number is required, not true or false")
        if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            raise ValueError(f"a whole number must be between -{LARGEST} and {LARGEST}")
        return value
