"""What state files mean: whatever the way, what the parser says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.leaving_out import leave_out
from reconcile.packing import PackedPart, unpack
from reconcile.reading import StateText, read_documents
from reconcile.understanding import Whole, understand, understand_each
from schemas.errors import Problem, StateError
from schemas.parse import parse_client, parse_gateway
from schemas.part import combine, fit
from schemas.roles import Role
from schemas.state import State
from tests.schemas.test_part import VALUES
from tests.schemas.test_states import INVALID, VALID

#: What may be said of texts: the state, what was left out, the problems.
Said = tuple[State | None, tuple[Problem, ...], tuple[Problem, ...]]


def texts_of(*values: object, owned: bool = False) -> tuple[StateText, ...]:
    """A file for each value; the last of them may be Tidegate's own."""
    last = len(values) - 1
    return tuple(
        StateText(
            name=f"{number}.json",
            directory="/etc",
            data=json.dumps(value).encode(),
            owned=owned and number == last,
        )
        for number, value in enumerate(values)
    )


def by_the_parser(texts: tuple[StateText, ...], role: Role) -> Said:
    documents, problems = read_documents(texts)
    if problems:
        return None, (), problems
    parse = parse_gateway if role is Role.GATEWAY else parse_client
    try:
        return parse(documents), (), ()
    except StateError as error:
        rest = leave_out(documents, error.problems)
        if rest is None:
            return None, (), error.problems
        try:
            return parse(rest[0]), rest[1], ()
        except StateError:
            return None, (), error.problems


def said(whole: Whole) -> Said:
    if whole.problems:
        return None, (), whole.problems
    return combine([unpack(part, {}) for part in whole.parts]), whole.left_out, ()


@given(values=st.lists(VALUES, max_size=4), owned=st.booleans())
def test_whatever_the_files_hold_the_state_or_its_problems_are_those_of_the_parser(
    values: list[dict[str, object]], owned: bool
) -> None:
    texts = texts_of(*values, owned=owned)

    assert said(understand(texts, Role.GATEWAY)) == by_the_parser(texts, Role.GATEWAY)


@pytest.mark.parametrize("path", [*INVALID, *VALID], ids=lambda path: path.name)
@pytest.mark.parametrize("role", Role)
def test_every_state_file_there_is_means_what_the_parser_says(path: Path, role: Role) -> None:
    texts = (StateText(name=path.name, directory="/etc", data=path.read_bytes()),)

    assert said(understand(texts, role)) == by_the_parser(texts, role)


@given(values=st.lists(VALUES, min_size=1, max_size=4), owned=st.booleans())
def test_files_read_one_by_one_are_the_state_that_they_are_together(
    values: list[dict[str, object]], owned: bool
) -> None:
    texts = texts_of(*values, owned=owned)

    each = understand_each(texts, Role.GATEWAY)

    good = [unpack(part, {}) for part in each if isinstance(part, PackedPart)]
    state, left_out, problems = by_the_parser(texts, Role.GATEWAY)
    if problems or left_out:
        assert len(good) < len(each) or fit(good) is None
    else:
        assert fit(good) == state


def test_a_text_that_cannot_be_read_is_no_part() -> None:
    broken = StateText(name="a.yaml", directory="/etc", data=b"tunnels: [")
    unknown = StateText(name="a.txt", directory="/etc", data=b"tidegate: 1")

    assert understand_each([broken, unknown], Role.GATEWAY) == (None, None)
