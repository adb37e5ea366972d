"""The console report: complete expected texts at two widths, and rules for every line."""

from __future__ import annotations

import io
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from doctor.check import Group
from doctor.checks import CHECKS
from doctor.models import Finding, Fix, Report
from doctor.report.console import Printer
from doctor.report.findings import MANY, print_report
from doctor.report.markdown import to_markdown
from doctor.report.wording import advice, next_step
from doctor.report.wrapping import pieces, wrapped
from doctor.runs.make_report import make_report, report_after_fix
from tests.doctor.fake_machine import enable_long_paths, identity

GOLDEN = Path(__file__).parent / "golden"
AT = datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc)
PYTHON = '"C:\\Program Files\\Python 3.12\\python.exe"'
INSTALL = ("python -m pip install uv", f"python -m uv pip install --python {PYTHON} torch==2.13.0")
TOOLKIT = "C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA\\v13.0\\bin\\nvcc.exe"
HEALTHY: dict[Group, tuple[str, ...]] = {
    "system": ("windows-version", "python-version", "python-architecture", "git-long-paths", "disk-space"),
    "gpu": ("nvidia-driver", "gpu", "compute-capability", "driver-supports-cuda"),
    "build-tools": ("msvc", "windows-sdk", "ninja", "cuda-home"),
    "backends": ("backend-sdpa", "backend-manual"),
}


def finding(check: str, status: str, summary: str = "as it should be", **more: Any) -> Finding:
    return Finding.model_validate({"check": check, "status": status, "summary": summary, **more})


def by_hand(*commands: str) -> Fix:
    return Fix(id="by-hand", applicability="manual", commands=commands)


ENABLE = Fix(
    id="enable-long-paths",
    applicability="safe",
    elevated=True,
    commands=("reg add HKLM\\X /v Y",),
    actions=(enable_long_paths(),),
)
OPEN = {
    "git-config": finding("git-config", "warning", "git is slow here", hint="Tell it to be quick."),
    "cuda-toolkit": finding(
        "cuda-toolkit", "unknown", f"Could not check {TOOLKIT}: access denied", hint="Look yourself."
    ),
    "long-paths": finding(
        "long-paths",
        "error",
        "Windows refuses paths longer than 259 characters",
        hint="Let the doctor switch long paths on (it asks for administrator rights), then open a new terminal.",
        fix=ENABLE,
        measured="absent",
        evidence=({"source": "registry", "name": "HKLM\\X\\LongPathsEnabled", "value": None},),
    ),
    "torch": finding(
        "torch",
        "error",
        "torch 2.13.0 for the CPU: the NVIDIA GPU stays unused",
        hint=f"Install the build that fits this machine: {'; then '.join(INSTALL)}",
        fix=by_hand(*INSTALL),
    ),
    "torch-home": finding(
        "torch-home", "error", "[bold]Zoë[/bold] 日本 has no home", links=("https://example.org/x",)
    ),
    "flash-attn": finding("flash-attn", "skipped", "Because of torch: ...", because_of="torch"),
    "xformers": finding("xformers", "skipped", "Because of torch: ...", because_of="torch"),
    "wsl": finding("wsl", "skipped", "Does not apply: for Linux only"),
    "cache": finding("cache", "info", f"The cache is below {TOOLKIT}, which is an odd place for it to be"),
}
GROUPS: dict[str, Group] = {
    **{check: group for group, checks in HEALTHY.items() for check in checks},
    **dict.fromkeys(OPEN, "packages"),
    "git-config": "system",
    "long-paths": "system",
    "wsl": "system",
    "cuda-toolkit": "build-tools",
}


def report(*findings: Finding) -> Report:
    return make_report(identity(), findings, started_at=AT, duration_seconds=1.5, recorded=False)


def healthy() -> list[Finding]:
    return [finding(check, "ok") for checks in HEALTHY.values() for check in checks]


def printed(shown: Report, width: int | None, ascii_only: bool = False, verbose: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
    print_report(shown, GROUPS, Printer(stream, ascii_only, width), verbose)
    stream.flush()
    return raw.getvalue().decode("utf-8")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("form", ["", "ascii", "verbose"])
def test_the_complete_report(width: int, form: str) -> None:
    """After an intended change, check the new text and write it to the file."""
    shown = printed(report(*OPEN.values(), *healthy()), width, form == "ascii", form == "verbose")
    file = GOLDEN / f"{'-'.join(filter(None, (str(width), form)))}.txt"
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
def test_only_a_command_may_be_longer_than_the_terminal_is_wide(width: int) -> None:
    for line in printed(report(*OPEN.values(), *healthy()), width).splitlines():
        assert cell_len(line) < width or line.strip() in INSTALL


def test_a_pipe_gets_each_finding_on_one_line() -> None:
    lines = printed(report(*OPEN.values(), *healthy()), None).splitlines()
    assert any(line.endswith(OPEN["cuda-toolkit"].summary) for line in lines)
    assert any(str(advice(OPEN["long-paths"])) in line for line in lines)


def test_many_healthy_checks_are_counted_and_few_are_listed_in_full() -> None:
    many = healthy()
    assert len(many) > MANY
    text = printed(report(*many), None)
    for group, checks in HEALTHY.items():
        assert (f"{len(checks)} checks" in text) == (group != "backends")
    assert text.count("as it should be") == len(HEALTHY["backends"])
    assert printed(report(*many[:MANY]), None).count("as it should be") == MANY


def test_consequences_are_counted_after_their_cause() -> None:
    lines = printed(report(*OPEN.values()), None).splitlines()
    (cause,) = (number for number, line in enumerate(lines) if line.startswith("✗ torch "))
    waiting = next(line for line in lines[cause:] if "because of it" in line)
    assert waiting.strip() == "2 checks were skipped because of it: flash-attn, xformers"
    assert "3 errors, 1 unknown, 1 warning, 1 info, 3 skipped" in lines, (
        "with few checks, every reason is shown"
    )


def test_the_reason_of_a_skipped_check_is_shown_without_v() -> None:
    skipped = finding("long-paths", "skipped", summary="Does not apply: there is no NVIDIA GPU")
    assert "- long-paths  Does not apply: there is no NVIDIA GPU" in printed(report(skipped), None).replace(
        "·", "-"
    )
    assert "Does not apply" not in printed(report(skipped, *healthy()), None)


def test_reminders_of_earlier_runs_come_first() -> None:
    reminded = report(*healthy()).model_copy(update={"reminders": ("x: a restart is still due",)})
    assert printed(reminded, None).splitlines()[1] == "! x: a restart is still due"


EVERY_CHECK = [finding(check.id, "ok") for check in CHECKS]
UNSAFE = ENABLE.model_copy(update={"applicability": "unsafe"})


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([OPEN["long-paths"], OPEN["torch"]], "Next: aios doctor fix"),
        ([OPEN["long-paths"].model_copy(update={"fix": UNSAFE})], "Next: aios doctor fix long-paths"),
        ([OPEN["torch"]], "Next: follow the steps above, then run: aios doctor"),
        ([finding("x", "unknown")], "Next: see the evidence: aios doctor -v"),
        (
            [finding("x", "info"), finding("y", "ok")],
            "These checks found nothing to fix; the others were not run. To run all: aios doctor",
        ),
        (
            [finding("x", "warning", hint="Change it.")],
            "These checks found no errors; the others were not run. To run all: aios doctor",
        ),
        (
            [finding("torch", "error", fix=by_hand("aios install torch"))],
            "Next: aios install torch; then aios doctor",
        ),
        (EVERY_CHECK, "Nothing to fix. Next: aios train --help"),
        (
            [*EVERY_CHECK[:-1], finding(EVERY_CHECK[-1].check, "warning")],
            "No errors. Next: aios train --help",
        ),
    ],
)
def test_the_last_line_is_what_to_do_next(findings: list[Finding], says: str) -> None:
    assert printed(report(*findings), 120).splitlines()[-1] == says
    assert str(next_step(report(*findings))) == says


def test_the_fix_of_a_recorded_machine_is_run_on_that_machine() -> None:
    there = make_report(identity(), [OPEN["long-paths"]], started_at=AT, duration_seconds=0, recorded=True)
    assert str(next_step(there)) == "Next, on that machine: aios doctor fix"


def test_without_torch_the_next_step_is_its_installation() -> None:
    """The doctor alone is installed, and no check has an error: training would have no torch."""
    healthy = report(*EVERY_CHECK)
    without = healthy.model_copy(update={"machine": healthy.machine.model_copy(update={"torch": ""})})
    assert str(next_step(without)) == "Next: aios install"


@pytest.mark.parametrize(
    ("known", "lines"),
    [
        ({}, ["Windows 11 (build 22631), AMD64, Python 3.12.4, administrator"]),
        (
            {
                "gpus": ("NVIDIA GeForce RTX 3060, 12 GiB",),
                "driver": "580.95",
                "driver_cuda": "13.0",
                "torch": "2.13.0+cu130",
            },
            [
                "Windows 11 (build 22631), AMD64, Python 3.12.4, administrator",
                "NVIDIA GeForce RTX 3060, 12 GiB, driver 580.95 (CUDA 13.0), torch 2.13.0+cu130",
            ],
        ),
        (
            {"os": "linux", "os_build": "6.8.0", "gpus": ("NVIDIA H100, 80 GiB",) * 2, "torch": ""},
            [
                "Linux 6.8.0, AMD64, Python 3.12.4, root",
                "2 x NVIDIA H100, 80 GiB, torch not installed",
            ],
        ),
        (
            {"os_build": "10.0.19045", "gpus": (), "elevated": False},
            ["Windows 10 (build 19045), AMD64, Python 3.12.4", "no NVIDIA GPU"],
        ),
    ],
)
def test_the_head_shows_what_a_screenshot_must_show(known: dict[str, Any], lines: list[str]) -> None:
    plain = report()
    shown = plain.model_copy(update={"machine": plain.machine.model_copy(update=known)})
    assert printed(shown, 120).splitlines()[: len(lines)] == lines
    assert all(line in to_markdown(shown).replace("\\", "") for line in lines)


def test_a_pending_restart_comes_before_all_other_steps() -> None:
    waiting = report_after_fix(report(finding("x", "ok")), [OPEN["long-paths"]], pending_restart=True)
    assert printed(waiting, None).splitlines()[-1].startswith("Next: restart this computer")


@pytest.mark.parametrize(
    ("hint", "commands", "says"),
    [
        ("Do it: a b", ["a b"], "Do it: a b"),
        ("Do it: a b; then c d", ["a b", "c d"], "Do it: a b; then c d"),
        ("Do it: a b. Then rest.", ["a b"], "Do it: a b. Then rest."),
        ("Do it.", ["a b"], "Do it: a b"),
        ("", ["a b"], "a b"),
        ("Do it.", [], "Do it."),
    ],
)
def test_commands_in_a_hint_are_not_repeated(hint, commands, says) -> None:
    shown = advice(finding("x", "error", hint=hint, fix=by_hand(*commands) if commands else None))
    assert str(shown) == says


@pytest.mark.parametrize(
    "whole",
    [
        TOOLKIT,
        "C:\\Users\\Zoë B\\AppData\\Local\\Temp",
        f"({TOOLKIT})",
        f"{TOOLKIT}:",
        PYTHON,
        "`pip install flash-attn`",
        "/home/user/.venv/bin/python",
        "HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem",
    ],
)
def test_paths_and_quotations_are_not_broken(whole: str) -> None:
    assert whole in pieces(f"Looked at {whole} and not at D:\\x: it is gone")


def test_words_after_a_path_are_not_part_of_it() -> None:
    assert pieces("C:\\Temp is not there; use D:\\Temp") == [
        "C:\\Temp",
        "is",
        "not",
        "there;",
        "use",
        "D:\\Temp",
    ]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200), st.integers(5, 60))
def test_wrapping_loses_no_text_and_keeps_the_width(text: str, width: int) -> None:
    parts = pieces(text)
    lines = wrapped(parts, width, width)
    assert "".join(" ".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert cell_len(line) <= width or line in parts


def test_a_list_is_cut_only_on_a_terminal() -> None:
    for width, ending in ((40, "…\n"), (None, "end\n")):
        stream = io.StringIO()
        Printer(stream, width=width).cut_line(["  name  "], "word " * 20 + "end")
        assert stream.getvalue().endswith(ending)
        assert width is None or cell_len(stream.getvalue().rstrip()) < width


def in_colour(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **variables}.items():
        monkeypatch.setenv(name, value)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    print_report(report(*OPEN.values(), *healthy()), GROUPS, Printer(stream, width=80))
    return stream.getvalue()


def test_colours_enclose_texts_not_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    text = in_colour(monkeypatch)
    assert "\x1b[1;31mWindows refuses paths longer than 259 characters\x1b[0m" in text
    assert "\x1b[36maios doctor fix long-paths\x1b[0m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert plain == printed(report(*OPEN.values(), *healthy()), 80)


def test_no_color_turns_colours_off(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", in_colour(monkeypatch, NO_COLOR="1")))
    assert codes <= {"0", "1", "2"}, "bold and dim are not colours"
