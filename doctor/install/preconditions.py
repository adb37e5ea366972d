"""Can packages be installed into this Python, and do their paths fit? Pure."""

from __future__ import annotations

from doctor.checks.system.folder_rules import LONGEST_PATH, are_long_paths_on
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.install.environment_facts import EnvironmentFacts
from doctor.probes.python import PythonFacts


def why_unsuitable(python: PythonFacts) -> str | None:
    """Return why aios does not install into this Python, with the commands to run instead; None: it does."""
    identity = python.identity
    if identity.python_implementation != "CPython":
        return f"This is {identity.python_implementation}; the wheels are built for CPython. {_environment(identity)}"
    if identity.python_bits != 64:
        return f"This is a 32-bit Python, for which there are no wheels. Install a 64-bit CPython. {_environment(identity)}"
    if python.in_virtual_environment:
        return None
    if python.is_from_store:
        return (
            "This Python is from the Microsoft Store, which redirects installed packages to a long path. "
            f"Install CPython from python.org. {_environment(identity)}"
        )
    if isinstance(python.base_names, Unreadable):
        return f"The folder of this Python, {identity.base_prefix}, cannot be read ({python.base_names.reason}). {_environment(identity)}"
    names = (
        {name.lower() for name in python.base_names.value} if isinstance(python.base_names, Found) else set()
    )
    if "conda-meta" in names:
        if "condabin" not in names:
            return None
        return (
            "This is conda's base environment, where packages installed by pip can break conda. "
            f"Create a separate environment: conda create -n aios python={identity.python_minor} - "
            + (
                "and give its folder with --python."
                if identity.other_python
                else "then: conda activate aios - install aios there and run this again."
            )
        )
    if any(name.startswith("python") and name.endswith("._pth") for name in names):
        return None  # an embeddable Python belongs to a single program
    if not isinstance(python.externally_managed, Absent):
        return f"This Python is managed by the system, which forbids pip to install into it (PEP 668). {_environment(identity)}"
    return f"This Python is not in a virtual environment: the packages would affect all programs that use it. {_environment(identity)}"


def _environment(identity: Identity) -> str:
    """Return how to create a virtual environment and continue there."""
    if identity.other_python:
        return "Give the environment of the application instead, with --python."
    if identity.os == "windows":
        return (
            f"Create a virtual environment: py -{identity.python_minor} -m venv C:\\aios\\env - "
            "then: C:\\aios\\env\\Scripts\\activate - install aios there and run this again."
        )
    return (
        "Create a virtual environment: python3 -m venv ~/aios-env - "
        "then: . ~/aios-env/bin/activate - install aios there and run this again."
    )


def why_too_long(facts: EnvironmentFacts, package: str, longest: int) -> str | None:
    """Return why a package with a longest path of `longest` characters exceeds Windows' limit; None: it fits."""
    identity = facts.python.identity
    if identity.os != "windows" or are_long_paths_on(facts.long_paths):
        return None
    folder = identity.site_packages
    length = len(folder) + 1 + longest
    if length <= LONGEST_PATH:
        return None
    return (
        f"The paths of {package} in {folder} are too long: {len(folder)} + 1 + {longest} = {length} characters; Windows "
        f"allows {LONGEST_PATH} here. Enable long paths: aios doctor fix long-paths - "
        "or create the environment in a shorter folder, such as C:\\aios."
    )
