"""What the state file calls a target, dialed.

Rule: whoever dials a service, for a visitor or to see whether it answers, does it in this way.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, assert_never

from schemas.names import Target, TcpTarget, UnixTarget
from transport.pump.relay import Relay, RelayOwner
from transport.pump.sockets import dial_tcp, dial_unix

DIAL_TIMEOUT: Final = 10.0
"""Seconds that a service may take to answer."""


def dial_target(target: Target, owner: RelayOwner) -> Coroutine[Any, Any, Relay]:
    """Connect a relay to a service.

    :raises OSError: if nothing answers there.
    """
    match target:
        case TcpTarget(host=host, port=port):
            return dial_tcp(host, port, owner)
        case UnixTarget(path=path):
            return dial_unix(path, owner)
    assert_never(target)
