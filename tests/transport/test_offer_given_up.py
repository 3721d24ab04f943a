"""An offer that is given up for holding too much is told of once, as a failure, and then holds nothing."""

from __future__ import annotations

import pytest

from schemas.messages import FailureCode
from tests.support.mux_pair import data_frame
from transport.pump.held import Held
from transport.wire.frames import SYN
from transport.wire.mux import Role

from .test_offer import HEADER, OfferingEnd


@pytest.fixture
def end() -> OfferingEnd:
    made = OfferingEnd(Role.CLIENT)
    made.held = Held(len(HEADER) + 10)
    return made


def test_who_was_ready_and_holds_too_much_fails(end: OfferingEnd) -> None:
    end.receive(data_frame(2, HEADER, SYN) + data_frame(2, bytes(100)))

    assert [offer.header is not None for offer in end.ready] == [True]
    assert [code for _, code, _ in end.failed] == [FailureCode.OTHER]
    assert end.held.size == 0


def test_who_holds_too_much_at_once_fails_and_is_never_ready(end: OfferingEnd) -> None:
    """A dial for it would be for nobody: its stream is being reset."""
    end.receive(data_frame(2, HEADER + bytes(100), SYN))

    assert end.ready == []
    assert [code for _, code, _ in end.failed] == [FailureCode.OTHER]
