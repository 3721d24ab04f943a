"""The class of an error says whose fault it was, and the code what a GOAWAY makes of it."""

from __future__ import annotations

import pytest

from schemas.errors import TidegateError
from transport.wire.errors import LocalProtocolError, ProtocolError, RemoteProtocolError


@pytest.mark.parametrize(("kind", "code"), [(RemoteProtocolError, 1), (LocalProtocolError, 2)])
def test_each_fault_has_its_code_and_may_be_given_another(kind: type[ProtocolError], code: int) -> None:
    assert code == kind("a frame is too long").code
    assert kind("a frame is too long", code=0).code == 0
    assert code == kind("the next one").code


def test_an_error_can_be_shown_to_a_person_and_caught_with_all_of_ours() -> None:
    assert issubclass(ProtocolError, TidegateError)
    assert str(RemoteProtocolError("a frame is too long", code=2)) == "a frame is too long"
