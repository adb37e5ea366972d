"""Names are replaced consistently with words of the same shape; secrets are masked completely."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.checks import CHECKS
from doctor.host import Identity
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.host.redaction import SECRET, Redactor, disguise, is_secret


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(users=("Zoë Lovelace", "zoe"), hosts=("CANARY-PC",), secrets=("s3cr3t-value",))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"C:\Users\Zoë Lovelace\venv", r"C:\Users\usü eruserus\venv"),
        (r"c:\users\ZOË LOVELACE\venv", r"c:\users\usü eruserus\venv"),
        (r"C:\Users\ZOËLOV~1\AppData\Temp", r"C:\Users\USÜERU~1\AppData\Temp"),
        (r"C:\Users\Public\x;C:\Users\Somebody Else\bin", r"C:\Users\Public\x;C:\Users\useruser user\bin"),
        (r"\\CANARY-PC\share\zoe", r"\\HOSTHO-ST\share\use"),
        ("file:///C:/Users/Zo%C3%AB%20Lovelace/x", "file:///C:/Users/us%C3%BC%20eruserus/x"),
        ("/home/zoe:/home/other/bin:/opt/zoe", "/home/use:/home/useru/bin:/opt/use"),
        ("C:\\\\Users\\\\zoe\\\\x", "C:\\\\Users\\\\use\\\\x"),  # inside JSON
        (r"C:\Temp\torchinductor_zoe\x", r"C:\Temp\torchinductor_use\x"),
        ("/scratch/pytest-of-zoe/zoe_venv", "/scratch/pytest-of-use/use_venv"),
        (r"\\files01\share\x;\\?\C:\x", r"\\useruse\share\x;\\?\C:\x"),
        ("/opt/x --zoe -zoe", "/opt/x --zoe -zoe"),  # options
        ("zoe", "zoe"),  # no path, so it may be anything
        (r"C:\zoetrope\zoe.txt", r"C:\zoetrope\use.txt"),
        ("https://me:pw@github.com/simple", "https://github.com/simple"),
        (
            "https://me:p@w@github.com/a?x=1&api_token=s&y=2",
            "https://github.com/a?x=1&api_token=<secret>&y=2",
        ),
        (
            "https://pip.corp.lan:8443/T0ken/simple?x=1#y",
            "https://hos.thos.tho:8443/<secret>/simple?<secret>",
        ),
        (
            "https://mirror.lan/whl/cu130/torch-2.13.0%2Bcu130-cp312-cp312-win_amd64.whl",
            "https://hostho.sth/whl/cu130/torch-2.13.0%2Bcu130-cp312-cp312-win_amd64.whl",
        ),
        (
            "git+ssh://git@git.lan/team/x.git and git@git.lan:team/x",
            "git+ssh://hos.tho/<secret>/<secret> and <secret>",
        ),
        ("https://conda.anaconda.org/t/ab-12/team", "https://conda.anaconda.org/t/<secret>/team"),
        ("http://127.0.0.1:8080/x http://localhost:1/y", "http://127.0.0.1:8080/x http://localhost:1/y"),
        ("key is s3cr3t-value.", "key is <secret>."),
        (r"C:\data\[toolchain]", r"C:\data\[toolchain]"),
    ],
)
def test_paths(redactor: Redactor, before: str, after: str) -> None:
    hidden = redactor.path(before)
    assert hidden.lower() == after.lower()
    assert redactor.path(hidden) == hidden


def test_a_user_called_like_a_system_folder_changes_no_system_path() -> None:
    redactor = Redactor(users=("dev",), hosts=("Temp",))
    for path in ("/dev/nvidia0", "/home/dev/x", r"C:\Temp\x"):
        assert redactor.path(path) == redactor.text(path) == path


def test_a_path_stays_as_long_as_it_was(redactor: Redactor) -> None:
    path = r"C:\Users\Zoë Lovelace\AppData\Local\Temp"
    assert len(redactor.path(path)) == len(path) and not redactor.path(path).isascii()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_disguise_keeps_length_spaces_and_non_ascii_letters(name: str) -> None:
    hidden = disguise(name, "user")
    assert len(hidden) == len(name) and hidden.isascii() == name.isascii()
    assert [c == " " for c in hidden] == [c == " " for c in name]
    assert disguise(hidden, "user") == hidden


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "wandb_api_key", "NETRC_AUTH"]
)
def test_secrets_are_known_by_name(name: str, redactor: Redactor) -> None:
    assert is_secret(name)
    assert redactor.variable(name, "x") == redactor.variable(name, "much longer") == SECRET


@pytest.mark.parametrize(
    "name", ["PATH", "TEMP", "CUDA_PATH", "PWD", "VIRTUAL_ENV", "PROCESSOR_ARCHITECTURE"]
)
def test_variables_that_the_checks_need_are_not_secrets(name: str) -> None:
    assert not is_secret(name)


def test_variables_are_redacted_by_their_type(redactor: Redactor) -> None:
    assert redactor.variable("USERNAME", "zoe") == "use"
    assert redactor.variable("COMPUTERNAME", "CANARY-PC") == "hostho-st"
    assert redactor.variable("LOGONSERVER", r"\\CANARY-PC") == r"\\hostho-st"
    assert redactor.variable("CUDA_PATH", "C:\\CUDA\\v12.8") == "C:\\CUDA\\v12.8"


def test_addresses_keep_neither_credentials_nor_signatures(redactor: Redactor) -> None:
    assert (
        redactor.url("https://u:p@github.com/a%20b/x.whl?sig=1#sha256=2") == "https://github.com/a%20b/x.whl"
    )


def test_a_redactor_has_the_names_and_secrets_of_its_machine(linux_identity: Identity) -> None:
    environment = {"HF_TOKEN": "hf_abcdefgh", "API_KEY": "abc", "PATH": "/usr/bin"}
    redactor = Redactor.of(RecordedHost(RecordedMachine(identity=linux_identity, environment=environment)))
    told = redactor.text("/home/canary/x on //canary-box/y: hf_abcdefgh, abc")
    assert told == "/home/userus/x on //hostho-sth/y: <secret>, abc"


def test_every_link_of_the_checks_is_shown(redactor: Redactor) -> None:
    sources = {inspect.getsourcefile(check.judge) or "" for check in CHECKS}
    text = "".join(Path(source).read_text(encoding="utf-8") for source in sources)
    links = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert len(links) > 30
    for link in links:
        assert redactor.text(link) == link


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [
        ("trusted-host", "pip.lan 10.0.0.1:8080", "hos.tho 10.0.0.1:8080"),
        ("HTTPS_PROXY", "me:pw@proxy.lan:8080", "hosth.ost:8080"),
        ("HTTPS_PROXY", "http://me:pw@proxy.lan:8080", "http://hosth.ost:8080"),
        ("ProxyServer", "http=a.lan:80;https=b.lan:80", "http=h.ost:80;https=h.ost:80"),
        ("NO_PROXY", "localhost,.lan,github.com", "localhost,.hos,github.com"),
        ("ProxyEnable", "1", "1"),
    ],
)
def test_settings_that_name_hosts(redactor: Redactor, name: str, value: str, after: str) -> None:
    assert redactor.variable(name, value) == after
    assert redactor.variable(name, after) == after
