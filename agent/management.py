"""Where the API is served: the management ports, and the admin socket.

Rule: this file joins the sockets to the API, with TLS or without. What can be
asked, and by whom, is the API's business.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Final

from reconcile.desired import ManagementSpec

from .actuator import Failed
from .api.identity import ByCertificate
from .api.loading import LoadApp
from .api.server import serve_api
from .bind import bind
from .control_port import make_context
from .running import Running
from .sessions import Sessions
from .spawn import Spawn

_ALPN: Final = ("http/1.1",)


class ManagementPort:
    """One open management port. What changes holds from the next connection on."""

    is_alive = True  # a death is told

    def __init__(self, context: ssl.SSLContext, failed: Failed) -> None:
        self._context = context
        self._serving = Running(failed)

    def start(self, load: LoadApp, listening: socket.socket, sessions: Sessions, spawn: Spawn) -> None:
        """Serve until closed."""
        serve = partial(
            serve_api,
            context=lambda: self._context,
            identify=ByCertificate(lambda: sessions.admission),
        )
        spawn(self._serving.run, serve, load, listening)

    async def update(self, spec: ManagementSpec) -> None:
        self._context = await make_context(spec.tls, alpn=_ALPN)

    async def close(self) -> None:
        await self._serving.stop()


class ManagementPorts:
    """Opens management ports.

    :param load: gives the API.
    :param spawn: starts tasks that live as long as the gateway.
    """

    def __init__(self, load: LoadApp, sessions: Sessions, spawn: Spawn) -> None:
        self._load = load
        self._sessions = sessions
        self._spawn = spawn

    async def __call__(self, spec: ManagementSpec, failed: Failed) -> ManagementPort:
        port = ManagementPort(await make_context(spec.tls, alpn=_ALPN), failed)
        port.start(self._load, bind(spec.address), self._sessions, self._spawn)
        return port
