"""Exit with 0 if aios can run on this Python, else with 1 and the reason in a line on stdout.

The syntax is that of Python 3.6, so that old Pythons can run it and be named.
"""

import os
import sys
import sysconfig

OLDEST, NEWEST = (3, 10), (3, 14)  # NEWEST: the newest that wheels exist for


def why_not() -> str:
    """Return why aios cannot run on this Python; "" if it can."""
    if sys.implementation.name != "cpython":
        return f"it is {sys.implementation.name}; the wheels are for CPython"
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return "aios needs {}.{} to {}.{}".format(*OLDEST, *NEWEST)
    if sys.maxsize < 2**32 or (os.name == "nt" and sysconfig.get_platform() != "win-amd64"):
        return f"it is for {sysconfig.get_platform()}, and there are no wheels for that"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is a free-threaded build, and most packages have no wheels for that"
    if "\\WindowsApps\\" in sys.base_prefix:
        return "it is from the Microsoft Store, which installs packages below a long path"
    if os.path.isdir(os.path.join(sys.base_prefix, "conda-meta")):  # noqa: PTH112, PTH118 - paths as they are
        return "it is managed by conda, and pip must not change it"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return f"it cannot create virtual environments ({error})"
    return ""


if __name__ == "__main__":
    reason = why_not()
    if reason:
        found = "Python {}.{}.{}".format(*sys.version_info[:3])
        line = f"{found} in {sys.base_prefix}: {reason}\n"
        sys.stdout.write(line.encode("ascii", "backslashreplace").decode())
    sys.exit(1 if reason else 0)
