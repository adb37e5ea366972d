"""What all sections of a configuration have in common."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

LARGEST = 2**63 - 1  # what numpy and torch can store


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Reject true and false, which Python counts as numbers, and integers that need more than 64 bits."""
        expected = cls.model_fields[str(info.field_name)].annotation
        parts = {
            get_args(part)[0] if get_origin(part) is Annotated else part
            for part in (expected, *get_args(expected))
        }
        if isinstance(value, bool) and parts & {int, float} and bool not in parts:
            raise ValueError("a number is required, not true or false")
        if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            raise ValueError(f"a whole number must be between -{LARGEST} and {LARGEST}")
        return value
