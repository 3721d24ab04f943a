"""Where the API is served: the management ports, and the admin socket.

Rule: this file joins the sockets to the API, with TLS or without. What can be
asked, and by whom, is the API's business.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Final

from agent.actuator import Failed
from agent.api.identity import ByCertificate
from agent.api.loading import LoadApp
from agent.api.server import serve_api
from agent.process.bind import Bind, bind
from agent.process.running import Running
from agent.process.spawn import Spawn
from reconcile.desired import ManagementSpec

from .keyring import Keyring, PortKeys
from .sessions import Sessions

_ALPN: Final = ("http/1.1",)


class ManagementPort:
    """One open management port. What changes holds from the next connection on."""

    is_alive = True  # a death is told

    def __init__(self, keys: PortKeys, keyring: Keyring, failed: Failed) -> None:
        self._keys = keys
        self._keyring = keyring
        self._serving = Running(failed)

    def start(self, load: LoadApp, listening: socket.socket, sessions: Sessions, spawn: Spawn) -> None:
        """Serve until closed."""
        serve = partial(
            serve_api,
            context=lambda: self._keys.context,
            authorities=lambda: self._keys.pem.ca,
            identify=ByCertificate(
                lambda: sessions.admission,
                lambda certificate, chain: sessions.revocations.refuse(certificate, chain),
            ),
        )
        spawn(self._serving.run, serve, load, listening)

    async def update(self, spec: ManagementSpec) -> None:
        await self._keyring.change(self._keys, spec.tls)

    async def close(self) -> None:
        self._keyring.forget(self._keys)
        await self._serving.stop()


class ManagementPorts:
    """Opens management ports.

    :param load: gives the API.
    :param spawn: starts tasks that live as long as the gateway.
    """

    def __init__(
        self, load: LoadApp, sessions: Sessions, keyring: Keyring, spawn: Spawn, bind: Bind = bind
    ) -> None:
        self._load = load
        self._bind = bind
        self._sessions = sessions
        self._keyring = keyring
        self._spawn = spawn

    async def __call__(self, spec: ManagementSpec, failed: Failed) -> ManagementPort:
        keys = await self._keyring.take(spec.tls, alpn=_ALPN)
        try:
            listening = self._bind(spec.address)
        except BaseException:
            self._keyring.forget(keys)
            raise
        port = ManagementPort(keys, self._keyring, failed)
        port.start(self._load, listening, self._sessions, self._spawn)
        return port
