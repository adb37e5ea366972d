"""Names are replaced consistently with words of the same shape; secrets are masked completely."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("https://me:pw@example.org/simple", "https://example.org/simple"),
        (
            "https://me:p@w@example.org/a?x=1&api_token=s&y=2",
            "https://example.org/a?x=1&api_token=<secret>&y=2",
        ),
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
        redactor.url("https://u:p@example.org/a%20b/x.whl?sig=1#sha256=2")
        == "https://example.org/a%20b/x.whl"
    )


def test_a_redactor_has_the_names_and_secrets_of_its_machine(linux_identity: Identity) -> None:
    environment = {"HF_TOKEN": "hf_abcdefgh", "API_KEY": "abc", "PATH": "/usr/bin"}
    redactor = Redactor.of(RecordedHost(RecordedMachine(identity=linux_identity, environment=environment)))
    told = redactor.text("/home/canary/x on //canary-box/y: hf_abcdefgh, abc")
    assert told == "/home/userus/x on //hostho-sth/y: <secret>, abc"
