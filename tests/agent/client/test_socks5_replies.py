"""Every failure has one reply, and what nobody has thought of yet is a general failure."""

from __future__ import annotations

import pytest

from agent.client.socks5_replies import reply_to
from schemas.messages import FailureCode
from transport.wire.socks5 import Reply


@pytest.mark.parametrize("code", [None, *FailureCode])
def test_a_failure_is_never_a_success(code: FailureCode | None) -> None:
    assert reply_to(code) is not Reply.SUCCEEDED


def test_what_the_rfc_has_a_reply_for_has_that_reply() -> None:
    assert {code: reply_to(code) for code in FailureCode if reply_to(code) is not Reply.GENERAL_FAILURE} == {
        FailureCode.NOT_ALLOWED: Reply.NOT_ALLOWED,
        FailureCode.NETWORK_UNREACHABLE: Reply.NETWORK_UNREACHABLE,
        FailureCode.HOST_UNREACHABLE: Reply.HOST_UNREACHABLE,
        FailureCode.UNRESOLVABLE: Reply.HOST_UNREACHABLE,
        FailureCode.CONNECTION_REFUSED: Reply.CONNECTION_REFUSED,
        FailureCode.TIMED_OUT: Reply.TTL_EXPIRED,
    }


def test_a_gateway_that_says_nothing_is_a_general_failure() -> None:
    assert reply_to(None) is Reply.GENERAL_FAILURE
