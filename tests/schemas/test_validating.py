from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.functional_validators import PlainValidator

from schemas.validating import Fault, Reading, alone, one, one_of, or_none, several


class Tide(Enum):
    HIGH = "high"
    LOW = "low"


def faults(field: Any, value: object) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(field).validate_python(value, context=Reading(directory="/d"))
    (error,) = caught.value.errors()
    found: list[Fault] = list(error["ctx"]["faults"])
    return found


ONE = Annotated[Tide, PlainValidator(one(one_of(Tide, "a tide"), "a word", '"high"'))]
MAYBE = Annotated[Tide | None, PlainValidator(or_none(one(one_of(Tide, "a tide"), "a word", '"high"')))]
MANY = Annotated[
    tuple[Any, ...], PlainValidator(several(alone(str.lower), "a text", '"x"', empty="write one"))
]


def test_a_word_that_is_none_of_those_is_told_all_of_them() -> None:
    (fault,) = faults(ONE, "ebb")
    assert fault.message == '"ebb" is not a tide; write "high" or "low"'


def test_what_code_may_leave_out_a_file_may_not_leave_empty() -> None:
    assert TypeAdapter[Any](MAYBE).validate_python(None) is None
    (fault,) = faults(MAYBE, None)
    assert "no value stands where a word belongs" in fault.message


def test_every_fault_of_a_list_is_reported_at_its_place() -> None:
    assert [fault.path for fault in faults(MANY, ["a", 7, "A", None])] == [(1,), (2,), (3,)]
    assert [fault.message for fault in faults(MANY, [])] == ["the list is empty; write one"]


def test_one_text_is_a_list_of_one() -> None:
    assert TypeAdapter[Any](MANY).validate_python("A", context=Reading(directory="/d")) == ("a",)
