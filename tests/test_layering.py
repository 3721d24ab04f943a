"""Four rooms, one direction, and a pure core: what each file may import.

The picture is in design.md's words: agent above reconcile and transport, which never meet, above schemas.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from .support.source import PURE, ROOMS, ROOT, SOURCE, TESTS, has_code, imports, is_pure, name

MAY_IMPORT: Final[dict[str, set[str]]] = {
    "schemas": {
        "idna", "pydantic", "pydantic_core", "tomli_w",
        "tree_sitter", "tree_sitter_json", "tree_sitter_toml", "yaml",
    },
    "transport": {"schemas", "aiofastnet", "anyio", "structlog", "uvloop", "websockets"},
    "reconcile": {"schemas", "anyio", "structlog", "watchfiles"},
    "agent": {
        "schemas", "transport", "reconcile",
        "anyio", "cryptography", "httpx2", "pydantic", "pydantic_core", "rich", "starlette", "structlog",
        "typer", "uvicorn",
    },
}  # fmt: skip

# Folders of the program that know only some of the others. What is not listed may know everything.
AGENT_MAY_KNOW: Final[dict[str, set[str]]] = {
    "gateway": {"api", "keys", "logs", "past", "process"},
    "client": {"api", "keys", "logs", "past", "process"},
    "view": set(),
    "past": {"api", "process"},
    "logs": set(),
    "keys": set(),
    "process": set(),
}

IMPURE: Final = {
    # waiting
    "aiofastnet", "anyio", "asyncio", "concurrent", "multiprocessing", "queue", "sched", "select",
    "selectors", "signal", "sniffio", "subprocess", "threading", "uvloop", "watchfiles",
    # the machine
    "fcntl", "glob", "http", "io", "os", "pty", "resource", "shutil", "socket", "ssl", "sys", "tempfile",
    "urllib",
    # clocks, chance, logs
    "logging", "random", "secrets", "structlog", "time", "uuid", "warnings",
}  # fmt: skip

# A part of IMPURE that nothing pure leads to, however indirectly. pydantic itself loads socket, random and
# threading, so those cannot be looked for.
NOT_LOADED: Final = {"aiofastnet", "anyio", "asyncio", "structlog", "uvloop", "watchfiles"}

# What needs no import and still is not pure.
IMPURE_CALLS: Final = {
    "breakpoint",
    "input",
    "open",
    "print",
    "now",
    "today",
    "utcnow",
    "read_text",
    "read_bytes",
}

# A source file that no test file is named after, and why that is right.
TESTED_ELSEWHERE: Final[dict[str, str]] = {
    "agent/__main__.py": "calls main; every end-to-end test starts its agents with it",
    "agent/dialed.py": "what services and egress have in common; test_services.py and test_egress.py run it",
    "agent/gateway/egress_connection.py": "one connection of Egress, and nothing without it: test_egress.py",
    "agent/keeping.py": "how both roles begin and end: test_role.py of each role runs it",
    "agent/commands/operations.py": "as they are typed; tests/agent/commands/test_app.py has all of them",
    "schemas/log_level.py": "an Enum; tests/agent/logs/test_pipeline.py has every level",
    "schemas/plan_report.py": "models without behavior; tests/agent/test_planning.py sees them filled in",
    "schemas/apply_report.py": "models without behavior; tests/agent/commands/test_apply.py reads them",
    "schemas/failure_report.py": "models without behavior; tests/agent/commands/test_complaint.py reads them",
    "schemas/confirmation.py": "models without behavior; tests/agent/past/test_confirmation.py fills them",
    "schemas/history_report.py": "models without behavior; tests/agent/api/test_history.py fills them in",
    "schemas/status.py": "models without behavior; tests/agent/gateway/test_status.py sees them filled in",
    "transport/pump/relay_owner.py": "a Protocol; tests/transport/pump/test_relay.py holds what it says",
    "transport/pump/relay_phase.py": "an Enum; tests/transport/pump/test_relay.py leads a relay through it",
    "agent/logs/choices.py": "two Enums; tests/agent/logs/test_pipeline.py shows what each member means",
    "reconcile/actuator.py": "a Protocol; whatever implements it is tested under its own name",
}

# Declared although no file imports them, and why that is right.
USED_WITHOUT_IMPORT: Final[dict[str, str]] = {
    "uvloop": "anyio loads it by name when an event loop is started with use_uvloop",
    "mypy": "a command",
    "ruff": "a command",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "types-jsonschema": "read by mypy",
    "types-pyyaml": "read by mypy",
}

every_file = pytest.mark.parametrize("file", SOURCE, ids=name)
every_pure_file = pytest.mark.parametrize("file", [file for file in SOURCE if is_pure(file)], ids=name)


@every_file
def test_each_file_imports_only_what_its_room_may(file: Path) -> None:
    room = name(file).partition("/")[0]
    allowed = MAY_IMPORT[room] | {room} | sys.stdlib_module_names

    assert [found for found in imports(file) if found.top not in allowed] == []


@every_file
def test_an_import_is_relative_within_its_package_and_absolute_beyond_it(file: Path) -> None:
    package = ".".join(file.relative_to(ROOT).parent.parts)

    def is_within(module: str) -> bool:
        return f"{module}.".startswith(f"{package}.")

    assert [found for found in imports(file) if found.relative != is_within(found.module)] == []


@every_file
def test_a_folder_of_the_agent_knows_only_what_it_may(file: Path) -> None:
    match file.relative_to(ROOT).parts:
        case ("agent", folder, _) if folder in AGENT_MAY_KNOW:
            known = {parts[1] for found in imports(file) if len(parts := found.module.split(".")) > 2}
            ours = {path.name for path in (ROOT / "agent").iterdir() if path.is_dir()}

            assert (known & ours) - {folder} - AGENT_MAY_KNOW[folder] == set()
        case _:
            pass


@every_file
def test_only_the_byte_pump_imports_asyncio(file: Path) -> None:
    if not name(file).startswith("transport/pump/"):
        assert "asyncio" not in {found.top for found in imports(file)}


@every_pure_file
def test_a_pure_file_imports_nothing_that_waits_or_asks_the_machine(file: Path) -> None:
    assert [found for found in imports(file) if found.top in IMPURE] == []


@every_pure_file
def test_a_pure_file_calls_no_clock_and_opens_no_file(file: Path) -> None:
    calls = [
        node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]

    assert [ast.unparse(call) for call in calls if _called(call) in IMPURE_CALLS] == []


@every_pure_file
def test_a_pure_file_imports_only_pure_files_of_the_project(file: Path) -> None:
    ours = {found.file for found in imports(file)} - {None}

    assert [
        name(other) for other in ours if other is not None and not is_pure(other) and not _is_empty(other)
    ] == []


def test_every_file_on_the_pure_list_exists() -> None:
    assert [entry for entry in PURE if not (ROOT / entry).exists()] == []


def test_importing_the_pure_core_loads_no_event_loop_and_no_logger() -> None:
    modules = [
        name(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for file in SOURCE
        if is_pure(file)
    ]
    program = (
        f"import importlib, sys\nfor module in {modules!r}: importlib.import_module(module)\n"
        f"print(*sorted({NOT_LOADED!r} & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (result.stdout.split(), result.stderr) == ([], "")


def test_every_source_file_has_a_test_file_of_its_name() -> None:
    missing = [
        name(file)
        for file in SOURCE
        if not _is_empty(file) and name(file) not in TESTED_ELSEWHERE and not _test_file(file).exists()
    ]

    assert missing == []


def test_no_exemption_has_outlived_its_reason() -> None:
    assert [
        exempt
        for exempt in TESTED_ELSEWHERE
        if not (ROOT / exempt).exists() or _test_file(ROOT / exempt).exists()
    ] == []


def test_whatever_is_imported_is_declared_and_whatever_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    program = {_distribution(line) for line in project["dependencies"]}
    development = {_distribution(line) for line in project["optional-dependencies"]["dev"]}
    foreign = set(sys.stdlib_module_names) | {*ROOMS, "tests"}
    distributions = {
        top: {_distribution(d) for d in names} for top, names in packages_distributions().items()
    }

    def needed(files: tuple[Path, ...]) -> set[str]:
        tops = {found.top for file in files for found in imports(file)} - foreign
        named = {distribution for top in tops for distribution in distributions.get(top, {top})}
        return named - {"pydantic-core"}  # a part of pydantic, which pins its exact version

    used = needed(SOURCE)
    assert used - program == set()
    assert needed(TESTS) - program - development == set()
    assert program - used - USED_WITHOUT_IMPORT.keys() == set()
    assert development - needed(TESTS) - USED_WITHOUT_IMPORT.keys() == set()


def _called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=called) | ast.Attribute(attr=called):
            return called
        case _:
            return None


def _is_empty(file: Path) -> bool:
    return not has_code(ast.parse(file.read_text(encoding="utf-8")))


def _test_file(file: Path) -> Path:
    source = file.relative_to(ROOT)
    return ROOT / "tests" / source.parent / f"test_{source.name}"


def _distribution(requirement: str) -> str:
    """The normalized name at the start of a requirement (PEP 503)."""
    end = next((i for i, character in enumerate(requirement) if character in " <>=!~;["), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")
