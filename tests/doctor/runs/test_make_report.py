from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import jsonschema
import pytest

from doctor.check import Group
from doctor.diagnosis import diagnose
from doctor.models import Evidence, Finding, Report, to_json
from doctor.report.console import Printer
from doctor.report.findings import print_report
from doctor.report.markdown import to_markdown
from doctor.report.wording import next_step
from doctor.runs.make_report import exit_status, make_report, report_after_fix
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, identity

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "doctor" / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
AT = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
GROUPS: dict[str, Group] = {"long-paths": "system", "temp-dir": "system", "gpu": "gpu", "x": "packages"}
NASTY = "C:\\data\\[toolchain] [bold]Zoë[/bold] \x1b[31m ✓ 日本 \udc80\nsecond line"


def finding(status: str = "error", check: str = "x", **more: object) -> Finding:
    return Finding.model_validate({"check": check, "status": status, "summary": "words", **more})


def report(*findings: Finding, **more: object) -> Report:
    plain = {"started_at": AT, "duration_seconds": 0.25, "recorded": False}
    return make_report(identity(), findings, **{**plain, **more})  # type: ignore[arg-type]


def waiting_for_restart() -> Report:
    return report_after_fix(report(finding("ok")), [finding("error")], pending_restart=True)


def printed(shown: Report, encoding: str = "utf-8", ascii_only: bool = False, verbose: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    print_report(shown, GROUPS, Printer(stream, ascii_only), verbose)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("statuses", "strict", "expected"),
    [
        ([], False, 0),
        (["ok", "skipped", "info"], True, 0),
        (["warning"], False, 0),
        (["warning"], True, 1),
        (["error"], False, 1),
        (["unknown", "warning"], False, 3),
        (["error", "unknown"], False, 1),
    ],
)
def test_exit_statuses_of_findings(statuses, strict, expected) -> None:
    assert exit_status(report(*map(finding, statuses)), strict=strict) == expected


def test_exit_statuses_of_a_fix() -> None:
    waiting = waiting_for_restart()
    assert exit_status(waiting) == 5
    assert exit_status(waiting, fix_failed=True) == 4


def test_json_is_the_report_and_validates_against_the_shipped_schema(machine) -> None:
    shown = report(*diagnose(machine(), [LONG_PATHS, TEMP_DIR]).findings, finding(summary=NASTY[:-14]))
    text = to_json(shown)
    assert text.isascii()
    jsonschema.validate(json.loads(text), SCHEMA)
    assert Report.model_validate_json(text) == shown


def test_the_schema_rejects_an_invalid_report(machine) -> None:
    written = json.loads(to_json(report(*diagnose(machine(), [LONG_PATHS]).findings)))
    for damage in (
        lambda r: r.pop("summary"),
        lambda r: r["findings"][0].update(status="broken"),
        lambda r: r["findings"][0].pop("hint"),
        lambda r: r["findings"][0]["fix"]["actions"][0].update(kind="format-disk"),
    ):
        damaged = json.loads(json.dumps(written))
        damage(damaged)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(damaged, SCHEMA)


def test_the_shipped_schemas_are_current() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import make_schemas
    finally:
        sys.path.pop(0)
    for name, model in make_schemas.SCHEMAS.items():
        assert make_schemas.path(name).read_text(encoding="utf-8") == make_schemas.text(model), (
            "run python scripts/regenerate.py"
        )


def test_the_summary_counts_findings() -> None:
    summary = report(finding("ok"), finding("ok"), finding("unknown")).summary
    assert (summary.ok, summary.unknown, summary.error) == (2, 1, 0)


def test_findings_are_sorted_by_group_and_severity() -> None:
    findings = [
        finding("ok", "x"),
        finding("ok", "gpu"),
        finding("ok", "temp-dir"),
        finding("error", "long-paths"),
    ]
    lines = printed(report(*findings), verbose=True).splitlines()
    heads = [line.split()[1] for line in lines if line.startswith(("✗", "✓"))]
    assert heads == ["long-paths", "temp-dir", "gpu", "x"]
    assert [line for line in lines if line in ("System", "GPU", "Packages")] == ["System", "GPU", "Packages"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp437", "cp1251", "ascii"])
def test_text_from_the_machine_is_printed_literally_in_any_encoding(encoding) -> None:
    evidence = Evidence(source="environment", name="TEMP", value=NASTY)
    nasty = finding(summary=NASTY, measured=NASTY, hint=NASTY, evidence=(evidence,))
    text = printed(report(nasty), encoding, verbose=True)
    assert "C:\\data\\[toolchain] [bold]Zo" in text  # markup is not markup
    assert "\x1b" not in text
    assert "\\nsecond line" in text  # one finding stays on one line
    assert ("✗" in text) == (encoding == "utf-8")


def test_the_ascii_report_contains_only_ascii() -> None:
    assert printed(report(finding(summary=NASTY)), ascii_only=True, verbose=True).isascii()


def test_a_long_line_is_not_wrapped() -> None:
    summary = "word " * 100 + "end"
    assert summary in printed(report(finding(summary=summary)))


def test_verbose_shows_evidence(machine) -> None:
    seen = finding(evidence=(Evidence(source="registry", name="HKLM\\Key", value=None),), measured="nothing")
    assert "HKLM" not in printed(report(seen))
    assert "registry HKLM\\Key: absent" in printed(report(seen), verbose=True)


def test_the_command_of_a_fix_is_shown(machine) -> None:
    text = printed(report(*diagnose(machine(), [LONG_PATHS]).findings))
    assert "Do it: aios doctor fix long-paths" in text
    assert text.splitlines()[-1] == "Next: aios doctor fix"


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (report(finding("ok")), "To run all: aios doctor"),
        (report(finding("error", hint="install it")), "follow the steps above"),
        (report(finding("unknown")), "see the evidence: aios doctor -v"),
        (waiting_for_restart(), "restart"),
    ],
)
def test_the_last_line_says_what_to_do_next(shown, says) -> None:
    assert says in str(next_step(shown))


def test_markdown_escapes_text_from_the_machine() -> None:
    text = to_markdown(
        report(finding(summary="C:\\a\\[b] | <script> *x* _y_", hint="mend it"), finding("ok"))
    )
    assert "| x | error | C:\\\\a\\\\\\[b\\] \\| \\<script\\> \\*x\\* \\_y\\_ |" in text
    assert "## x" in text and text.count("## ") == 1
    assert "to do: mend it" in text
