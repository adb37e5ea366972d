"""A recording answers like the recorded machine, and contains no personal data."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doctor.host import Absent, Completed, Distribution, Found, Host, Identity, NvidiaDriver, RegistryValue
from doctor.host.live import live_host
from doctor.host.machine import NotSeen, RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\:"), min_size=1, max_size=30)
paths = names.map(lambda name: f"C:\\data\\{name}")


def entries(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The possible entries: a value, absent or unreadable."""
    return st.one_of(values, st.none(), st.builds(NotSeen, unreadable=text))


registry_values = st.one_of(
    st.builds(RegistryValue, type=st.sampled_from(["REG_SZ", "REG_EXPAND_SZ"]), value=text),
    st.builds(RegistryValue, type=st.just("REG_DWORD"), value=st.integers(0, 2**32 - 1)),
    st.builds(RegistryValue, type=st.just("REG_MULTI_SZ"), value=st.lists(text, max_size=3).map(tuple)),
    st.builds(RegistryValue, type=st.just("REG_BINARY"), value=st.binary(max_size=8).map(bytes.hex)),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recording_answers_like_its_machine(windows_identity: Identity, data: st.DataObject) -> None:
    """The machine has no personal data, so nothing is redacted and the answers can be compared."""
    places = ("executable", "prefix", "base_prefix", "site_packages", "home")
    impersonal = dict.fromkeys(places, "C:\\") | {"user": "", "host_name": ""}
    identity = windows_identity.model_copy(update=impersonal)
    key, name, path = "HKCU\\Key", data.draw(names), data.draw(paths)
    machine = RecordedMachine(
        identity=identity,
        environment={"NAME": data.draw(text)},
        registry={key: {"Value": data.draw(entries(registry_values))}},
        registry_subkeys={key: data.draw(entries(st.lists(text, max_size=3).map(tuple)))},
        directories={"C:\\data": data.draw(entries(st.just((path.rpartition("\\")[2],))))},
        programs={name: data.draw(entries(paths))},
        runs={
            "tool --version": data.draw(entries(st.builds(Completed, exit_code=st.integers(0), stdout=text)))
        },
        distributions={
            "torch": data.draw(entries(st.builds(Distribution, name=text, version=text, location=paths)))
        },
        nvml=data.draw(entries(st.just(NvidiaDriver(driver_version="1", cuda_version=(13, 0), gpus=())))),
        git_settings={"core.longpaths": data.draw(entries(text))},
    )
    host = RecordedHost(machine)
    host.write_file(path, data.draw(st.binary(max_size=30)))

    def ask(host: Host | Recorder) -> list[Any]:
        return [
            host.identity,
            host.variable("NAME"),
            host.variable("MISSING"),
            host.registry_value(key, "Value"),
            host.registry_value(key, "Missing"),
            host.registry_subkeys(key),
            host.read_file(path),
            host.list_directory("C:\\data"),
            host.find_program(name),
            host.run(["tool", "--version"], 1),
            host.distribution("torch"),
            host.nvml(),
            host.git_setting("core.longpaths"),
        ]

    recorder = Recorder(host)
    answers = ask(recorder)
    assert answers == ask(host)
    recording = recorder.machine()
    replayed = RecordedHost(RecordedMachine.model_validate_json(recording.to_json()))
    assert ask(replayed) == answers


def test_this_machine_can_be_recorded_and_asked_again(tmp_path: Path) -> None:
    recorder = Recorder(live_host())
    ask = [sys.executable, "-c", "print('hello')"]
    live = (recorder.run(ask, 30), recorder.nvml(), recorder.distribution("pydantic"))
    recorder.list_directory(recorder.identity.home)
    host = RecordedHost(RecordedMachine.model_validate_json(recorder.machine().to_json()))
    assert host.run([host.identity.executable, "-c", "print('hello')"], 30) == live[0]
    assert host.nvml() == live[1]
    assert isinstance(host.distribution("pydantic"), Found)
    assert isinstance(host.list_directory(host.identity.home), Found)


def test_a_later_change_of_the_machine_is_not_recorded(windows: RecordedMachine) -> None:
    host = RecordedHost(windows)
    recorder = Recorder(host)
    assert recorder.git_setting("core.longpaths") == Absent()
    host.set_git_setting("core.longpaths", "true")
    assert host.git_setting("core.longpaths") == Found("true")
    assert recorder.machine().git_settings == {"core.longpaths": None}


def test_git_settings_of_the_system_are_recorded_separately(windows: RecordedMachine) -> None:
    host = RecordedHost(windows.model_copy(update={"git_system_settings": {"core.longpaths": "true"}}))
    recorder = Recorder(host)
    assert recorder.git_setting("core.longpaths") == Found("true")
    machine = recorder.machine()
    assert machine.git_settings == {"core.longpaths": None}
    assert machine.git_system_settings == {"core.longpaths": "true"}


CANARIES = {
    "user": "canary",
    "host": "canary-box",
    "token": "hf_CanaryTokenValue",
    "short": "cnry1",
    "url": "CanaryPassword",
    "query": "CanarySignature",
    "other user": "Kanarienvogel",
}


def test_no_canary_is_in_a_recording(linux_identity: Identity) -> None:
    home = linux_identity.home
    machine = RecordedMachine.model_validate(
        {
            "identity": linux_identity,
            "environment": {
                "HOME": home,
                "USER": "canary",
                "HOSTNAME": "canary-box",
                "PATH": f"{home}/bin:/usr/bin:/mnt/c/Users/Kanarienvogel/AppData/bin",
                "HF_TOKEN": CANARIES["token"],
                "MY_PASSWORD": CANARIES["short"],
                "PIP_INDEX_URL": "https://me:CanaryPassword@example.org/simple",
            },
            "files": {f"{home}/.config/pip.conf": {"text": f"cache={home}/c\ntoken={CANARIES['token']}\n"}},
            "directories": {
                "/home": ["canary", "Kanarienvogel"],
                f"{home}/x": {"unreadable": f"{home}/x: no"},
            },
            "programs": {"nvcc": f"{home}/cuda/bin/nvcc"},
            "runs": {f"tool {home}/a": {"exit_code": 1, "stderr": f'in "{home}": {CANARIES["token"]}'}},
            "distributions": {
                "flash-attn": {
                    "name": "flash-attn",
                    "version": "2.8.3",
                    "location": f"{home}/venv",
                    "direct_url": "https://u:CanaryPassword@example.org/flash.whl?sig=CanarySignature#x",
                },
                "aios": {
                    "name": "aios",
                    "version": "1",
                    "location": "/x",
                    "direct_url": f"file://{home}/aios",
                },
            },
            "git_settings": {
                "http.proxyAuthMethod": "CanaryPassword",
                "core.excludesfile": f"{home}/.ignore",
            },
        }
    )
    recorder = Recorder(RecordedHost(machine))
    for name in machine.environment:
        recorder.variable(name)
    for path in machine.files:
        recorder.read_file(path)
    for path in machine.directories:
        recorder.list_directory(path)
    recorder.find_program("nvcc")
    recorder.run(["tool", f"{home}/a"], 1)
    for name in machine.distributions:
        recorder.distribution(name)
    for name in machine.git_settings:
        recorder.git_setting(name)

    recording = recorder.machine()
    told = recording.to_json().lower()
    for kind, canary in CANARIES.items():
        assert canary.lower() not in told, kind

    replayed = RecordedHost(recording)
    hidden = replayed.identity.home
    assert len(hidden) == len(home) and replayed.variable("HOME") == hidden
    assert isinstance(replayed.read_file(f"{hidden}/.config/pip.conf"), Found)
    assert replayed.find_program("nvcc") == Found(f"{hidden}/cuda/bin/nvcc")
    assert isinstance(replayed.run(["tool", f"{hidden}/a"], 1), Found)
    assert recording.distributions["flash-attn"].direct_url == "https://example.org/flash.whl"  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ["\ud800", "a\udcff/b"])
def test_text_that_is_not_unicode_can_be_recorded(windows: RecordedMachine, value: str) -> None:
    host = RecordedHost(windows)
    host.set_variable("ODD", value)
    recorder = Recorder(host)
    recorder.variable("ODD")
    assert recorder.machine().to_json().encode()


def test_probes_that_ask_at_once_lost_each_other_s_answers(windows: RecordedMachine) -> None:
    """A recording made while a probe was still running after its time limit failed, because the entries changed."""
    memory = {
        "total_bytes": 4,
        "available_bytes": 3,
        "commit_limit_bytes": 2,
        "commit_available_bytes": 1,
    }
    more = {"memory": memory, "boot_time": 1.0, "nvml": None, "distributions_complete": True}
    machine = RecordedMachine.model_validate({**windows.model_dump(), **more})
    names = [f"NAME_{number}" for number in range(200)]
    machine.environment.update(dict.fromkeys(names, "value"))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            recorder = Recorder(RecordedHost(machine))
            questions = (
                recorder.memory,
                recorder.boot_time,
                recorder.nvml,
                recorder.distributions,
                lambda recorder=recorder: [recorder.variable(name) for name in names],
                lambda recorder=recorder: [recorder.find_program(name) for name in names],
                lambda recorder=recorder: [recorder.run(["git", "--version"], 1) for _ in names],
            )
            with ThreadPoolExecutor(len(questions)) as pool:
                asked = [pool.submit(question) for question in questions]
                while not all(answer.done() for answer in asked):
                    recorder.machine()
                for answer in asked:
                    answer.result()
            told = recorder.machine()
            assert (told.memory, told.boot_time, told.nvml) == (machine.memory, 1.0, None)
            assert told.distributions_complete and len(told.environment) == len(names)
    finally:
        sys.setswitchinterval(interval)
