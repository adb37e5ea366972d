"""How the house is built, read from its source: a function's own import counts, too. Each rule notices what breaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from doctor.checks import CHECKS

ROOT = Path(__file__).parents[1]
OPTIONAL = {"torch", "transformers", "flash_attn", "xformers", "triton", "numpy", "safetensors"}
MACHINE = {
    "winreg",
    "ctypes",
    "subprocess",
    "psutil",
    "pynvml",
    "socket",
    "ssl",
    "msvcrt",
    "fcntl",
    "filelock",
    "pwd",
}
OF_THE_SYSTEM = {"os.environ", "os.getenv", "os.putenv", "os.system", "os.popen"}
# Imports that open connections, and those that change files
NETWORK = ("http.client.", "urllib.request.")
ON_FILES = (
    "shutil.",
    "tempfile.",
    "doctor.files.write_atomically.",
    "doctor.files.append_line.",
    "doctor.chained_lines.append_chained.",
    "doctor.files.move.",
)
# Methods of a path, and functions of `os`
PATH_WRITES = {
    "chmod", "hardlink_to", "mkdir", "rename", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text",
}  # fmt: skip
OS_WRITES = {
    "chmod", "link", "makedirs", "mkdir", "remove", "removedirs", "rename", "renames", "replace", "rmdir", "symlink",
    "truncate", "unlink", "utime",
}  # fmt: skip
# Files outside the host that may change files, and which
DOORS = {
    "doctor/files": "the helpers that the others use",
    "doctor/lock": "the lock file",
    "doctor/chained_lines": "lines of the journals",
    "doctor/capability": "the capability file",
    "doctor/runs/run_folders": "creates the folder of a new run; deletes old runs",
    "doctor/runs/history": "the reports and plans of runs",
    "doctor/fixes/journal": "the journal of a run",
    "doctor/install/install_record": "the record and the journal of an installation",
    "doctor/install/backup": "copies of what an installation replaces, and the restored environment",
    "doctor/install/protected_files": "copies of the protected packages",
    "doctor/install/protection": "copies of the protected packages while another program changes them",
    "doctor/install/restore_from_wheels": "single files of installed packages, from their wheels",
    "doctor/install/download": "downloaded wheels",
    "doctor/install/pip": "temporary files for pip to read and write",
    "doctor/commands/record": "the file that the user names",
    "doctor/commands/report": "the file that the user names",
    "doctor/commands/wheels": "the file that the user names",
}
# Files that read without `doctor.bounded`, and what
READERS = {
    "doctor/bounded": "the helpers that the others use",
    "doctor/files": "a folder, to flush it",
    "doctor/failures/table": "a file of aios",
    "doctor/host/distributions": "metadata, through importlib and after the check of bounded",
    "doctor/host/memory": "files of the kernel",
    "doctor/host/processes": "files of the kernel",
    "doctor/host/python_query": "pyvenv.cfg, in a process of its own with a time limit",
    "gui/frame": "a file of aios",
    "trainer/data/tokenizing": "parts that its own processes have just written",
    "trainer/device": "files of the kernel",
    "trainer/mfu": "a file of aios",
    "wheels/compatibility_data": "a file of aios",
}
CHANGES = {
    "set_registry_value", "set_variable", "broadcast_environment_change", "make_directory", "remove_directory",
    "write_file", "move_folder", "set_git_setting", "set_packages", "run_installer", "set_registry_values_elevated",
}  # fmt: skip
LONGEST_JUDGE = 40  # lines
# What a pure function on text, numbers and facts may use
PURE = {
    "__future__", "collections", "configparser", "csv", "dataclasses", "difflib", "fnmatch", "functools",
    "itertools", "json", "ntpath", "packaging", "pathlib", "pydantic", "re", "typing", "urllib",
}  # fmt: skip
EFFECTS = {"pathlib.Path", "urllib.request"} | {
    f"{module}.{door}"
    for module in ("doctor.host", "doctor.host.base")
    for door in ("Host", "Reader", "Writer")
}
# Each package's rooms (its folders and the files at its root), from the ground up. A module imports from its own room and
# from earlier ones. `tests` prove that the list is complete and that no two rooms of one line import each other.
ORDERS = {
    "doctor": (
        ("bounded", "visible", "quoting", "started_as"),
        ("ownership",),
        ("files", "lock", "version", "extras", "chained_lines"),
        ("host",),
        ("actions",),
        ("models",),
        ("check",),
        ("plugins", "proofs", "diagnosis", "aios_home"),
        ("probes",),
        ("capability",),
        ("checks", "failures", "cluster"),
        ("fixes",),
        ("runs",),
        ("report",),
        ("wheel_search",),
        ("install",),
        ("commands",),
    ),
    "trainer": (
        ("errors", "say", "stop", "random_state", "file_kinds", "text_lines"),
        ("attention", "distributed"),
        ("config", "mfu", "capability", "records", "hrm", "device"),
        ("models",),
        ("data",),
        ("learning",),
        ("survival",),
        ("model_card",),
        ("early_checks", "run_size"),
        ("start", "generate", "export", "gguf_file", "conversation", "fetch", "chunking"),
        ("building",),
        ("planning",),
        ("run_warnings",),
        ("preparation",),
        ("run", "optimization"),
        ("commands",),
    ),
    "gui": (
        (
            "texts",
            "access_control",
            "downsampling",
            "measured_settings",
            "open_folder",
            "operations",
            "units",
        ),
        ("frame", "record_follower", "form", "jobs"),
        ("charts", "command_view", "diagnosis", "job_view", "known_runs", "uploads"),
        ("pages",),
        ("server",),
        ("commands",),
    ),
    "wheels": (
        ("compatibility_data", "filename", "packages"),
        ("compatibility", "catalogue"),
        (
            "machine",
            "companions",
            "publisher_lists",
            "flash_attn_builds",
            "triton_releases",
            "xformers_releases",
        ),
        ("tags", "markers"),
        ("rules", "requirements", "source_build"),
        ("match",),
        ("choice",),
        ("flash_attn", "triton", "xformers", "on_request"),
        ("sageattention",),
        ("torch",),
        ("resolve",),
    ),
}
FLOORS = {
    f"{package}.{room}": floor
    for package, order in ORDERS.items()
    for floor, rooms in enumerate(order)
    for room in rooms
}


def files(*folders: str, but: tuple[str, ...] = ()) -> list[str]:
    """Paths of source files, less those that begin with one of `but`."""
    found = (path.relative_to(ROOT).as_posix() for name in folders for path in (ROOT / name).rglob("*.py"))
    return sorted(path for path in found if not path.startswith(but))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importing(*packages: str) -> Callable[[str, ast.Module], Iterator[str]]:
    def offences(path: str, tree: ast.Module) -> Iterator[str]:
        return (name for name in imports(tree) if name.partition(".")[0] in packages)

    return offences


def touching_the_machine(path: str, tree: ast.Module) -> Iterator[str]:
    attributes = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    yield from importing(*MACHINE)(path, tree)
    yield from OF_THE_SYSTEM.intersection((*imports(tree), *attributes))
    # url2pathname only computes
    yield from (
        {name for name in imports(tree) if f"{name}.".startswith(NETWORK)} - {"urllib.request.url2pathname"}
    )


def changing_files(path: str, tree: ast.Module) -> Iterator[str]:
    yield from (n for n in imports(tree) if f"{n}.".startswith(ON_FILES) and n != "shutil.which")
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    yield from (ast.unparse(call) for call in calls if _changes_files(call))


def _changes_files(call: ast.Call) -> bool:
    module, _, name = ast.unparse(call.func).rpartition(".")
    if module == "os":
        return name in OS_WRITES
    if name == "open":
        constants = (node.value for node in ast.walk(call) if isinstance(node, ast.Constant))
        return any(
            re.fullmatch("[rwxabt+]{1,3}", str(value)) and str(value) not in ("r", "rb")
            for value in constants
        )
    if name == "replace":
        # of a path; a string's takes two arguments, and that of dataclasses has keywords
        return len(call.args) == 1 and not call.keywords
    return bool(module) and name in PATH_WRITES


def reading_files(path: str, tree: ast.Module) -> Iterator[str]:
    """Ways to read a file, or to parse JSON, that have no limit."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        module, _, name = ast.unparse(call.func).rpartition(".")
        own_open = not call.args and not call.keywords  # Source.open
        if (
            (module and name in ("read_text", "read_bytes"))
            or (module == "json" and name in ("load", "loads"))
            or (name == "open" and not own_open and not _changes_files(call))
        ):
            yield ast.unparse(call)


def using_a_shell(path: str, tree: ast.Module) -> Iterator[str]:
    return (ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "shell")


def calling(*names: str) -> Callable[[str, ast.Module], Iterator[str]]:
    def offences(path: str, tree: ast.Module) -> Iterator[str]:
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        return (ast.unparse(f) for f in calls if isinstance(f, ast.Attribute) and f.attr in names)

    return offences


def printing(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if ast.unparse(node) in ("sys.stdout", "print"):
            yield ast.unparse(node)


def showing(path: str, tree: ast.Module) -> Iterator[str]:
    """Ways to show a text that do not escape what would control a terminal."""
    shown = ("sys.stdout.write", "sys.stderr.write", "typer.echo", "typer.secho", "click.echo", "print")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in shown:
            yield ast.unparse(node)


def beyond(*parts: str, but: tuple[str, ...] = ()) -> Callable[[str, ast.Module], Iterator[str]]:
    """Anything else than pure functions and these parts of the house; `but` are effects that are allowed all the same."""

    def offences(path: str, tree: ast.Module) -> Iterator[str]:
        for name in imports(tree):
            known = name.partition(".")[0] in PURE or any(name.startswith(f"{part}.") for part in parts)
            if name not in but and (
                not known or name in EFFECTS or name.startswith(("doctor.host.live", "doctor.host.web"))
            ):
                yield name

    return offences


beyond_a_probe = beyond(
    "doctor.check",
    "doctor.host",
    "doctor.probes",
    "doctor.proofs",
    "wheels.catalogue",
    "wheels.compatibility",
    "wheels.machine",
    but=("doctor.host.Reader", "threading", "doctor.bounded.parse_json"),
)
beyond_a_check = beyond(
    "doctor.actions", "doctor.check", "doctor.checks", "doctor.host", "doctor.models", "doctor.probes",
    "doctor.proofs", "doctor.quoting", "wheels",
)  # fmt: skip


def room_of(module: str) -> str:
    """`doctor.checks` for doctor.checks.system.memory."""
    return ".".join(module.split(".")[:2])


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def looking_up(path: str, tree: ast.Module) -> Iterator[str]:
    """Imports from a room on a later floor."""
    own = room_of(module_of(path))
    package = own.partition(".")[0]
    for name in imports(tree):
        room = room_of(name)
        if room.startswith(f"{package}.") and FLOORS.get(room, -1) > FLOORS.get(own, len(FLOORS)):
            yield name


def circles(arrows: set[tuple[str, str]]) -> set[str]:
    """The nodes of a directed graph that can be reached from themselves."""
    reached = {a: {b for start, b in arrows if start == a} for a, _ in arrows}
    for _ in reached:
        for a, targets in reached.items():
            reached[a] = targets.union(*(reached.get(b, set()) for b in targets))
    return {a for a, targets in reached.items() if a in targets}


def arrows_between_rooms(package: str) -> set[tuple[str, str]]:
    found = set()
    for path in files(package):
        own = room_of(module_of(path))
        for name in imports(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if name.startswith(f"{package}.") and room_of(name) != own and own != package:
                found.add((own, room_of(name)))
    return found


def out_of_order(path: str, tree: ast.Module) -> Iterator[str]:
    """What a check's file has after something that should follow it."""
    kinds = [_kind(node) for node in tree.body]
    if 5 not in kinds:
        return  # what several checks share
    latest = 0
    for node, kind in zip(tree.body, kinds, strict=True):
        if kind < latest:
            yield f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}"
        latest = max(latest, kind)


def _kind(node: ast.stmt) -> int:
    if isinstance(node, ast.Expr):
        return 0  # the question
    if isinstance(node, ast.Import | ast.ImportFrom):
        return 1
    if isinstance(node, ast.FunctionDef):
        return 3 if node.name == "judge" else 4
    return 5 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CHECK" else 2


def long_judgements(path: str, tree: ast.Module) -> Iterator[str]:
    """Functions of a check that are longer than a judge may be: a long one is split, not moved to a helper."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_JUDGE:
                yield f"{node.name}: {lines} lines"


def knowing_more_than_the_capability(path: str, tree: ast.Module) -> Iterator[str]:
    """`doctor.visible` is one way to show any text, `doctor.bounded` one way to read files of others; `doctor.files`,
    `doctor.ownership` and `doctor.lock` are one atomic write, one SHA-256, one decision about whose a file is and one lock;
    `doctor.extras` is the one place that says how to install an optional package, `doctor.started_as` how aios was
    started."""
    allowed = (
        "doctor.bounded.",
        "doctor.capability.",
        "doctor.files.",
        "doctor.lock.",
        "doctor.extras.",
        "doctor.ownership.",
        "doctor.quoting.",
        "doctor.visible.",
        "doctor.started_as.",
        "doctor.report.wrapping.",
    )
    names = (name for name in imports(tree) if name.partition(".")[0] in ("aios", "doctor"))
    return (name for name in names if not f"{name}.".startswith(allowed))


def knowing_the_command_line(path: str, tree: ast.Module) -> Iterator[str]:
    return (name for name in imports(tree) if name.startswith(("typer", "click", "doctor.commands.")))


@dataclass(frozen=True)
class Rule:
    says: str
    files: list[str]
    offences: Callable[[str, ast.Module], Iterator[str]]
    broken_by: str  # source of the first of the files that would break it

    def __str__(self) -> str:
        return self.says.replace(" ", "-")


# What the page may know of the others: answers and records, how they are worded, and the validation of a configuration
OPEN_TO_THE_PAGE = (
    "doctor.bounded.",
    "doctor.capability.",
    "doctor.check.",
    "doctor.checks.",
    "doctor.commands.training_command.",
    "doctor.extras.",
    "doctor.files.",
    "doctor.host.live.",
    "doctor.models.",
    "doctor.quoting.",
    "doctor.report.wording.",
    "doctor.runs.",
    "doctor.started_as.",
    "doctor.aios_home.",
    "trainer.config.",
    "trainer.errors.",
    "trainer.records.",
    "trainer.survival.lock.",
    "trainer.survival.own_checkpoints.",
)


def knowing_more_than_the_page_needs(path: str, tree: ast.Module) -> Iterator[str]:
    """The page shows what commands answer and record; it does nothing that a command does."""
    yield from importing(*OPTIONAL, "aios", "wheels")(path, tree)
    names = (name for name in imports(tree) if name.partition(".")[0] in ("doctor", "trainer"))
    yield from (name for name in names if not f"{name}.".startswith(OPEN_TO_THE_PAGE))


COMMANDS = ("doctor/commands/",)
RULES = (
    Rule(
        "the doctor knows neither the trainer nor an optional package",
        # A program of its own, started to import the packages
        files("doctor", but=("doctor/install/verification_child",)),
        importing("trainer", "aios", *OPTIONAL),
        "def late():\n    import torch",
    ),
    Rule(
        "wheels imports neither doctor nor trainer",
        files("wheels"),
        importing("doctor", "trainer", "aios", *OPTIONAL),
        "from doctor.host import Found",
    ),
    Rule(
        "of the doctor, the trainer imports the capability file, the helpers for files and locks, and how to add an extra",
        files("trainer"),
        knowing_more_than_the_capability,
        "from doctor.files import move\nfrom doctor.models import Report",
    ),
    Rule(
        "nothing imports the page",
        ["aios.py", *files("doctor", "trainer", "wheels")],
        importing("gui"),
        "from gui.server import serve",
    ),
    Rule(
        "the page imports answers, records and the validation of a configuration, and starts commands for all else",
        files("gui"),
        knowing_more_than_the_page_needs,
        "from doctor.fixes.executor import apply",
    ),
    Rule(
        "nothing is shown as HTML",
        files("gui"),
        calling("html", "markdown", "add_body_html"),
        "ui.html(name)",
    ),
    Rule(
        "only the host touches the machine",
        files("doctor", but=("doctor/host/", "doctor/lock")),
        touching_the_machine,
        "import os\nos.environ['PATH']",
    ),
    Rule(
        "only the host and the named files change files",
        files("doctor", but=("doctor/host/", *DOORS)),
        changing_files,
        "path.write_text('')",
    ),
    Rule(
        "the doctor does not import platform, which can hang on Windows",
        files("doctor"),
        importing("platform"),
        "import platform",
    ),
    Rule(
        "files of others are read through doctor.bounded",
        files("doctor", "gui", "trainer", "wheels", but=(*READERS,)),
        reading_files,
        "path.read_bytes()",
    ),
    Rule("no command goes through a shell", files("doctor", "gui"), using_a_shell, "run('dir', shell=True)"),
    Rule(
        "only actions change the machine, only elevation asks for rights",
        # guard runs the command that the user gives
        files(
            "doctor",
            but=("doctor/host/", "doctor/actions/", "doctor/fixes/elevation", "doctor/commands/guard"),
        ),
        calling(*CHANGES),
        "host.set_variable('PATH', None)",
    ),
    Rule(
        "only the executor applies actions",
        files("doctor", but=("doctor/fixes/executor", "doctor/install/")),
        calling("apply"),
        "step.action.apply(host)",
    ),
    Rule(
        "only commands write to stdout",
        files("doctor", but=(*COMMANDS, "doctor/host/nvml_child", "doctor/host/python_query")),
        printing,
        "print('a report')",
    ),
    Rule(
        "the trainer shows text through trainer/commands/output or the reporter, which escape it",
        files(
            "trainer",
            # children that print JSON
            but=(
                "trainer/commands/output",
                "trainer/attention/prove",
                "trainer/distributed/cluster_probe",
                "trainer/planning/measured_step",
            ),
        ),
        showing,
        "typer.echo(name)",
    ),
    Rule(
        "only commands import the command-line library",
        files("doctor", but=COMMANDS),
        knowing_the_command_line,
        "import typer",
    ),
    *(
        Rule(
            f"a module of {package} imports from its own room and from earlier ones",
            files(package, but=(f"{package}/__init__", "gui/commands")),  # above which there is nothing
            looking_up,
            f"from {package}.{ORDERS[package][-1][0]} import something",
        )
        for package in ORDERS
    ),
    Rule(
        "a probe asks its host and judges nothing",
        files(
            "doctor/probes", but=("doctor/probes/wheel_catalogue",)
        ),  # reads aios' own catalogue, not the machine
        beyond_a_probe,
        "from doctor.host import Host",
    ),
    Rule(
        "a check sees facts and no host",
        files("doctor/checks"),
        beyond_a_check,
        "from doctor.host import Reader",
    ),
    Rule(
        "a check's file reads in one order",
        files("doctor/checks"),
        out_of_order,
        "def judge(): ...\nLIMIT = 1\nCHECK = Check()",
    ),
    Rule(
        f"no function of a check has more than {LONGEST_JUDGE} lines",
        files("doctor/checks"),
        long_judgements,
        "def judge():\n" + "    pass\n" * LONGEST_JUDGE,
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_file_follows_the_rule(rule: Rule) -> None:
    broken = {
        path: offences
        for path in rule.files
        if (offences := [*rule.offences(path, ast.parse((ROOT / path).read_text(encoding="utf-8")))])
    }
    assert rule.files and not broken


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_rule_notices_a_violation(rule: Rule) -> None:
    assert [*rule.offences(rule.files[0], ast.parse(rule.broken_by))]


@pytest.mark.parametrize(
    "source",
    [
        "import shutil",
        "from tempfile import TemporaryDirectory",
        "from doctor.files import write_atomically",
        "path.write_bytes(b'')",
        "path.parent.mkdir()",
        "path.unlink()",
        "path.rename(target)",
        "path.replace(target)",
        "path.touch()",
        "path.rmdir()",
        "path.open('ab' if more else 'wb')",
        "open(path, mode='w')",
        "os.replace(path, target)",
    ],
)
def test_every_way_to_change_a_file_is_noticed(source: str) -> None:
    assert [*changing_files("", ast.parse(source))]


@pytest.mark.parametrize(
    "source",
    [
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "text.replace('a', 'b')",
        "replace(finding, status='ok')",
    ],
)
def test_reading_changes_no_file(source: str) -> None:
    assert not [*changing_files("", ast.parse(source))]


@pytest.mark.parametrize(
    "source",
    [
        "path.read_text('utf-8')",
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "open(path)",
        "os.open(path, os.O_RDONLY)",
        "json.loads(line)",
    ],
)
def test_every_way_to_read_a_file_is_noticed(source: str) -> None:
    assert [*reading_files("", ast.parse(source))]


@pytest.mark.parametrize(
    "source", ["read_text(path)", "source.open()", "path.open('ab')", "parse_json(line)"]
)
def test_a_bounded_reader_is_none_of_them(source: str) -> None:
    assert not [*reading_files("", ast.parse(source))]


@pytest.mark.parametrize("source", ["import urllib.request", "from http.client import HTTPSConnection"])
def test_a_connection_is_noticed(source: str) -> None:
    assert [*touching_the_machine("", ast.parse(source))]


def test_every_named_file_changes_files() -> None:
    for door in DOORS:
        assert [*changing_files(door, ast.parse((ROOT / f"{door}.py").read_text(encoding="utf-8")))], door


def test_every_named_reader_reads_files() -> None:
    for door in READERS:
        assert [*reading_files(door, ast.parse((ROOT / f"{door}.py").read_text(encoding="utf-8")))], door


def test_a_checks_file_is_called_like_the_check() -> None:
    for check in CHECKS:
        path = f"doctor/checks/{check.group.replace('-', '_')}/{check.id.replace('-', '_')}.py"
        assert (ROOT / path).is_file(), f"{check.id} is not in {path}"


@pytest.mark.parametrize("package", ORDERS)
def test_every_room_has_its_floor(package: str) -> None:
    rooms = {room_of(module_of(path)) for path in files(package)} - {package}
    assert rooms == {room for room in FLOORS if room.startswith(f"{package}.")}


@pytest.mark.parametrize("package", ORDERS)
def test_rooms_import_each_other_in_no_circle(package: str) -> None:
    arrows = arrows_between_rooms(package)
    assert arrows and not circles(arrows)


def test_a_circle_is_noticed() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == {"a", "b", "c"}
