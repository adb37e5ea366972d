"""`aios doctor` with its subcommands. Each parses what is asked, calls the operations, and prints."""

import typer

from doctor.commands import apply_elevated as elevated
from doctor.commands.diagnose import doctor
from doctor.commands.explain import explain
from doctor.commands.explain_log import explain_log
from doctor.commands.fix import fix, undo
from doctor.commands.history import diff, runs
from doctor.commands.list import list_checks
from doctor.commands.record import record
from doctor.commands.report import report

app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is shorter, and ASCII
)
app.callback(
    help="Diagnose this machine. Changes nothing, but writes what each attention backend can do here."
)(doctor)
app.command()(fix)
app.command()(undo)
app.command(short_help="List earlier runs, and what they changed.")(runs)
app.command(short_help="Say what differs between two runs.")(diff)
app.command("list")(list_checks)
app.command(short_help="Say what a check looks at, and how to fix it.")(explain)
app.command("explain-log", short_help="Name the cause of a failed install, build or training.")(explain_log)
app.command(short_help="Save what the doctor sees here, without personal data.")(record)
app.command(short_help="Print a text for an issue, without personal data.")(report)
app.command("apply-elevated", hidden=True)(elevated.apply)
app.command("undo-elevated", hidden=True)(elevated.undo)
