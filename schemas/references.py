"""Secret references: where a certificate or a key is to be found.

Rule: a state names its secrets and does not hold them, except as inline PEM, and
that is never shown: not in a message, not in a repr. Reading what a reference
points at is the business of whoever uses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, TypeAlias

from .quoting import PEM_START, kind

ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_ADVICE: Final = 'write a path, {file: "pki/x.pem"}, {env: "NAME"} or the PEM text itself'


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that holds PEM. Once parsed, ``path`` is resolved against the state file's directory."""

    path: str


@dataclass(frozen=True, slots=True)
class EnvRef:
    """An environment variable that holds PEM."""

    name: str


@dataclass(frozen=True, slots=True)
class InlinePem:
    """PEM written into the state file itself."""

    pem: str = field(repr=False)


Reference: TypeAlias = FileRef | EnvRef | InlinePem


def parse_reference(value: object, *, directory: str) -> Reference:
    """A reference as a file writes it: a path, PEM text, ``{file: …}`` or ``{env: …}``.

    :raises ValueError: if it is anything else. The message never quotes the value.
    """
    match value:
        case FileRef() | EnvRef() | InlinePem():
            return value
        case str() if PEM_START in value:
            return InlinePem(value)
        case str():
            return FileRef(resolve_path(value, directory=directory))
        case {"file": str() as path, **rest} if not rest:
            if PEM_START in path:
                raise ValueError("this is PEM text, not the path of a file; write the text without {file: …}")
            return FileRef(resolve_path(path, directory=directory))
        case {"env": str() as name, **rest} if not rest:
            if not ENV_NAME.fullmatch(name):
                raise ValueError(
                    "this is not the name of an environment variable; write one, for example GATEWAY_KEY"
                )
            return EnvRef(name)
        case dict():
            raise ValueError(f"this mapping is not a reference; {_ADVICE}")
        case _:
            raise ValueError(f"{kind(value)} stands where a certificate or key belongs; {_ADVICE}")


def resolve_path(text: str, *, directory: str) -> str:
    """A path as a file writes it, joined to the directory of that file.

    :raises ValueError: if it is empty, holds control characters, or starts with ``~``.
    """
    if not text.strip():
        raise ValueError("the path is empty; write the path of a file")
    if not text.isprintable():
        raise ValueError("the path holds a control character; write it on one line")
    if text.startswith("~"):
        raise ValueError("'~' is not expanded in a state file; write the whole path")
    return str(PurePath(directory) / text)
