"""The reference of a state file, as a page for people.

Rule: everything on it comes from the JSON Schema, so that an editor and the page say
the same, and neither can be out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from .json_schema import schema_of
from .roles import Role

_INTRODUCTION: Final = """\
# The state file of a {role}

One file in YAML, TOML or JSON, by its name; or a directory of them, which count as one file together.
`tidegate check` says of a file whether it is valid, and what is not, with the line.
"""


def reference_page(role: Role) -> str:
    """The page, in Markdown."""
    schema = schema_of(role)
    parts = [_INTRODUCTION.format(role=role.value), *_section("", schema)]
    return "\n".join(parts)


def _section(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """The keys of one mapping, and after them a section for each that holds keys itself."""
    deeper: list[tuple[str, dict[str, Any]]] = []
    lines = []
    for key, written in schema["properties"].items():
        path = f"{name}.{key}" if name else key
        of_entry = written.get("items", written)
        if "properties" in of_entry:
            deeper.append((path, written))
        lines.append(_key(key, written, required=key in schema["required"]))
    yield "".join(lines)
    for path, written in deeper:
        yield f"## {path}\n\n{written['description']}\n"
        yield from _section(path, written.get("items", written))


def _key(name: str, written: dict[str, Any], *, required: bool) -> str:
    example = next(iter(written.get("examples", ())), None)
    needed = ", needed" if required else ""
    told = "" if example is None else f" For example `{_spelled(example)}`."
    choices = "" if "enum" not in written else f" One of {', '.join(f'`{one}`' for one in written['enum'])}."
    return f"- `{name}`{needed}: {written['description']}{choices}{told}\n"


def _spelled(example: object) -> str:
    return example if isinstance(example, str) else json.dumps(example)
