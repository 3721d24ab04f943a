"""YAML text to values, by the core schema of YAML 1.2.

Rule: PyYAML supplies the events of the syntax and nothing more. What a scalar
means is decided here (YAML 1.2, section 10.3.2), because PyYAML reads YAML 1.1:
there ``22:22`` is 1342, ``on`` is true and ``010`` is eight.

Decision: values are built from events rather than from PyYAML's nodes. Its C
composer recurses for each level of nesting without a limit, so that a file of
brackets would end the process; events also give one place to refuse duplicate
keys, tags and aliases that multiply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from .errors import Problem, StateError
from .positions import MAX_DEPTH, TOO_DEEP, Position, Spot, duplicate_key, place, spot_at
from .quoting import quote

# The C parser is about ten times as fast; a platform without libyaml gets the same answers,
# and reads a few spellings such as {a:} that libyaml refuses.
LOADERS: Final[tuple[type[Any], ...]] = (
    (yaml.CSafeLoader, yaml.SafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)
)

# What aliases add to a document, in values. "Billion laughs" adds 10**9 with ten lines.
_MOST_ALIASED: Final = 100_000

# YAML 1.2, section 5.1: everything else needs an escape in a quoted text.
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)

_CORE: Final = "tag:yaml.org,2002:"
_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOL: Final = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT: Final = re.compile(r"(?P<octal>0o[0-7]+)|(?P<hex>0x[0-9a-fA-F]+)|[-+]?[0-9]+")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_MAYBE_NOT_TEXT: Final = frozenset("-+.0123456789~nNtTfF")
# Python refuses to convert more than 4300 digits, and no state file holds a tenth of that.
_MOST_DIGITS: Final = 400


def read_yaml(text: str, *, file: str, loader: type[Any] = LOADERS[0]) -> tuple[object, Position]:
    """The one document in the text and where everything stands in it; None if it holds no value.

    :raises StateError: with every duplicate key and refused tag, or with the syntax error.
    """
    composer = _compose(text, _Composer(file), loader)
    return composer.value, composer.position


def read_yaml_value(text: str, *, file: str, loader: type[Any] = LOADERS[0]) -> object:
    """The value alone, for a third less time and half the memory: where things stand is mostly never asked.

    :raises StateError: as ``read_yaml``.
    """
    try:
        return _compose(text, _Composer(file, _nowhere), loader).value
    except StateError:
        return read_yaml(text, file=file, loader=loader)[0]  # which knows the places of the problems


def yaml_positions(text: str) -> Position:
    """Where everything in a text that ``read_yaml`` accepts stands."""
    return read_yaml(text, file="")[1]


def _compose(text: str, composer: _Composer, loader: type[Any]) -> _Composer:
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        problem = f"the character {quote(bad[0])} cannot stand in a YAML file; remove it"
        raise StateError([Problem(place(composer.file, spot_at(text, bad.start())), problem)])
    try:
        for event in _events(text, loader):
            composer.take(event)
    except yaml.YAMLError as error:
        from .yaml_syntax_errors import explain  # most agents never read a broken file

        composer.problems.append(explain(error, text, file=composer.file))
    except _HopelessError:
        pass
    if composer.problems:
        raise StateError(composer.problems)
    return composer


def _events(text: str, loader: type[Any]) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=loader)


class _HopelessError(Exception):
    """Reading further would cost too much or say nothing useful."""


class _Nowhere(Position):
    """The position of everything, where nobody asks for positions."""

    __slots__ = ()

    def put(self, key: str, at: Spot, position: Position) -> None:
        pass

    def append(self, position: Position) -> None:
        pass


_NOWHERE: Final = _Nowhere((1, 1))


def _somewhere(event: Any) -> Position:
    return Position(_spot(event))


def _nowhere(event: Any) -> Position:
    return _NOWHERE


@dataclass(slots=True, eq=False)
class _Open:
    """A mapping or a list that has begun and not ended."""

    value: dict[str, object] | list[object]
    position: Position
    anchor: str | None
    size: int = 1
    key: str | None = None  # of a mapping, while its value is awaited
    key_spot: Spot = (1, 1)


@dataclass(slots=True, eq=False)
class _Anchored:
    value: object
    position: Position
    size: int


@dataclass(slots=True, eq=False)
class _Composer:
    """Events in, one value and its positions out.

    :param position_of: where the value of an event starts.
    """

    file: str
    position_of: Callable[[Any], Position] = _somewhere
    problems: list[Problem] = field(default_factory=list)
    value: object = None
    position: Position = field(default_factory=lambda: Position((1, 1)))
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, _Anchored | None] = field(default_factory=dict)  # None: begun, not ended
    _documents: int = 0
    _aliased: int = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._begin(event, {}, "map")
            case yaml.SequenceStartEvent():
                self._begin(event, [], "seq")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._report(event, "a second document starts here; a state file holds one")
                    raise _HopelessError
            case _:
                pass  # the ends of the stream and of the document say nothing

    def _scalar(self, event: Any) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.key is None and isinstance(parent.value, dict):
            self._key(event, parent)
            return
        value = self._resolve(event)
        position = self.position_of(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, position, 1)
        self._put(value, position, 1)

    def _key(self, event: Any, parent: _Open) -> None:
        key = self._resolve(event)
        if event.value == "<<" and event.implicit[0]:
            self._report(event, 'merge keys ("<<") are not part of YAML 1.2; write the keys out')
        elif not isinstance(key, str):
            self._report(event, f'a key must be a text; write it in quotes: "{event.value[:40]}"')
        elif key in parent.value:
            first = parent.position.key(key) or (1, 1)
            self.problems.append(duplicate_key(self.file, key, first, _spot(event)))
        parent.key = key if isinstance(key, str) else event.value
        parent.key_spot = _spot(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(key, self.position_of(event), 1)

    def _begin(self, event: Any, value: dict[str, object] | list[object], kind: str) -> None:
        self._refuse_as_key(event)
        if len(self._open) >= MAX_DEPTH:
            self._report(event, TOO_DEEP)
            raise _HopelessError
        if event.tag not in (None, "!", _CORE + kind):
            self._refuse_tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(value, self.position_of(event), event.anchor))

    def _end(self) -> None:
        ended = self._open.pop()
        if ended.anchor is not None:
            self._anchors[ended.anchor] = _Anchored(ended.value, ended.position, ended.size)
        self._put(ended.value, ended.position, ended.size)

    def _alias(self, event: Any) -> None:
        self._refuse_as_key(event)
        if event.anchor not in self._anchors:
            self._report(
                event,
                f"no anchor {quote('&' + event.anchor)} stands before this alias; "
                'a text that starts with "*" must be in quotes',
            )
            self._put(None, self.position_of(event), 1)
            return
        anchored = self._anchors[event.anchor]
        if anchored is None:
            self._report(event, "this alias stands inside of what it stands for; write the value out")
            raise _HopelessError
        self._aliased += anchored.size
        if self._aliased > _MOST_ALIASED:
            self._report(
                event, f"the aliases of this file stand for more than {_MOST_ALIASED} values; write them out"
            )
            raise _HopelessError
        self._put(anchored.value, anchored.position, anchored.size)

    def _put(self, value: object, position: Position, size: int) -> None:
        if not self._open:
            self.value, self.position = value, position
            return
        parent = self._open[-1]
        parent.size += size
        match parent.value:
            case list() as items:
                parent.position.append(position)
                items.append(value)
            case dict() as entries:
                key = parent.key or ""
                parent.key = None
                entries[key] = value
                parent.position.put(key, parent.key_spot, position)

    def _resolve(self, event: Any) -> object:
        text: str = event.value
        tag: str | None = event.tag
        if tag is None:
            plain: bool = event.implicit[0]
            if not plain or (text and text[0] not in _MAYBE_NOT_TEXT):
                return text
            return self._by_core_schema(event, text)
        if tag in ("!", _CORE + "str"):
            return text
        wanted = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}.get(tag.removeprefix(_CORE))
        if wanted is None or not tag.startswith(_CORE):
            self._refuse_tag(event)
        elif not wanted.fullmatch(text):
            self._report(event, f"this is not what its tag !!{tag.removeprefix(_CORE)} says; remove the tag")
        else:
            return self._by_core_schema(event, text)
        return text

    def _by_core_schema(self, event: Any, text: str) -> object:
        if _NULL.fullmatch(text):
            return None
        if boolean := _BOOL.fullmatch(text):
            return boolean[1] is not None
        if integer := _INT.fullmatch(text):
            if len(text) > _MOST_DIGITS:
                self._report(event, "this number has too many digits; if it is a text, put it in quotes")
                return 0
            return int(text, 8 if integer["octal"] else 16 if integer["hex"] else 10)
        if _FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)
        return text

    def _refuse_as_key(self, event: Any) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.key is None and isinstance(parent.value, dict):
            self._report(
                event, "a key must be a text, and a list, a mapping or an alias stands here; write a name"
            )
            raise _HopelessError

    def _refuse_tag(self, event: Any) -> None:
        self._report(event, f"the tag {quote(_shorten_tag(event.tag))} is not supported; remove it")

    def _report(self, event: Any, message: str) -> None:
        self.problems.append(Problem(place(self.file, _spot(event)), message))


def _shorten_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag


def _spot(event: Any) -> Spot:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
