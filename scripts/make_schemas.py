"""Write the JSON Schemas that are shipped, from the models. A test fails if they are out of date."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from doctor.capability import Capability  # noqa: E402
from doctor.failures.explanation import LogExplanation  # noqa: E402
from doctor.install.install_answer import InstallAnswer  # noqa: E402
from doctor.models import Report  # noqa: E402
from doctor.report.events import Event  # noqa: E402
from doctor.runs.answers import DifferenceAnswer, Explanation, RunList, UndoAnswer  # noqa: E402
from doctor.runs.environment_list import EnvironmentList  # noqa: E402
from doctor.wheel_search.catalogue_answers import RefreshAnswer, WheelList  # noqa: E402
from doctor.wheel_search.match_answer import MatchAnswer  # noqa: E402
from wheels.catalogue import Catalogue  # noqa: E402

SCHEMAS: dict[str, type[BaseModel]] = {
    "report": Report,
    "event": Event,
    "explained-log": LogExplanation,
    "capability": Capability,
    "environments": EnvironmentList,
    "install": InstallAnswer,
    "history": RunList,
    "difference": DifferenceAnswer,
    "undo": UndoAnswer,
    "explanation": Explanation,
    "wheel-match": MatchAnswer,
    "wheel-list": WheelList,
    "wheel-refresh": RefreshAnswer,
    "catalogue": Catalogue,
}


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of what aios writes: all fields are required, others are allowed, because later versions add some.

    A catalogue is also written by hand, so its fields with a default are optional.
    """
    content: dict[str, Any] = (
        model.model_json_schema()
        if model is Catalogue
        else _as_written(model.model_json_schema(mode="serialization"))
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}


def _as_written(part: Any) -> Any:
    if isinstance(part, list):
        return [_as_written(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _as_written(value) for key, value in part.items() if key != "default"}
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]
    if "properties" in kept:
        kept["required"] = list(kept["properties"])
    return kept


def text(model: type[BaseModel]) -> str:
    """Return the content of the schema file."""
    return json.dumps(schema(model), indent=2) + "\n"


def path(name: str) -> Path:
    """Return the path of the schema file."""
    package = SCHEMAS[name].__module__.partition(".")[0]
    return ROOT / package / "schemas" / f"{name}.schema.json"


def main() -> None:
    for name, model in SCHEMAS.items():
        path(name).write_bytes(text(model).encode())


if __name__ == "__main__":
    main()
