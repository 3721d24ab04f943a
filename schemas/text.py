"""A state file's bytes to a document: a value, and where everything in it stands.

Rule: any bytes give a ``Document`` or a ``StateError`` with places, never anything
else, and never take much more memory than they are long. What the keys mean is
none of this file's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from typing import Final

from .errors import Place, Problem, StateError
from .positions import MAX_DEPTH, TOO_DEEP, Path, Position, place, walk
from .quoting import kind

# About 100,000 tunnels. A larger file is a mistake, or an attempt to keep the agent busy.
MAX_BYTES: Final = 16 * 1024 * 1024

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
# Half of a character: JSON can spell one, and nothing can be done with it.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# The line with which Git begins what it could not merge.
_CONFLICT: Final = re.compile(r"^<<<<<<< ", re.MULTILINE)


class Syntax(Enum):
    """In which language a document is written."""

    YAML = "YAML"
    TOML = "TOML"
    JSON = "JSON"


_BY_SUFFIX: Final = {".yaml": Syntax.YAML, ".yml": Syntax.YAML, ".toml": Syntax.TOML, ".json": Syntax.JSON}


class Document:
    """One state file, read and not yet understood.

    ``name`` is how messages call the file; relative paths in it start at
    ``directory``; ``owned`` says that it is the fragment Tidegate writes itself.
    """

    def __init__(
        self,
        value: dict[str, object],
        *,
        name: str,
        directory: str,
        owned: bool = False,
        positions: Callable[[], Position] = lambda: Position((1, 1)),
    ) -> None:
        self.value = value
        self.name = name
        self.directory = directory
        self.owned = owned
        self._read_positions = positions

    def locate(self, path: Path, *, key: bool = False) -> Place:
        """Where the value at that path starts, or with ``key`` the key it stands behind.

        A path that leads nowhere gives the deepest place on the way to it.
        """
        return place(self.name, self._positions.find(path, key=key))

    @cached_property
    def _positions(self) -> Position:
        return self._read_positions()

    def __repr__(self) -> str:
        # The value may hold a key.
        return f"Document(name={self.name!r}, owned={self.owned})"


def syntax_for(filename: str) -> Syntax:
    """The syntax of a file, by the end of its name.

    :raises StateError: if the end is none of ``.yaml``, ``.yml``, ``.toml``, ``.json``.
    """
    suffix = PurePath(filename).suffix.lower()
    if suffix not in _BY_SUFFIX:
        message = (
            "the name of a state file ends in .yaml, .yml, .toml or .json; rename the file after its syntax"
        )
        raise StateError([Problem(Place(filename, 1, 1), message)])
    return _BY_SUFFIX[suffix]


def read_document(data: bytes, *, name: str, directory: str, syntax: Syntax, owned: bool = False) -> Document:
    """Read one file.

    :raises StateError: if it is too long, not UTF-8, not in that syntax, nested too
        deeply, empty, or anything but a mapping; also if a key stands twice.
    """
    text = _decode(data, name)
    try:
        value, positions = _parse(text, name, syntax)
    except StateError:
        conflict = _CONFLICT.search(text)
        if conflict is None:
            raise
        where = Place(name, text.count("\n", 0, conflict.start()) + 1, 1)
        message = "Git could not merge two versions of this and left both; choose, and remove its marks"
        raise StateError([Problem(where, message)]) from None
    if value is None or value == {}:
        message = (
            "the file holds no state; a state file starts with the version, for example tidegate: 1 in YAML"
        )
        raise StateError([Problem(Place(name, 1, 1), message)])
    if not isinstance(value, dict):
        message = f"a state file is a mapping of keys such as gateway, and {kind(value)} stands here"
        raise StateError([Problem(place(name, positions().find(())), message)])
    document = Document(value, name=name, directory=directory, owned=owned, positions=positions)
    if syntax is not Syntax.YAML:  # its reader limits the depth itself
        _refuse_depth(document)
    if "\\u" in text.lower():  # only an escape can spell half a character in UTF-8
        _refuse_surrogates(document)
    return document


def _parse(text: str, name: str, syntax: Syntax) -> tuple[object, Callable[[], Position]]:
    # One process reads one or two of the syntaxes, and keeps what it has loaded.
    match syntax:
        case Syntax.YAML:
            from .yaml_text import read_yaml_value, yaml_positions

            return read_yaml_value(text, file=name), lambda: yaml_positions(text)
        case Syntax.TOML:
            from .toml_text import read_toml, toml_positions

            return read_toml(text, file=name), lambda: toml_positions(text)
        case Syntax.JSON:
            from .json_text import json_positions, read_json

            # RFC 8259 has no empty document, but "a value is missing" would not help anybody.
            return read_json(text, file=name) if text.strip() else None, lambda: json_positions(text)


def _decode(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        length = f"{len(data) / 2**20:.1f} MiB long; a state file has at most {MAX_BYTES // 2**20} MiB"
        raise StateError([Problem(Place(name, 1, 1), f"the file is {length}")])
    if data.startswith(_UTF16_MARKS):
        raise StateError([Problem(Place(name, 1, 1), "the file is in UTF-16; save it as UTF-8")])
    data = data.removeprefix(_UTF8_MARK)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        where = Place(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise StateError([Problem(where, message)]) from None


def _refuse_depth(document: Document) -> None:
    for path, _ in walk(document.value):
        if len(path) > MAX_DEPTH:
            raise StateError([Problem(document.locate(path[:MAX_DEPTH]), TOO_DEEP)])


def _refuse_surrogates(document: Document) -> None:
    problems = [
        Problem(document.locate(path), "an escape here is half of a character; write the character itself")
        for path, value in walk(document.value)
        for text in (*path[-1:], value)
        if isinstance(text, str) and _SURROGATE.search(text)
    ]
    if problems:
        raise StateError(problems)
