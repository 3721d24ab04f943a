"""How a value from a file is taken in: one text or several, a word of a few, or nothing at all.

Rule: what a field does with a value of the wrong kind is decided here, once for all fields; what a
text means is known to the functions that are handed in. When a model is built by code rather than from a
file (no ``Reading`` in the validation context), values that are already parsed are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from .quoting import describe, quote

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

#: The type of the pydantic errors that carry ``Fault`` values in ``ctx["faults"]``.
FAULTS = "faults"


@dataclass(frozen=True, slots=True)
class Reading:
    """The validation context while a file is read: where its relative paths start."""

    directory: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong inside one field; ``path`` leads from the field to it, with ``key`` to its key."""

    message: str
    path: tuple[str | int, ...] = ()
    key: bool = False


def faulty(faults: Iterable[Fault]) -> PydanticCustomError:
    """An error that reports every fault of a field at once, in the one way pydantic can carry."""
    listed = tuple(faults)
    # pydantic fills {text} in; passing it as a value keeps braces in the text harmless.
    return PydanticCustomError(
        FAULTS, "{text}", {"text": "; ".join(f.message for f in listed), "faults": listed}
    )


def misplaced(value: object, wanted: str, example: str) -> str:
    """What to say about a value of the wrong kind. It quotes the value."""
    return f"{describe(value)} stands where {wanted} belongs; write, for example, {example}"


def one(parse: Callable[[str], T], wanted: str, example: str) -> Callable[[Any, ValidationInfo], T]:
    """A validator for a field that is one text."""

    def validate(value: Any, info: ValidationInfo) -> T:
        if isinstance(value, str):
            try:
                return parse(value)
            except ValueError as error:
                raise faulty([Fault(str(error))]) from None
        if info.context is None:
            return cast("T", value)
        raise faulty([Fault(misplaced(value, wanted, example))])

    return validate


def several(
    parse: Callable[[str], tuple[T, ...]],
    wanted: str,
    example: str,
    *,
    empty: str | None,
) -> Callable[[Any, ValidationInfo], tuple[T, ...]]:
    """A validator for a field that is one text or a list of them.

    ``empty`` is what to do about an empty list, None if it is legal. The same
    value twice is always a fault.
    """

    def validate(value: Any, info: ValidationInfo) -> tuple[T, ...]:
        if info.context is None and isinstance(value, tuple):
            return value
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            raise faulty([Fault(misplaced(value, wanted, example))])
        if not value and empty is not None:
            raise faulty([Fault(f"the list is empty; {empty}")])
        first: dict[T, str] = {}
        faults: list[Fault] = []
        for index, text in enumerate(value):
            if not isinstance(text, str):
                faults.append(Fault(misplaced(text, wanted, example), (index,)))
                continue
            try:
                parsed = parse(text)
            except ValueError as error:
                faults.append(Fault(str(error), (index,)))
                continue
            again = next((first[item] for item in parsed if item in first), None)
            if again is not None:
                covers = "stands here twice" if again == text else f"is already covered by {quote(again)}"
                faults.append(Fault(f"{quote(text)} {covers}; remove it", (index,)))
            first.update(dict.fromkeys(parsed, text))
        if faults:
            raise faulty(faults)
        return tuple(first)

    return validate


def alone(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """For :func:`several`: each text is one value."""
    return lambda text: (parse(text),)


def one_of(members: type[E], noun: str) -> Callable[[str], E]:
    """Reads one of a few words, which are the values of an Enum."""
    words = [f'"{member.value}"' for member in members]

    def parse(text: str) -> E:
        try:
            return members(text)
        except ValueError:
            raise ValueError(
                f"{quote(text)} is not {noun}; write {', '.join(words[:-1])} or {words[-1]}"
            ) from None

    return parse


def or_none(validate: Callable[[Any, ValidationInfo], T]) -> Callable[[Any, ValidationInfo], T | None]:
    """The same for a field that code may leave out; a file that names it gives it a value."""
    return lambda value, info: None if value is None and info.context is None else validate(value, info)
