"""`aios doctor` and its subcommands. Each parses its arguments, runs the operation, and prints the result."""

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

app = typer.Typer(add_completion=False, invoke_without_command=True)
app.callback()(doctor)
app.command()(fix)
app.command()(undo)
app.command()(runs)
app.command()(diff)
app.command("list")(list_checks)
app.command(short_help="Explain what a check looks at, and how to fix it.")(explain)
app.command("explain-log", short_help="Name the cause of a failed install, build or training.")(explain_log)
app.command(short_help="Save what the doctor sees here, without personal data.")(record)
app.command(short_help="Print a report for an issue, without personal data.")(report)
app.command("apply-elevated", hidden=True)(elevated.apply)
app.command("undo-elevated", hidden=True)(elevated.undo)
