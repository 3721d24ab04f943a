"""The PROXY header before a visitor of a public port: what it says, or why there is no good one.

Rule: the header is taken from what has been peeked at, before anything else is looked for in it. What comes
behind it is the visitor's, whatever it looks like.
"""

from __future__ import annotations

from transport.pump.relay import Relay
from transport.wire.errors import RemoteProtocolError
from transport.wire.proxy_protocol import ProxyHeader, peek_proxy_header

from .forwarders import NotProxiedError, complaint, silence


def take_header(relay: Relay, host: str, *, late: float | None = None) -> ProxyHeader | None:
    """The header before a visitor, or None if more of it has to come.

    :param host: the load balancer, as messages name it.
    :param late: the seconds it had, if they are over.
    :raises NotProxiedError: if there is no good one; says what to do.
    """
    try:
        header = peek_proxy_header(relay.early)
    except RemoteProtocolError as error:
        raise NotProxiedError(complaint(host, error)) from error
    if header is None:
        if relay.socket_ended or late is not None:
            raise NotProxiedError(silence(host, seconds=late))
        return None
    del relay.early[: header.size]
    return header
