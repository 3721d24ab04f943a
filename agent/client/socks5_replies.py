"""What a program is told of a stream that a gateway did not open.

Rule: which reply of RFC 1928 section 6 stands for which failure is decided here, and nowhere else.
"""

from __future__ import annotations

from typing import Final

from schemas.messages import FailureCode
from transport.wire.socks5 import Reply

_REPLIES: Final = {
    FailureCode.NOT_ALLOWED: Reply.NOT_ALLOWED,
    # The RFC has no reply for a name that nobody knows.
    FailureCode.UNRESOLVABLE: Reply.HOST_UNREACHABLE,
    FailureCode.HOST_UNREACHABLE: Reply.HOST_UNREACHABLE,
    FailureCode.NETWORK_UNREACHABLE: Reply.NETWORK_UNREACHABLE,
    FailureCode.CONNECTION_REFUSED: Reply.CONNECTION_REFUSED,
    # A lifetime that ends on the way is the nearest to nobody answering in time.
    FailureCode.TIMED_OUT: Reply.TTL_EXPIRED,
}


def reply_to(code: FailureCode | None) -> Reply:
    """The reply that says why; None is a gateway that has said nothing, as those before egress do."""
    return Reply.GENERAL_FAILURE if code is None else _REPLIES.get(code, Reply.GENERAL_FAILURE)
