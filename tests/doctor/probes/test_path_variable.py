"""PATH without duplicates finds the same programs; other settings can be read with any content."""

from __future__ import annotations

import ntpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.checks.system import path_variable
from doctor.checks.system.path_variable import repeated
from doctor.host import Found, RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.probes.memory import PageFile, parse_page_files
from doctor.probes.path_variable import SEARCH_PATH, split_path
from tests.doctor.checks.cases import cases_of

BASE = cases_of(path_variable.CHECK)[0].machine
FOLDERS = [
    r"C:\Tools",
    "c:\\tools\\",
    "C:/TOOLS",
    r"%Where%\Tools",
    '"C:\\a;b"',
    r"C:\a;b",
    "",
    " ",
    r"\\server\share",
    "C:\\",
]
PARTS = st.lists(st.sampled_from(FOLDERS), max_size=12).map(";".join)


def machine(system: str, user: str, kind: str = "REG_EXPAND_SZ") -> RecordedHost:
    patched = BASE.model_dump()
    patched["environment"] = {"Where": "C:", "PATH": f"{system};{user}"}
    patched["registry"][SYSTEM_ENVIRONMENT]["Path"] = {"type": "REG_EXPAND_SZ", "value": system}
    patched["registry"][USER_ENVIRONMENT]["Path"] = {"type": kind, "value": user}
    return RecordedHost(RecordedMachine.model_validate(patched))


def looked_through(system: str, user: str) -> list[str]:
    """The folders Windows searches for a program, in order, without duplicates."""
    folders = [
        ntpath.normcase(ntpath.normpath(folder.replace('"', "").replace("%Where%", "C:")))
        for part in (system, user)
        for folder in split_path(part)
        if folder.strip()
    ]
    return list(dict.fromkeys(folders))


@given(PARTS, PARTS)
def test_removing_duplicates_finds_the_same_programs(system: str, user: str) -> None:
    host = machine(system, user)
    facts = SEARCH_PATH.collect(host)
    finding = path_variable.CHECK.judge(facts)
    if finding.fix is None or not finding.fix.actions:
        return
    (action,) = finding.fix.actions
    action.apply(host)
    after = host.machine.registry[USER_ENVIRONMENT]["Path"]
    assert isinstance(after, RegistryValue)
    assert after.type == "REG_EXPAND_SZ"
    assert looked_through(system, str(after.value)) == looked_through(system, user)
    assert len(str(after.value)) < len(user)
    left = SEARCH_PATH.collect(host)
    assert isinstance(left.user, Found)
    assert isinstance(left.system, Found)
    assert repeated(left.system.value.entries, left.user.value.entries) == ()


@given(st.text('ab;" %', max_size=60))
def test_joining_the_split_parts_restores_the_text(text: str) -> None:
    parts = split_path(text)
    assert ";".join(parts) == text
    assert all(part.count('"') % 2 == 0 for part in parts[:-1]), "nothing is cut between quotes"


@given(st.lists(st.text(max_size=50), max_size=4))
def test_any_text_of_page_files_is_read(lines: list[str]) -> None:
    parse_page_files(tuple(lines))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("?:\\pagefile.sys", PageFile("?:\\pagefile.sys", None)),
        ("C:\\pagefile.sys", PageFile("C:\\pagefile.sys", None)),
        ("c:\\pagefile.sys 0 0", PageFile("c:\\pagefile.sys", None)),
        ("C:\\pagefile.sys 1024 4096", PageFile("C:\\pagefile.sys", 4096 * 2**20)),
        ("D:\\page file.sys 800 800 ", PageFile("D:\\page file.sys", 800 * 2**20)),
    ],
)
def test_page_files_are_read_as_windows_writes_them(line: str, expected: PageFile) -> None:
    assert parse_page_files((line,)) == Found((expected,))
