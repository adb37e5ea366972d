"""What several checks say about environment variables: how a person sets one, and removes one that is better not set."""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.host import Found, RegistryValue
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Fix
from doctor.probes.variables import Variable

ENVIRONMENT_VARIABLES = "Settings > System > About > Advanced system settings > Environment Variables"
SIGN_OUT = "Sign out of Windows and in again"  # what starts programs reads the registry then


def set_for_user(name: str, state: RegistryValue) -> str:
    """What sets a user's variable by hand, in cmd and in PowerShell: setx would cut it, and flatten its type."""
    value = f'"{state.value}"' if " " in str(state.value) else state.value
    return f"reg add {USER_ENVIRONMENT} /v {name} /t {state.type} /d {value} /f"


def set_in_terminal(name: str, value: str = "") -> tuple[str, str]:
    """What sets a variable of this terminal, or removes it; PowerShell's own `set` is silent and does something else."""
    return f"set {name}={value}", f"$env:{name} = '{value}'  # in PowerShell"


def without(variable: Variable) -> tuple[str, Fix | None]:
    """What to do, and the fix where the variable is the user's own to remove: another program may need it."""
    name = variable.name
    if isinstance(variable.user, Found):
        fix = Fix(
            id=f"remove-{name.lower().replace('_', '-')}",
            applicability="unsafe",
            restart="shell",
            commands=(f"reg delete {USER_ENVIRONMENT} /v {name} /f", SIGN_OUT),
            actions=(SetUserEnvironmentVariable(name=name, state=None),),
        )
        return f"Let the doctor remove {name} of your user, unless another program needs it.", fix
    if isinstance(variable.system, Found):
        return f"Remove {name} from the system's variables: {ENVIRONMENT_VARIABLES}.", None
    return (
        f"Open a terminal in which {name} is not set; look for it in what your shell reads when it starts.",
        None,
    )
