from __future__ import annotations

import pytest

from schemas.errors import Place, Problem, StateError, TidegateError

HERE = Place("gateway.yaml", 3, 5)
THERE = Place("more.yaml", 1, 2)


def test_a_problem_reads_as_file_line_column_message() -> None:
    assert str(Problem(HERE, "unknown key")) == "gateway.yaml:3:5: unknown key"


def test_a_clash_names_the_other_place_too() -> None:
    assert (
        str(Problem(HERE, "a second time", see=THERE))
        == "gateway.yaml:3:5: a second time (see more.yaml:1:2)"
    )


def test_a_problem_without_a_place_is_its_message() -> None:
    assert str(Problem(None, "no file")) == "no file"


def test_a_state_error_is_one_line_a_problem() -> None:
    error = StateError([Problem(HERE, "one"), Problem(THERE, "two")])
    assert isinstance(error, TidegateError)
    assert str(error) == "gateway.yaml:3:5: one\nmore.yaml:1:2: two"
    assert error.problems == (Problem(HERE, "one"), Problem(THERE, "two"))


def test_a_state_error_without_a_problem_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        StateError([])


def test_places_sort_by_file_then_line_then_column() -> None:
    assert sorted([THERE, Place("gateway.yaml", 10, 1), HERE]) == [HERE, Place("gateway.yaml", 10, 1), THERE]
