"""`aios doctor` with its subcommands. Each parses what is asked, calls the operations, and prints."""

import typer

from doctor.commands import elevated
from doctor.commands.diagnose import doctor
from doctor.commands.fix import fix, undo
from doctor.commands.record import record

app = typer.Typer(invoke_without_command=True, add_completion=False, pretty_exceptions_enable=False)
app.callback(
    help="Diagnose this machine. Changes nothing, but writes what each attention backend can do here."
)(doctor)
app.command()(fix)
app.command()(undo)
app.command()(record)
app.command("apply-elevated", hidden=True)(elevated.apply)
app.command("undo-elevated", hidden=True)(elevated.undo)
