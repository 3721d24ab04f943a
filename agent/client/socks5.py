"""The client's SOCKS5 port: a way for programs beside it to leave through a gateway.

Rule: this file opens and closes the port, and knows who may use it. What becomes of a
program that connects is decided in ``socks5_door``.

Decision: a password is read when the port is opened and whenever it may have changed,
never for a program: nobody who talks waits for a disk.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, assert_never

from anyio import to_thread

from agent.actuator import Failed
from agent.keys.references import describe
from agent.process.bind import Bind, bind
from agent.process.inherited import HandedOver
from agent.process.own_socket import OwnSocket, OwnSocketError, SocketUse
from agent.traffic import TrafficMeter, service_side
from reconcile.actuator import ActionError
from reconcile.desired import Socks5Spec
from schemas.errors import TidegateError
from schemas.names import ListenAddress, UnixTarget
from schemas.references import EnvRef, FileRef, Reference
from schemas.status import Socks5Status
from transport.pump.relay import Relay
from transport.pump.sockets import Server, serve, serve_unix

from .link_session import LinkSession

if TYPE_CHECKING:
    from .socks5_door import Credentials, Socks5Door

Secret: TypeAlias = FileRef | EnvRef

_USE: Final = SocketUse(
    name="the SOCKS5 socket",
    setting="socks5.listen",
    example="unix:/run/socks5.sock",
    rival="another program",
)


class Programs:
    """All programs that are connected, also to a port that is closed by now."""

    def __init__(self, meter: TrafficMeter) -> None:
        self.meter = meter
        self.last_error: str | None = None  # why the last program was not led where it wanted to go
        self.connected: set[Relay] = set()
        # Those of them that have not said where they want to go; who came first is first.
        self.undecided: dict[Relay, None] = {}


class Socks5Port:
    """One open SOCKS5 port.

    :param own: the socket, if it is a file.
    :param closed: called when it has been closed.
    """

    def __init__(
        self,
        spec: Socks5Spec,
        door: Socks5Door,
        listening: socket.socket,
        own: OwnSocket | None,
        server: Server,
        closed: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.door = door
        self._listening = listening
        self._own = own
        self._server = server
        self._closed = closed

    @property
    def is_alive(self) -> bool:
        """An event loop gives a socket up without a word, and anybody may remove one that is a file."""
        if self._own is not None and not self._own.is_there:
            return False
        try:
            return bool(self._listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            return False

    async def update(self, spec: Socks5Spec) -> None:
        self.door.credentials = await _read(spec)
        self.spec = spec

    async def close(self) -> None:
        """Let nobody in any more. Who is in stays."""
        if self._own is not None:
            self._own.remove()
        try:
            await self._server.close()
        finally:
            self._closed()


class Socks5Ports:
    """Opens the SOCKS5 port. Also the ``KeyUser`` of its password.

    :param gateways: gives the sessions to the first gateway that is healthy.
    """

    meanwhile = "the password of before stays in use"

    def __init__(self, gateways: Callable[[], Sequence[LinkSession]], bind: Bind = bind) -> None:
        self._gateways = gateways
        self._bind = bind
        self._programs = Programs(TrafficMeter(service_side))
        self._port: Socks5Port | None = None

    async def __call__(self, spec: Socks5Spec, failed: Failed) -> Socks5Port:
        from .socks5_door import Socks5Door  # few have such a port

        door = Socks5Door(str(spec.listen), self._programs, self._gateways, await _read(spec))
        match spec.listen:
            case ListenAddress() as address:
                listening, own = self._bind(address), None
            case UnixTarget(path=path):
                own = await _own_socket(Path(path))
                listening = own.listening
            case _:
                assert_never(spec.listen)
        try:
            server = await (serve(listening, door) if own is None else serve_unix(listening, door))
        except BaseException:
            if isinstance(listening, HandedOver):
                listening.give_back()  # closed, it could never be had again
            else:
                listening.close()
            if own is not None:
                own.remove()
            raise
        port = self._port = Socks5Port(spec, door, listening, own, server, closed=lambda: self._forget(port))
        return port

    @property
    def open(self) -> int:
        """How many programs there are, also on a port that has been closed."""
        return len(self._programs.connected)

    def turn_away_undecided(self) -> None:
        """Drop whoever has not said where it wants to go."""
        for relay in list(self._programs.undecided):
            relay.abort()

    def turn_everyone_away(self) -> None:
        """Drop every program, at the end of the client."""
        for relay in list(self._programs.connected):
            relay.abort()

    def status(self) -> Socks5Status | None:
        """None while there is no such port."""
        if self._port is None:
            return None
        spec = self._port.spec
        return Socks5Status(
            listen=str(spec.listen),
            user=spec.user,
            last_error=self._programs.last_error,
            traffic=self._programs.meter.snapshot(),
        )

    # KeyUser

    @property
    def in_use(self) -> Iterable[Secret]:
        port = self._port
        return [] if port is None or port.spec.password is None else [port.spec.password]

    def references(self, secret: Secret) -> Iterable[Reference]:
        return [secret]

    async def renew(self, secret: Secret) -> Mapping[str, Any] | None:
        port = self._port
        if port is None:
            return None
        spec, before = port.spec, port.door.credentials
        now = await _read(spec)
        if now == before or port.spec != spec or spec.password != secret:
            return None  # or it was updated meanwhile, with what is there now
        port.door.credentials = now
        return {"changed": ["socks5.password"], "file": describe(secret)}

    def _forget(self, port: Socks5Port) -> None:
        if self._port is port:
            self._port = None


async def _read(spec: Socks5Spec) -> Credentials | None:
    """What a program has to say; None where whoever can connect may use the port.

    :raises ActionError: if the password cannot be read.
    """
    if spec.user is None or spec.password is None:
        return None
    from agent.keys.secret_text import read_secret

    from .socks5_door import Credentials

    try:
        password = await to_thread.run_sync(read_secret, spec.password)
    except TidegateError as error:
        raise ActionError(f"socks5.password: {error}", reason="InvalidSecret") from error
    return Credentials(user=spec.user.encode(), password=password)


async def _own_socket(path: Path) -> OwnSocket:
    try:
        return await to_thread.run_sync(OwnSocket, path, _USE)
    except OwnSocketError as error:
        raise ActionError(str(error), reason="Failed") from error
