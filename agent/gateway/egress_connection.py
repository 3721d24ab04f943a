"""One connection that the gateway makes for a client, and what is said of it.

Rule: a name is resolved once, each of its addresses is judged, and none but those are dialed. The rules that
count are those at the moment it is joined, and from then on whichever come into force. Whoever asked hears
what became of the destination as it was asked for, and never where a name leads.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.dialed import DialedConnection
from agent.process.descriptors import REMEDY, TOO_MANY
from schemas.messages import FailureCode
from schemas.names import HostPort
from transport.offer import Offer
from transport.pump.link import Link
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import dial_tcp
from transport.wire.egress_header import EgressHeader

from .egress_attempts import dial_first
from .egress_rules import Asked, ClientRules, Refusal, Standing
from .special_addresses import Address, unwrapped

if TYPE_CHECKING:
    from .connected_client import ConnectedClient
    from .egress import Egress

DIAL_TIMEOUT: Final = 10.0  # seconds, for finding the name's addresses and for dialing them
# Of the addresses of a name, which may have thousands. Each costs a question to the system.
MOST_JUDGED: Final = 64

_log: Any = structlog.get_logger("egress")

_NO_ROOM: Final = "the gateway has as many connections open for its clients, or for this one, as it may"
_UNREACHABLE: Final = (FailureCode.HOST_UNREACHABLE, "the gateway cannot reach that host")
_NO_WAY: Final = (FailureCode.NETWORK_UNREACHABLE, "the gateway has no way to that network")
_ERRORS: Final = {
    errno.ECONNREFUSED: (FailureCode.CONNECTION_REFUSED, "connection refused"),
    errno.ECONNRESET: (FailureCode.CONNECTION_REFUSED, "connection reset at once"),
    errno.ECONNABORTED: (FailureCode.CONNECTION_REFUSED, "connection reset at once"),
    errno.ETIMEDOUT: (FailureCode.TIMED_OUT, "no answer"),
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.EHOSTDOWN: _UNREACHABLE,
    errno.ENETUNREACH: _NO_WAY,
    errno.ENETDOWN: _NO_WAY,
    errno.EAFNOSUPPORT: _NO_WAY,
    errno.EACCES: (
        FailureCode.NOT_ALLOWED,
        "the gateway's own system does not permit that; see its firewall",
    ),
    errno.EPERM: (FailureCode.NOT_ALLOWED, "the gateway's own system does not permit that; see its firewall"),
}
_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class _FailedError(OSError):
    """A dial that came to nothing, and what is said of it: an error like those of the system."""

    def __init__(self, code: FailureCode, told: str, logged: str = "") -> None:
        super().__init__(told)
        self.code = code
        self.told = told
        self.logged = logged or told


class EgressConnection(DialedConnection):
    """The connection to one destination, for one client; the owner of its relay."""

    __slots__ = (
        "_asked", "_egress", "_failure", "_relay", "_source", "_standings", "address", "client", "wanted",
    )  # fmt: skip

    def __init__(self, egress: Egress, client: ConnectedClient, wanted: EgressHeader) -> None:
        super().__init__(client.lingering)
        self.client = client
        self.wanted = wanted
        self.address: Address | None = None  # that was dialed, once somebody has answered there
        self._egress = egress
        self._asked: Asked | None = None  # once the rules have let the host pass
        self._standings: dict[Address, Standing] = {}  # of those that the rules have let pass
        self._relay: Relay | None = None  # the first to answer
        self._source = ("", 0)  # our end of that
        self._failure: str | None = None  # why it is cut

    @property
    def destination(self) -> str:
        return str(HostPort(self.wanted.host, self.wanted.port))

    def ask(self, offer: Offer) -> bool:
        """Ask the rules about the host; whether there is anything to dial. If not, the offer is refused."""
        answer = self._egress.rules(self.client.id).ask(self.wanted.host, self.wanted.port)
        if isinstance(answer, Refusal):
            self.refuse(offer, FailureCode.NOT_ALLOWED, answer.told, answer.logged)
            return False
        self._asked = answer
        return True

    def refuse(self, offer: Offer, code: FailureCode, told: str, logged: str = "") -> None:
        """Do not dial, or no longer."""
        offer.refuse(code, told)
        event = "egress_refused" if code is FailureCode.NOT_ALLOWED else "egress_failed"
        is_ours = code in (FailureCode.NOT_ALLOWED, FailureCode.OTHER)  # something that an operator may mend
        self._say(_log.warning if is_ours else _log.info, event, code=code.value, reason=logged or told)
        self._egress.discard(self)

    def refusal(self, rules: ClientRules) -> Refusal | None:
        """Why these rules do not allow the address at which somebody answered; None if they do."""
        answer = rules.ask(self.wanted.host, self.wanted.port)
        if isinstance(answer, Refusal):
            return answer
        assert self.address is not None  # or nobody would have answered
        return rules.judge(answer, self.address, self._standings[self.address])

    def cut(self, why: str) -> None:
        """End it now."""
        self._failure = why
        if self._relay is not None:
            self._relay.abort()

    # DialedConnection

    async def _dialing(self) -> Relay:
        addresses = await self._find()
        sources = self._egress.sources
        if sources:
            addresses = [address for address in addresses if address.version in sources]
            if not addresses:
                raise _FailedError(
                    FailureCode.NETWORK_UNREACHABLE,
                    "the gateway has no address to dial such addresses from",
                    "egress.bind has no address of that family; add one, or leave egress.bind out",
                )
        return await dial_first(addresses, self._attempt)

    async def _find(self) -> list[Address]:
        """The addresses that may be dialed.

        :raises OSError: if there is none.
        """
        asked = self._asked
        assert asked is not None  # or nothing would be dialed
        if asked.address is not None:
            found = [asked.address]
        else:
            try:
                found = await self._egress.names.addresses(asked.host, self.client.id)
            except socket.gaierror as error:
                raise _unresolvable(error) from None
        rules, refusal = self._egress.rules(self.client.id), None
        for address in dict.fromkeys(map(unwrapped, found[:MOST_JUDGED])):
            standing = self._egress.standing(address, asked.port)
            refused = rules.judge(asked, address, standing)
            if refused is None:
                self._standings[address] = standing
            refusal = refusal or refused
        if not self._standings and refusal is not None:
            raise _FailedError(FailureCode.NOT_ALLOWED, refusal.told, refusal.logged)
        return list(self._standings)

    async def _attempt(self, address: Address) -> Relay:
        source = self._egress.sources.get(address.version)
        room, client = self._egress.room, self.client.id
        if not room.has_room(client):
            raise _FailedError(FailureCode.OTHER, _NO_ROOM, f"{_NO_ROOM}: {REMEDY}")
        try:
            with room.dialing(client):
                relay = await dial_tcp(str(address), self.wanted.port, self, source=source)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL and source is not None:
                why = f"egress.bind: {source} is not an address of this machine; write one that ip addr shows"
                raise _FailedError(
                    FailureCode.OTHER, "the gateway cannot dial; look into its log", why
                ) from None
            raise
        if relay is not self._relay:
            raise ConnectionAbortedError(errno.ECONNABORTED, "another address was faster")
        return relay

    def connected(self, relay: Relay) -> None:
        address = _address(relay.source[0])
        if self._relay is not None or address not in self._standings:
            relay.abort()  # another one was faster; or it was reset already, and nobody tells who it is
            return
        self._relay, self.address, self._source = relay, address, relay.destination
        super().connected(relay)

    def _prologue(self) -> bytes:
        return b""

    def _join(self, offer: Offer, link: Link, relay: Relay, prologue: bytes) -> None:
        refusal = self.refusal(self._egress.rules(self.client.id))
        if refusal is not None:  # the rules have changed meanwhile
            relay.abort()
            self.refuse(offer, FailureCode.NOT_ALLOWED, refusal.told, refusal.logged)
            return
        self._egress.joined(self, relay)
        source, port = self._source
        if _address(source) is not None:  # else nobody tells who we are
            self.client.session.tell_source(offer.stream, source.partition("%")[0], port)
        offer.join(relay, link, prologue)

    def _failed(self, offer: Offer, error: OSError) -> None:
        failure = error if isinstance(error, _FailedError) else self._explained(error)
        told = (
            failure.told if failure.code is FailureCode.NOT_ALLOWED else f"{self.destination}: {failure.told}"
        )
        self.refuse(offer, failure.code, told, failure.logged)

    def _explained(self, error: OSError) -> _FailedError:
        if isinstance(error, TimeoutError) and not error.errno:
            if not self._standings:
                return _FailedError(
                    FailureCode.UNRESOLVABLE, f"no name server answers the gateway within {DIAL_TIMEOUT:g} s"
                )
            return _FailedError(FailureCode.TIMED_OUT, f"no answer within {DIAL_TIMEOUT:g} s")
        if error.errno in _SHORTAGE:
            return _FailedError(FailureCode.OTHER, "the gateway is short of files", TOO_MANY)
        known = _ERRORS.get(error.errno or 0)
        if known is None:
            why = error.strerror or str(error) or type(error).__name__
            return _FailedError(FailureCode.OTHER, "the gateway cannot dial; look into its log", why)
        return _FailedError(*known)

    def _has_no_room(self, offer: Offer) -> None:
        self.refuse(offer, FailureCode.OTHER, "the gateway is short of files", TOO_MANY)

    def _is_defect(self, offer: Offer, error: BaseException) -> None:
        offer.refuse(FailureCode.OTHER, "the gateway failed inside; look into its log")
        reason = f"a defect in Tidegate: {type(error).__name__}; please report it"
        self._say(_log.error, "egress_failed", reason=reason, exc_info=error)
        self._egress.discard(self)

    def _abandoned(self) -> None:
        self._say(_log.info, "egress_abandoned", reason="its stream was reset before anybody answered")
        self._egress.discard(self)

    def _closed(self, relay: Relay, end: RelayEnd) -> None:
        self._relay = None  # which would be a circle for the garbage collector to find
        self._egress.closed(self, relay)
        self._say(
            _log.info,
            "egress_closed",
            address=str(self.address),
            end=end.value,
            reason=self._failure,
            bytes_in=relay.bytes_read,
            bytes_out=relay.bytes_written,
            seconds=round(time.monotonic() - self._started, 3),
        )

    def _say(self, log: Callable[..., object], event: str, **details: object) -> None:
        log(event, client=self.client.id, destination=self.destination, **details)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _unresolvable(error: socket.gaierror) -> _FailedError:
    if error.errno == socket.EAI_AGAIN:
        told = "no name server answers the gateway"
    else:
        told = "the gateway finds no address of that name"
    return _FailedError(FailureCode.UNRESOLVABLE, told, f"{told}: {error.strerror}")
