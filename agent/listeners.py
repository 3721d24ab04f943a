"""The public ports of the gateway.

Rule: a listener owns one bound socket for as long as its address is declared.
What it routes may change at any time; the socket does not.
"""

from __future__ import annotations

import socket

from reconcile.desired import ListenerSpec
from transport.pump.relay import Relay
from transport.pump.sockets import Server, serve

from .actuator import Failed
from .bind import bind
from .frontdoor import FrontDoor
from .sessions import Sessions
from .traffic import TrafficBook


class PublicListener:
    """One open public port."""

    def __init__(self, listening: socket.socket, server: Server, door: FrontDoor) -> None:
        self._listening = listening
        self._server = server
        self._door = door

    @property
    def is_alive(self) -> bool:
        """An event loop gives a socket up when accept() fails in a way it does not know, and tells nobody."""
        try:
            return bool(self._listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            return False

    async def update(self, spec: ListenerSpec) -> None:
        self._door.update(spec)

    async def close(self) -> None:
        self._server.close()


class PublicListeners:
    """Opens public ports."""

    def __init__(self, sessions: Sessions, tunnels: TrafficBook) -> None:
        self._sessions = sessions
        self._tunnels = tunnels
        self._visitors: set[Relay] = set()

    def turn_everyone_away(self) -> None:
        """Drop every visitor, at the end of the gateway."""
        for relay in list(self._visitors):
            relay.abort()

    async def __call__(self, spec: ListenerSpec, failed: Failed) -> PublicListener:
        door = FrontDoor(spec, self._sessions, self._tunnels, self._visitors)
        listening = bind(spec.address)
        try:
            return PublicListener(listening, await serve(listening, door), door)
        except BaseException:
            listening.close()
            raise
