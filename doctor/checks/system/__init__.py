"""The system and this Python: what every installation rests on."""

from doctor.check import Check
from doctor.checks.system import (
    git_long_paths,
    long_paths,
    python_architecture,
    python_version,
    temp_dir,
    windows_version,
)

CHECKS: tuple[Check, ...] = (
    windows_version.CHECK,
    python_version.CHECK,
    python_architecture.CHECK,
    long_paths.CHECK,
    git_long_paths.CHECK,
    temp_dir.CHECK,
)
