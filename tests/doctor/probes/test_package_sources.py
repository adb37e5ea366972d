"""Package sources: the files of pip and uv are parsed as they parse them, and passwords are not reported."""

from __future__ import annotations

import configparser
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.checks import CHECKS
from doctor.checks.system.package_index import TAG, shown
from doctor.diagnosis import diagnose
from doctor.host.recorded import RecordedHost
from doctor.probes.network import origin
from doctor.probes.package_index import parse_addresses, parse_default_index, parse_pip_file
from tests.doctor.checks.cases import Case, cases_of

SOURCES = [check for check in CHECKS if check.id in ("package-index", "network", "pip-cache")]


@pytest.mark.parametrize("case", [case for check in SOURCES for case in cases_of(check)], ids=str)
def test_no_password_is_in_a_finding(case: Case) -> None:
    for finding in diagnose(RecordedHost(case.machine), [case.check]).findings:
        assert "canary" not in finding.model_dump_json()


def test_some_of_these_machines_have_a_password() -> None:
    texts = [case.machine.model_dump_json() for check in SOURCES for case in cases_of(check)]
    assert sum("canary" in text for text in texts) >= 3


def test_pip_files_are_read_as_pip_reads_them() -> None:
    text = "[global]\nindex_url = https://a/simple\n[install]\nextra-index-url =\n    https://b/whl/cu130\n    https://c/simple\n"
    settings = parse_pip_file(b"\xef\xbb\xbf" + text.encode())
    assert settings["global.index-url"] == "https://a/simple"
    assert settings["install.extra-index-url"].split() == ["https://b/whl/cu130", "https://c/simple"]


@given(st.binary())
def test_files_that_pip_rejects_are_rejected(content: bytes) -> None:
    with suppress(configparser.Error):
        assert isinstance(parse_pip_file(content), dict)


def test_the_index_of_the_installed_pip_is_found_in_its_source() -> None:
    pip = pytest.importorskip("pip")
    source = Path(pip.__file__).parent / "_internal" / "models" / "index.py"
    from pip._internal.models.index import PyPI

    assert parse_default_index(source.read_text(encoding="utf-8")) == PyPI.url


def test_uv_files() -> None:
    text = "[[index]]\nname = 'pytorch'\nurl = 'https://x.example.org/whl/cu130'\n[pip]\nextra-index-url = [\"https://y/simple\"]\n"
    assert parse_addresses(text) == ("https://x.example.org/whl/cu130", "https://y/simple")


@pytest.mark.parametrize(
    ("url", "tag"),
    [
        ("https://download.pytorch.org/whl/cu130", "cu130"),
        ("https://download.pytorch.org/whl/nightly/cu132/", "cu132"),
        ("https://mirror.example.org/pytorch/whl/cpu", "cpu"),
        ("https://download.pytorch.org/whl/cpu-cxx11-abi", "cpu"),
        ("https://download.pytorch.org/whl/torch_stable.html", None),
        ("https://download.pytorch.org/whl/cu1301", None),
        ("https://packages.example.org/simple", None),
    ],
)
def test_cuda_tags_of_indexes(url: str, tag: str | None) -> None:
    match = TAG.search(url)
    assert (match and match.group(1)) == tag


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://user:pw@host.example.org:8443/simple", "https://host.example.org:8443"),
        ("https://host.example.org", "https://host.example.org"),
        ("http://host.example.org/simple", None),  # no TLS to look at
        ("file:///srv/wheels", None),
        ("https://[broken", None),
        ("", None),
    ],
)
def test_origins(url: str, place: str | None) -> None:
    assert origin(url) == place


@given(st.text())
def test_any_address_can_be_shown(url: str) -> None:
    assert json.dumps([shown(url), origin(url)])
