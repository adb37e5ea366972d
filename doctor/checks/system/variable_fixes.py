"""Texts and fixes for environment variables that several checks share: how to set one, and how to remove one."""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.host import Found, RegistryValue
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Fix
from doctor.probes.variables import Variable
from doctor.quoting import quoted

ENVIRONMENT_VARIABLES = "Settings > System > About > Advanced system settings > Environment Variables"
SIGN_OUT = "Sign out of Windows and in again"  # only then does the desktop read the registry again


def set_for_user(name: str, state: RegistryValue) -> str:
    """Return the command for cmd and PowerShell that sets a user's variable. setx would cut it off and change its type."""
    value = quoted(str(state.value), windows=True, bare=True)
    return f"reg add {USER_ENVIRONMENT} /v {name} /t {state.type} /d {value} /f"


def set_in_terminal(name: str, value: str = "") -> tuple[str, str]:
    """Return the commands that set or remove a variable in a terminal: for cmd, and for PowerShell.

    In PowerShell, `set NAME=VALUE` silently sets a PowerShell variable instead.
    """
    return f"set {name}={value}", f"$env:{name} = '{value}'  # in PowerShell"


def remove_variable(variable: Variable) -> tuple[str, Fix | None]:
    """Return a hint on removing the variable, and the fix if it is the user's own (unsafe: a program may need it)."""
    name = variable.name
    if isinstance(variable.user, Found):
        fix = Fix(
            id=f"remove-{name.lower().replace('_', '-')}",
            applicability="unsafe",
            restart="shell",
            commands=(f"reg delete {USER_ENVIRONMENT} /v {name} /f", SIGN_OUT),
            actions=(SetUserEnvironmentVariable(name=name, state=None),),
        )
        return f"Let the doctor remove your user's {name}, unless another program needs it.", fix
    if isinstance(variable.system, Found):
        return f"Remove {name} from the system's variables: {ENVIRONMENT_VARIABLES}.", None
    return f"Open a terminal where {name} is not set. Your shell's startup files may set it.", None
