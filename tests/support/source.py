"""The project's own source, as the tests about the house read it.

Rule: which files are source, what they import and which of them are pure is said here, once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = ("schemas", "transport", "reconcile", "agent")
SOURCE: Final = tuple(sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py")))
TESTS: Final = tuple(sorted((ROOT / "tests").rglob("*.py")))

# Folders, and files by their name: values in, values out. Add a file here as soon as it can be on the list.
PURE: Final = (
    "agent/api/naming.py",
    "agent/client/socks5_replies.py",
    "agent/gateway/absentees.py",
    "agent/gateway/balancing.py",
    "agent/gateway/egress_rules.py",
    "agent/gateway/explain.py",
    "agent/gateway/forwarders.py",
    "agent/gateway/outcomes.py",
    "agent/gateway/own_tunnels.py",
    "agent/gateway/precedence.py",
    "agent/gateway/question.py",
    "agent/gateway/refusal.py",
    "agent/gateway/revocation.py",
    "agent/gateway/rights.py",
    "agent/gateway/room.py",
    "agent/gateway/route_table.py",
    "agent/gateway/routing.py",
    "agent/gateway/special_addresses.py",
    "agent/gateway/standing.py",
    "agent/gateway/stranger_headers.py",
    "agent/keys/crl.py",
    "reconcile/actuator.py",
    "reconcile/conditions.py",
    "reconcile/desired.py",
    "reconcile/difference.py",
    "reconcile/guard.py",
    "reconcile/leaving_out.py",
    "reconcile/next_resources.py",
    "reconcile/observed.py",
    "reconcile/plan.py",
    "reconcile/preview.py",
    "reconcile/retry.py",
    "reconcile/spec_text.py",
    "schemas/",
    "transport/wire/",
)


def name(file: Path) -> str:
    """The path of a file as the project writes it: relative to its root, with slashes."""
    return file.relative_to(ROOT).as_posix()


def is_pure(file: Path) -> bool:
    return name(file).startswith(PURE)


def has_code(tree: ast.Module) -> bool:
    """Whether a module holds anything besides its docstring and ``from __future__``."""
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for node in tree.body
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name. ``module`` is spelled absolutely, also where the import is relative."""

    module: str
    member: str | None
    relative: bool
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def file(self) -> Path | None:
        """The file of the project that is imported, if it is one."""
        path = ROOT.joinpath(*self.module.split("."))
        candidates = (path / f"{self.member}.py", path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in candidates if file in _SOURCE), None)


def imports(file: Path) -> Iterator[Import]:
    """Every import in a file, also those inside functions and under TYPE_CHECKING."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module=alias.name, member=None, relative=False, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *filter(None, (node.module,))))
            for alias in node.names:
                yield Import(module=module, member=alias.name, relative=node.level > 0, line=node.lineno)


_SOURCE: Final = frozenset(SOURCE)
