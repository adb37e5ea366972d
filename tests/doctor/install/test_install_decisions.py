"""Decisions before anything is downloaded: on recorded machines, index pages and pip reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from doctor.checks.packages import flash_attn
from doctor.diagnosis import diagnose
from doctor.host import Absent, Found, Host, Unreadable
from doctor.host.machine import RecordedMachine, load_machine
from doctor.host.recorded import RecordedHost
from doctor.install.dry_run_check import additional_packages
from doctor.install.environment_facts import EnvironmentFacts, read_facts
from doctor.install.install_plan import InstallRequest, Target, plan_installation
from doctor.install.pip import Resolved, find_pip, parse_report
from doctor.install.preconditions import why_too_long, why_unsuitable
from doctor.probes.python import PythonFacts
from doctor.wheel_search.install_error import InstallError
from doctor.wheel_search.package_index import IndexFile, NotFoundError, newest_fitting, parse_listing
from wheels.catalogue import shipped_catalogue
from wheels.machine import Machine, TorchBuild
from wheels.packages import PACKAGES

MACHINES = Path(__file__).parents[2] / "machines"
LINUX = Machine(python="3.12", platform="linux_x86_64", glibc=(2, 35))


def recorded(name: str, **identity: object) -> Host:
    machine = load_machine(MACHINES / f"{name}.json")
    content = machine.model_dump()
    content["identity"] |= identity
    return RecordedHost(RecordedMachine.model_validate(content))


def python(name: str, *names: str, managed: bool = False, **identity: object) -> PythonFacts:
    """A Python outside any virtual environment, with these names in its folder."""
    host = recorded(name)
    base = {"prefix": host.identity.base_prefix, "executable": f"{host.identity.base_prefix}/python"}
    this = host.identity.model_copy(update={**base, **identity})
    return PythonFacts(this, Found(names), Found(b"") if managed else Absent())


@pytest.mark.parametrize("name", ["windows-rtx4090", "windows-cpu", "linux-h100", "linux-cpu"])
def test_the_python_of_a_healthy_machine_is_suitable(name: str) -> None:
    assert why_unsuitable(read_facts(recorded(name)).python) is None


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (python("windows-cpu", "python.exe", "conda-meta", "condabin"), "conda create -n aios"),
        (python("linux-cpu", "bin", managed=True), "PEP 668"),
        (python("linux-cpu", "bin"), "python3 -m venv ~/aios-env"),
        (python("windows-cpu", "python.exe"), "-m venv C:\\aios\\env"),
        (python("windows-cpu", python_bits=32), "64-bit CPython"),
        (python("windows-cpu", python_implementation="PyPy"), "PyPy"),
        (
            python(
                "windows-cpu",
                base_prefix="C:\\Program Files\\WindowsApps\\PythonSoftwareFoundation.Python.3.12_3.12.2032.0_x64__q",
                prefix="C:\\Program Files\\WindowsApps\\PythonSoftwareFoundation.Python.3.12_3.12.2032.0_x64__q",
            ),
            "Microsoft Store",
        ),
    ],
    ids=["conda base", "externally managed", "system", "system on Windows", "32-bit", "PyPy", "Store"],
)
def test_an_unsuitable_python_is_reported_with_what_to_do(facts: PythonFacts, said: str) -> None:
    assert said in (why_unsuitable(facts) or "")


@pytest.mark.parametrize("names", [("python.exe", "conda-meta"), ("python.exe", "python311._pth")])
def test_a_conda_environment_and_an_embeddable_python_are_suitable(names: tuple[str, ...]) -> None:
    assert why_unsuitable(python("windows-cpu", *names)) is None


def test_facts_of_the_machine() -> None:
    facts = read_facts(recorded("windows-rtx4090"))
    assert facts.machine.platform == "win_amd64"
    assert facts.machine.compute_capabilities == ((8, 9),)
    assert facts.machine.torch and facts.machine.torch.cuda_tag
    assert read_facts(recorded("linux-cpu")).machine.has_no_gpu


def kept_packages(host: Host) -> dict[str, bool]:
    """The packages that an installation of everything would keep."""
    facts, request = read_facts(host), InstallRequest(PACKAGES, None, offline=True)
    installation = plan_installation(host, facts, shipped_catalogue(), request)
    return {choice.package: choice.kept for choice in installation.resolution.choices}


def test_an_installed_package_that_fits_is_kept() -> None:
    kept = {"torch": True, "flash-attn": True, "xformers": True, "triton-windows": True}
    assert kept_packages(recorded("windows-rtx4090")) == kept


def test_a_package_that_its_own_check_finds_broken_is_not_kept() -> None:
    content = load_machine(MACHINES / "windows-rtx4090.json").model_dump()
    packages = next(folder for folder in content["directories"] if folder.endswith("site-packages"))
    names = content["directories"][packages]
    content["directories"][packages] = [name for name in names if not name.startswith("flash_attn_2_cuda")]
    host = RecordedHost(RecordedMachine.model_validate(content))
    assert read_facts(host).broken == {"flash-attn"}
    assert [package for package, kept in kept_packages(host).items() if not kept] == ["flash-attn"]


def test_a_driver_that_does_not_answer_is_an_error() -> None:
    machine = load_machine(MACHINES / "windows-rtx4090.json").model_dump()
    machine["nvml"] = {"unreadable": "it does not answer"}
    machine["programs"] |= {"nvidia-smi": None}
    machine["runs"] = dict.fromkeys(machine["runs"])
    with pytest.raises(InstallError, match="nvidia-driver"):
        read_facts(RecordedHost(RecordedMachine.model_validate(machine)))


def with_long_paths_off(site_packages: str) -> EnvironmentFacts:
    facts = read_facts(recorded("windows-rtx4090", site_packages=site_packages))
    return EnvironmentFacts(facts.machine, facts.python, facts.xformers, facts.installed, Absent())


@pytest.mark.parametrize(("letters", "fits"), [(91, True), (92, False)])
def test_the_longest_path_of_torch_must_fit_without_long_paths(letters: int, fits: bool) -> None:
    """Windows allows 259 characters; the longest path in torch 2.13.0 has 167, plus a backslash."""
    facts = with_long_paths_off("C:\\" + "x" * (letters - 3))
    trouble = why_too_long(facts, "torch 2.13.0", 167)
    assert (trouble is None) is fits
    assert fits or ("aios doctor fix long-paths" in str(trouble) and "= 260 characters" in str(trouble))
    unreadable = EnvironmentFacts(
        facts.machine, facts.python, facts.xformers, {}, Unreadable("access denied")
    )
    assert (why_too_long(unreadable, "torch 2.13.0", 167) is None) is fits


LISTING = """<html><body>
<a href="/whl/cu130/torch-2.13.0%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl#sha256=aa" data-x>a</a><br>
<a href="torch-2.13.0%2Bcu130-cp313-cp313-manylinux_2_28_x86_64.whl#sha256=bb">b</a>
<a href="https://elsewhere.example/torch-2.12.0%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl">c</a>
<a href="torch-2.13.0%2Bcu130-cp312-cp312-win_amd64.whl#md5=cc">d</a><a name="nothing">e</a>
</body></html>"""


def test_files_are_parsed_from_an_index_page() -> None:
    files = parse_listing(LISTING, "https://index.example/whl/cu130/torch/")
    assert [file.sha256 for file in files] == ["aa", "bb", None, None]
    assert files[0].url == (
        "https://index.example/whl/cu130/torch-2.13.0%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl"
    )
    assert files[1].url.startswith("https://index.example/whl/cu130/torch/torch-2.13.0")
    found = newest_fitting(files, "torch==2.13.0+cu130", LINUX)
    assert found == (files[0], Version("2.13.0+cu130"))
    assert newest_fitting(files, "torch==2.14.0+cu130", LINUX) is None
    assert newest_fitting(files, "torch", LINUX) == found


@given(st.text(), st.text())
def test_any_page_can_be_parsed(page: str, address: str) -> None:
    try:
        files = parse_listing(page, f"https://index.example/{address}")
    except ValueError:  # an invalid address
        return
    found = newest_fitting((*files, IndexFile(page, address, None)), "torch", LINUX)
    assert found is None or found[0].filename.startswith("torch-")


def entry(name: str, version: str, requires: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "metadata": {"name": name, "version": version, "requires_dist": list(requires)},
        "download_info": {"url": f"https://x/{name}.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
    }


def reported(*entries: dict[str, object]) -> tuple[Resolved, ...]:
    return parse_report(json.dumps({"version": "1", "install": entries}).encode())


TARGET = Target("flash-attn", "flash-attn", "2.8.3", "flash.whl", None, None, None)
CUDA_TORCH = TorchBuild(Version("2.13.0"), "cu130")


def test_a_small_dependency_is_allowed() -> None:
    report = reported(entry("flash_attn", "2.8.3", ("einops",)), entry("einops", "0.8"))
    assert [each.name for each in additional_packages(report, [TARGET], CUDA_TORCH, True)] == ["einops"]


def test_a_package_that_requires_another_torch_is_refused_by_name() -> None:
    asks = ("torch==2.12.0 ; python_version > '3'", "torch<1 ; extra == 'old'", "not a requirement!")
    report = reported(entry("flash_attn", "2.8.3", asks), entry("torch", "2.12.0"))
    with pytest.raises(InstallError) as refused:
        additional_packages(report, [TARGET], CUDA_TORCH, True)
    said = str(refused.value)
    assert "flash-attn 2.8.3 requires torch==2.12.0" in said
    assert "a build for the CPU, or for another CUDA" in said
    assert "<1" not in said


def test_triton_is_allowed_as_a_dependency_of_torch_for_linux_alone() -> None:
    report = reported(entry("flash_attn", "2.8.3"), entry("triton", "3.7.0"))
    assert additional_packages(report, [TARGET], CUDA_TORCH, True)
    with pytest.raises(InstallError, match=r"triton 3\.7\.0"):
        additional_packages(report, [TARGET], CUDA_TORCH, False)


@pytest.mark.parametrize("archive", [{"hash": "sha256=ab"}, {"hashes": {"sha256": "ab"}}, {}, None])
def test_the_hash_of_a_local_file_is_read_from_every_pip(archive: object) -> None:
    """pip 23.1 and 23.2, which come with Python 3.11.5 to 3.12.1, write only `hash` for a local file."""
    local = {**entry("torch", "2.13.0"), "download_info": {"url": "file:///x.whl", "archive_info": archive}}
    (torch,) = reported(local)
    assert torch.sha256 == ("ab" if archive else None)


@given(st.binary())
def test_a_damaged_report_is_an_error(content: bytes) -> None:
    with pytest.raises(InstallError, match="cannot be parsed"):
        parse_report(content)


@pytest.mark.parametrize(
    ("version", "said"), [("22.0.2", "-m pip install --upgrade pip"), (None, "-m ensurepip")]
)
def test_a_pip_without_dry_run_is_not_used(version: str | None, said: str) -> None:
    """Ubuntu 22.04 ships pip 22.0.2, which has no --dry-run."""
    content = load_machine(MACHINES / "linux-cpu.json").model_dump()
    pip = {"name": "pip", "version": version, "location": "/env/site-packages"} if version else None
    content["distributions"] |= {"pip": pip}
    content["programs"] |= {"uv": None}
    with pytest.raises(InstallError, match=said):
        find_pip(RecordedHost(RecordedMachine.model_validate(content)))


@pytest.mark.parametrize(
    ("name", "serves"), [("linux-cpu", True), ("windows-cpu", True), ("windows-rtx4090", False)]
)
def test_pips_own_index_serves_where_pytorchs_cannot_be_reached_and_the_build_is_as_good(
    name: str, serves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's mirror of PyPI is reachable, and download.pytorch.org is not."""

    def unreachable(index: str, package: str) -> tuple[IndexFile, ...]:
        raise NotFoundError(f"{package} cannot be looked up")

    monkeypatch.setattr("doctor.install.install_plan.files_on_index", unreachable)
    host = recorded(name)
    facts = read_facts(host)
    facts = replace(facts, machine=replace(facts.machine, torch=None), installed={})
    request = InstallRequest(("torch",))
    if not serves:
        with pytest.raises(NotFoundError):
            plan_installation(host, facts, shipped_catalogue(), request)
        return
    (target,) = plan_installation(host, facts, shipped_catalogue(), request).targets
    assert (target.name, target.url, target.index) == ("torch", None, None)
    assert Version(target.version).local is None, "PyPI's versions have no label"


@pytest.mark.parametrize(("name", "serves"), [("linux-cpu", True), ("windows-rtx4090", False)])
def test_without_a_gpu_an_older_torch_of_a_mirror_that_is_behind_serves(
    name: str, serves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tuple(
        IndexFile(f"torch-{version}-{tags}.whl", f"https://mirror/torch-{version}-{tags}.whl", "ab")
        for version in ("2.5.1", "2.12.0", "2.13.0", "99.0")
        for tags in ("cp311-cp311-manylinux_2_28_x86_64", "cp312-cp312-win_amd64")
    )
    monkeypatch.setattr("doctor.install.install_plan.files_on_index", lambda *_: files)
    monkeypatch.setattr("doctor.install.install_plan.content_length", lambda _: 1)
    facts = read_facts(recorded(name))
    facts = replace(facts, machine=replace(facts.machine, torch=None), installed={})
    if not serves:
        with pytest.raises(NotFoundError, match="has no torch=="):
            plan_installation(recorded(name), facts, shipped_catalogue(), InstallRequest(("torch",)))
        return
    planned = plan_installation(recorded(name), facts, shipped_catalogue(), InstallRequest(("torch",)))
    assert [target.version for target in planned.targets] == ["2.13.0"]
    assert str(planned.resolution.torch) == "torch 2.13.0 for the CPU"


def test_the_doctor_advises_a_wheel_from_the_refreshed_catalogue(tmp_path: Path) -> None:
    """Both use the same function; a damaged catalogue is ignored."""
    wheel = "flash_attn-2.8.4+cu130torch2.13-cp312-cp312-win_amd64.whl"
    content = {
        "schema_version": 1,
        "as_of": "2020-01-01",
        "publishers": [{"id": "new", "download": "https://new.example/"}],
        "wheels": [[wheel, 0, "v1", None, None]],
    }
    machine = load_machine(MACHINES / "windows-rtx4090.json").model_dump()
    machine["environment"] |= {"AIOS_HOME": str(tmp_path)}
    machine["distributions"] |= {"flash-attn": None}

    def hint() -> str:
        host = RecordedHost(RecordedMachine.model_validate(machine))
        (finding,) = diagnose(host, [flash_attn.CHECK]).findings
        return finding.hint

    assert "flash-attn 2.8.3" in hint()
    (tmp_path / "catalogue.json").write_text(json.dumps(content), encoding="utf-8")
    assert "flash-attn 2.8.4" in hint()
    (tmp_path / "catalogue.json").write_text("{}", encoding="utf-8")
    assert "flash-attn 2.8.3" in hint()
