"""Canaries, as personal data, are in every field of a machine, and none of them is in the recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from doctor.host import Absent, Found
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder
from doctor.host.redacted_machine import redacted
from doctor.host.redaction import Redactor

CANARIES = {
    "user": "Zoë Canary",
    "user in an address": "Zo%C3%AB",
    "user, short": "ZOËCAN",
    "host": "NESTBOX",
    "other user": "Kanarienvogel",
    "other user with a space": "Ola Makolągwa",
    "file server": "voliera-fs01",
    "organization": "Finch & Sons",
    "token": "hf_CanaryTokenValue",
    "short secret": "cnry1",
    "password": "CanaryPass",
    "rest of a password with an at sign": "word!",
    "signature": "CanarySignature",
    "token in the path of an index": "tok3nInPath",
    "token in the path of an extra index": "tok3nOfExtra",
    "host of an index": "pypi.aviary",
    "trusted host": "trusted.aviary",
    "trusted host in a variable": "coop.aviary",
    "insecure host of uv": "uv.aviary",
    "host of a proxy": "proxy.aviary",
    "host of a proxy without a scheme": "bare-proxy",
    "domain without a proxy": "no-proxy.aviary",
    "endpoint of Hugging Face": "hf.aviary",
    "token in the path of the endpoint": "tok3nOfEndpoint",
    "token of conda": "ca-1234-nary",
    "git server": "git.aviary",
    "team on a git server": "team-wren",
    "git server over ssh": "ssh.aviary",
    "index of uv": "uvindex.aviary",
    "index that pip printed": "printed.aviary",
    "token in a fragment": "fragm3nt",
    "token under another name": "0therName",
    "channel of conda": "channel.aviary",
    "address of a server": "tls.aviary",
}
HOME = r"C:\Users\Zoë Canary"
OTHERS = r"C:\Users\Kanarienvogel\x;C:\Users\Ola Makolągwa"
SHARE = r"\\voliera-fs01\nest\Zoë Canary"
URL = "https://me:CanaryPass@word!@index.example/simple/?token=hf_CanaryTokenValue&signature=CanarySignature"
TEXT = rf'in "{HOME}\x" and {SHARE}, not C:\Users\Ola Makolągwa\y: hf_CanaryTokenValue {URL} end'
UNREADABLE = {"unreadable": TEXT}
PIP_INI = rf"""[global]
index-url = {URL}
extra-index-url = https://pypi.aviary/tok3nOfExtra/simple
trusted-host = trusted.aviary
    127.0.0.1
proxy = me:CanaryPass@word!@proxy.example:8080
cache-dir = {HOME}
[keyring]
password = cnry1
"api_key": "cnry1"
"""


def distribution(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "1", "location": rf"{HOME}\venv", **more}


MACHINE = {
    "environment": {
        "USERPROFILE": HOME,
        "USERNAME": "Zoë Canary",
        "COMPUTERNAME": "NESTBOX",
        "LOGONSERVER": r"\\NESTBOX",
        "HOMESHARE": r"\\voliera-fs01\home$",
        "TEMP": r"C:\Users\ZOËCAN~1\AppData\Local\Temp",
        "OneDriveCommercial": rf"{HOME}\OneDrive - Finch & Sons",
        "PATH": OTHERS,
        "HF_TOKEN": "hf_CanaryTokenValue",
        "MY_PASSWORD": "cnry1",
        "HTTPS_PROXY": "me:CanaryPass@word!@proxy.example:8080",
        "ALL_PROXY": "http://me:CanaryPass@word!@proxy.example:8080",
        "PIP_INDEX_URL": URL,
        "PIP_EXTRA_INDEX_URL": "https://pypi.aviary/artifactory/tok3nInPath/simple/?k=0therName#fragm3nt",
        "PIP_TRUSTED_HOST": "coop.aviary:8443 trusted.aviary",
        "UV_INSECURE_HOST": "uv.aviary",
        "UV_INDEX": "wrens=https://uvindex.aviary/tok3nInPath/simple",
        "HTTP_PROXY": "bare-proxy:3128",
        "https_proxy": "http://proxy.aviary:3128",
        "NO_PROXY": "localhost,127.0.0.1,.no-proxy.aviary,no-proxy.aviary:80",
        "HF_ENDPOINT": "https://hf.aviary/tok3nOfEndpoint",
        "CONDA_CHANNEL_ALIAS": "https://conda.anaconda.org/t/ca-1234-nary/main https://channel.aviary/tok3nInPath",
        "PIP_FIND_LINKS": "file:///C:/Users/Zo%C3%AB%20Canary/wheels",
    },
    "registry": {
        r"HKCU\Software\Settings": {
            "ProxyServer": {"type": "REG_SZ", "value": "http=me:CanaryPass@word!@p.example:80;https=q.example:80"},
            "UserFolder": {"type": "REG_EXPAND_SZ", "value": rf"{HOME}\OneDrive - Finch & Sons"},
            "Folders": {"type": "REG_MULTI_SZ", "value": [HOME, SHARE, OTHERS]},
            rf"{HOME}\program.exe": {"type": "REG_SZ", "value": "~ RUNASADMIN"},
            "Locked": UNREADABLE,
        }
    },
    "registry_subkeys": {r"HKLM\SOFTWARE\Locked": UNREADABLE, r"HKLM\SOFTWARE\Layers": [rf"{HOME}\a.exe"]},
    "files": {rf"{HOME}\pip\pip.ini": {"text": PIP_INI}, rf"{HOME}\locked": UNREADABLE},
    "directories": {r"C:\Users": ["Public", "Kanarienvogel", "Zoë Canary"], rf"{SHARE}\x": UNREADABLE},
    "libraries": {rf"{HOME}\venv": ["zo/Users/Kanarienvogel/_C.pyd"], rf"{SHARE}\venv": UNREADABLE},
    "programs": {"git": rf"{HOME}\git\git.exe", "nvcc": UNREADABLE},
    "runs": {
        rf"tool {HOME}\a": {"exit_code": 1, "stdout": TEXT, "stderr": json.dumps({"in": [HOME, SHARE]})},
        "git --version": UNREADABLE,
        "pip config list": {"exit_code": 0, "stdout": "Looking in indexes: https://printed.aviary/tok3nInPath/simple, "
            "git@ssh.aviary:team-wren/x.git git+https://git.aviary/team-wren/tok3nInPath.git@main"},
    },
    "distributions": {
        "one": distribution("one", direct_url=URL, requires=[f"two @ {URL}", rf"three @ file:///{HOME}/w"]),
        "broken": UNREADABLE,
    },
    "own_files": {
        "installed": distribution("aios-doctor", direct_url=URL),
        "recorded": 2,
        "elsewhere": {"trainer": rf"{HOME}\venv\trainer\__init__.py"},
    },
    "volumes": {
        rf"{HOME}\.cache": {
            "root": SHARE, "kind": "network", "file_system": "NTFS", "total_bytes": 2, "free_bytes": 1
        },
        rf"{SHARE}\cache": UNREADABLE,
    },
    "memory": UNREADABLE,
    "binaries": {rf"{HOME}\a.dll": {"machine": "x64", "imports": ["b.dll"]}, rf"{SHARE}\b.dll": UNREADABLE},
    "programs_using": {HOME: [{"pid": 4, "name": "python.exe"}], SHARE: UNREADABLE},
    "servers": {
        URL: {"issuer": "mkcert Zoë Canary@NESTBOX"},
        "https://tls.aviary/tok3nInPath": UNREADABLE,
    },
    "boot_time": UNREADABLE,
    "nvml": UNREADABLE,
    "git_settings": {"core.excludesfile": rf"{HOME}\ignore", "http.proxy": URL, "credential.helper": "cnry1"},
    "git_system_settings": {"core.longpaths": UNREADABLE},
}  # fmt: skip


@pytest.fixture
def machine(windows_identity: Any) -> RecordedMachine:
    places = ("executable", "prefix", "base_prefix", "site_packages")
    names = {"home": HOME, "user": "Zoë Canary", "host_name": "NESTBOX"}
    identity = windows_identity.model_copy(update={**names, **{p: rf"{HOME}\{p}" for p in places}})
    return RecordedMachine.model_validate({"identity": identity, **MACHINE})


def strings(value: Any) -> Iterator[str]:
    """Every text in it, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield name
            yield from strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from strings(entry)


def test_every_section_has_a_canary(machine: RecordedMachine) -> None:
    """A section that is added to the model has to be planted here, too."""
    untouched = {"schema_version", "identity", "distributions_complete"}
    assert set(MACHINE) == set(RecordedMachine.model_fields) - untouched


def test_no_canary_is_in_the_recording(machine: RecordedMachine) -> None:
    told = json.loads(redacted(machine, Redactor.of(RecordedHost(machine))).to_json())
    for text in strings(told):
        for kind, canary in CANARIES.items():
            assert canary.casefold() not in text.casefold(), f"{kind}: {text}"


def test_no_canary_is_in_what_the_recorder_writes(machine: RecordedMachine) -> None:
    """Through the recorder, as `aios doctor record` does."""
    host = Recorder(RecordedHost(machine))
    for path in machine.volumes:
        host.volume(path)
    for path in machine.binaries:
        host.binary(path)
    for path in machine.libraries:
        host.libraries_below(path)
    for path in machine.programs_using:
        host.programs_using(path)
    for url in machine.servers:
        host.reach(url, 1)
    host.distributions(), host.own_files(), host.memory(), host.boot_time()
    told = host.machine()
    kept = (told.volumes, told.binaries, told.libraries, told.programs_using, told.servers)
    assert [len(section) for section in kept] == [2] * len(kept)
    for text in strings(json.loads(told.to_json())):
        assert not any(canary.casefold() in text.casefold() for canary in CANARIES.values()), text


def test_entries_are_found_by_their_redacted_paths(machine: RecordedMachine) -> None:
    told = RecordedHost(redacted(machine, Redactor.of(RecordedHost(machine))))
    home = told.identity.home
    assert isinstance(told.volume(rf"{home}\.cache"), Found)
    assert isinstance(told.binary(rf"{home}\a.dll"), Found)
    assert isinstance(told.programs_using(home), Found)
    assert isinstance(told.read_file(rf"{home}\pip\pip.ini"), Found)
    assert told.volume(r"C:\elsewhere") != Absent()
