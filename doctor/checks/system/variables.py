"""What several checks say about an environment variable that is better not set."""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.host import Found
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Fix
from doctor.probes.variables import Variable

ENVIRONMENT_VARIABLES = "Settings > System > About > Advanced system settings > Environment Variables"


def without(variable: Variable) -> tuple[str, Fix | None]:
    """What to do, and the fix where the variable is the user's own to remove: another program may need it."""
    name = variable.name
    if isinstance(variable.user, Found):
        fix = Fix(
            id=f"remove-{name.lower().replace('_', '-')}",
            applicability="unsafe",
            restart="shell",
            commands=(f"reg delete {USER_ENVIRONMENT} /v {name} /f",),
            actions=(SetUserEnvironmentVariable(name=name, state=None),),
        )
        return f"Let the doctor remove {name} of your user, unless another program needs it.", fix
    if isinstance(variable.system, Found):
        return f"Remove {name} from the system's variables: {ENVIRONMENT_VARIABLES}.", None
    return (
        f"Open a terminal in which {name} is not set; look for it in what your shell reads when it starts.",
        None,
    )
