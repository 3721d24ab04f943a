"""Programs that use the SOCKS5 port of a client, and the client with its gateways, without state files.

Rule: what a program says and hears is the test's, byte by byte where it wants; gateways and sessions are
the real ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import anyio

from agent.client.socks5 import Socks5Port, Socks5Ports
from reconcile.actuator import ActionError
from reconcile.desired import Socks5Spec
from schemas.names import HostPort, ListenAddress, UnixTarget, parse_listen
from schemas.references import FileRef
from transport.offer import Offer
from transport.wire.egress_header import EgressHeader
from transport.wire.socks5 import Connect, Login, Method, encode_greeting, encode_login, encode_request

from .asking import egress, rule
from .gateway_parts import GatewayParts, gateway_parts
from .home import Home, home, link_to
from .journal import PATIENCE, Journal
from .peers import Peer, Service, free_listen, unconnected

OPEN: Final = encode_greeting((Method.OPEN,))
_SUCCEEDED: Final = b"\x05\x00\x00\x01"
REPLY_SIZE: Final = len(_SUCCEEDED) + 6


def request(where: str | ListenAddress, port: int | None = None) -> bytes:
    """To ask for a CONNECT."""
    if isinstance(where, ListenAddress):
        return encode_request(Connect(where.host, where.port))
    assert port is not None
    return encode_request(Connect(where, port))


def succeeded(there: Peer) -> bytes:
    """The reply to who is led to a peer by IPv4: it has the address from where that was dialed."""
    host, port = there.socket.getpeername()
    return _SUCCEEDED + ip_address(host).packed + int(port).to_bytes(2, "big")


async def hear_success(program: Peer, *, behind: bytes = b"") -> None:
    """See that a program hears of its success, behind what comes before."""
    said = await program.receive_exactly(len(behind) + REPLY_SIZE)
    assert said.startswith(behind + _SUCCEEDED)


def at(far: Service) -> ListenAddress:
    """Where a service listens."""
    (address,) = parse_listen(far.target)
    return address


class Asked:
    """What a gateway is asked to dial, which the test answers."""

    def __init__(self) -> None:
        self.offers: list[Offer] = []
        self._grown = anyio.Event()

    def __call__(self, client: object, offer: Offer) -> None:
        self.offers.append(offer)
        grown, self._grown = self._grown, anyio.Event()
        grown.set()

    async def next(self) -> Offer:
        with anyio.fail_after(PATIENCE):
            while not self.offers:
                await self._grown.wait()
        return self.offers.pop(0)


def wanted(offer: Offer) -> tuple[str, int]:
    assert isinstance(offer.header, EgressHeader)
    return offer.header.host, offer.header.port


class Socks:
    """A client with a SOCKS5 port and some gateways."""

    def __init__(self, here: Home, gateways: Sequence[GatewayParts], ports: Socks5Ports) -> None:
        self.home = here
        self.gateways = gateways
        self.ports = ports
        self.address = free_listen()
        self.deaths: list[ActionError] = []
        self.port: Socks5Port

    @property
    def gateway(self) -> GatewayParts:
        return self.gateways[0]

    def spec(
        self, listen: ListenAddress | UnixTarget | None = None, *, user: str | None = None, password: str = ""
    ) -> Socks5Spec:
        """:param password: the file in which it stands."""
        return Socks5Spec(
            listen=listen or self.address,
            user=user,
            password=None if user is None else FileRef(password),
        )

    async def open(self, spec: Socks5Spec | None = None) -> Socks5Port:
        self.port = await self.ports(spec or self.spec(), self.deaths.append)
        return self.port

    @asynccontextmanager
    async def program(self) -> AsyncIterator[Peer]:
        """A program that has connected and said nothing."""
        with unconnected(self.address) as peer:
            await peer.connect(self.address)
            yield peer

    @asynccontextmanager
    async def led(self, where: ListenAddress, login: Login | None = None) -> AsyncIterator[Peer]:
        """A program that was led where it wants to go."""
        async with self.program() as peer:
            await self.lead(peer, where, login)
            yield peer

    async def lead(self, peer: Peer, where: ListenAddress, login: Login | None = None) -> None:
        """Say where to go, and see that it went well."""
        if login is None:
            await peer.send(OPEN)
            assert await peer.receive_exactly(2) == b"\x05\x00"
        else:
            await peer.send(encode_greeting((Method.PASSWORD,)))
            assert await peer.receive_exactly(2) == b"\x05\x02"
            await peer.send(encode_login(login))
            assert await peer.receive_exactly(2) == b"\x01\x00"
        await peer.send(request(where))
        await hear_success(peer)


def password_in(directory: Path, text: str = "secret\n") -> str:
    """A file with a password; its path."""
    file = directory / "socks5.password"
    file.write_text(text)
    return str(file)


@asynccontextmanager
async def socks(
    journal: Journal, *, gateways: int = 1, asked: Sequence[Asked] = (), spec: Socks5Spec | None = None
) -> AsyncIterator[Socks]:
    """A client with an open SOCKS5 port, and that many gateways, each of which lets it reach this machine.

    :param asked: what answers in place of each gateway, if the test wants to do it.
    """
    async with AsyncExitStack() as stack:
        parts = [await stack.enter_async_context(gateway_parts()) for _ in range(gateways)]
        order = [HostPort(gateway.control.host, gateway.control.port) for gateway in parts]
        here = await stack.enter_async_context(home(order=order))
        for gateway, answers in zip(parts, asked, strict=False):
            gateway.sessions.ask_egress = answers
        for number, gateway in enumerate(parts, 1):
            await gateway.put(egress(rule("127.0.0.0/8", "::1")))
            await here.put(link_to(gateway.control))
            await journal.wait_for("link_up", count=number)
        made = Socks(here, parts, Socks5Ports(here.links.first_healthy))
        await made.open(spec)
        try:
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                await made.port.close()
                made.ports.turn_everyone_away()
