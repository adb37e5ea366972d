"""Is this Python one to install into? Pure."""

from __future__ import annotations

from doctor.checks.system.folder_rules import LONGEST_PATH, are_long_paths_on
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.install.environment_facts import Facts
from doctor.probes.python import PythonFacts


def why_not(python: PythonFacts) -> str | None:
    """Why nothing is installed into this Python, and what to type instead; None: it takes packages."""
    identity = python.identity
    if identity.python_implementation != "CPython":
        return f"This is {identity.python_implementation}, and the wheels are for CPython. {_environment(identity)}"
    if identity.python_bits != 64:
        return f"This Python is a 32-bit program, and there are no such wheels. Install a 64-bit CPython. {_environment(identity)}"
    if python.in_virtual_environment:
        return None
    if python.is_from_store:
        return (
            "This Python is the Microsoft Store's: what it installs lies behind a long path, and is redirected. "
            f"Install CPython from python.org. {_environment(identity)}"
        )
    if isinstance(python.base_names, Unreadable):
        return f"The folder of this Python, {identity.base_prefix}, cannot be seen ({python.base_names.reason}). {_environment(identity)}"
    names = (
        {name.lower() for name in python.base_names.value} if isinstance(python.base_names, Found) else set()
    )
    if "conda-meta" in names:
        if "condabin" not in names:
            return None
        return (
            "This is conda's base environment, and packages that pip puts there can break conda itself. "
            f"Make an environment of its own: conda create -n aios python={identity.python_minor} - "
            "then: conda activate aios - and install aios and run this again in it."
        )
    if any(name.startswith("python") and name.endswith("._pth") for name in names):
        return None  # an embeddable Python belongs to the one program that it came with
    if not isinstance(python.externally_managed, Absent):
        return f"This Python belongs to the system, which says that pip must not install into it (PEP 668). {_environment(identity)}"
    return f"This Python is in no virtual environment: all of its programs would get these packages. {_environment(identity)}"


def _environment(identity: Identity) -> str:
    """How to make one, and go on there."""
    if identity.os == "windows":
        return (
            f"Make a virtual environment: py -{identity.python_minor} -m venv C:\\aios\\env - "
            "then: C:\\aios\\env\\Scripts\\activate - and install aios and run this again there."
        )
    return (
        "Make a virtual environment: python3 -m venv ~/aios-env - "
        "then: . ~/aios-env/bin/activate - and install aios and run this again there."
    )


def why_too_long(facts: Facts, package: str, longest: int) -> str | None:
    """Why a package whose longest path has so many characters does not fit below site-packages; None: it fits."""
    identity = facts.python.identity
    if identity.os != "windows" or are_long_paths_on(facts.long_paths):
        return None
    folder = identity.site_packages
    length = len(folder) + 1 + longest
    if length <= LONGEST_PATH:
        return None
    return (
        f"{package} does not fit below {folder}: {len(folder)} + 1 + {longest} = {length} characters, and Windows "
        f"allows {LONGEST_PATH} here. Let the doctor switch long paths on: aios doctor fix long-paths - "
        "or make the environment in a shorter folder, such as C:\\aios."
    )
