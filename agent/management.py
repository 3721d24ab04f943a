"""Where the API is served: the management ports, and the admin socket.

Rule: this file joins the sockets to the API, with TLS or without. What can be
asked, and by whom, is the API's business.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

import anyio
from starlette.applications import Starlette

from reconcile.actuator import ActionError
from reconcile.desired import ManagementSpec

from .actuator import Failed
from .api.identity import ByCertificate
from .api.server import serve_api
from .bind import bind
from .control_port import make_context
from .sessions import Sessions
from .spawn import Spawn

_ALPN: Final = ("http/1.1",)


class ManagementPort:
    """One open management port. A renewed certificate holds from the next connection on."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._scope = anyio.CancelScope()

    async def update(self, spec: ManagementSpec) -> None:
        self._context = await make_context(spec.tls, alpn=_ALPN)

    async def close(self) -> None:
        self._scope.cancel()

    async def serve(self, app: Starlette, listening: socket.socket, sessions: Sessions) -> None:
        """Serve until closed."""
        with self._scope:
            await serve_api(
                app,
                listening,
                context=lambda: self._context,
                identify=ByCertificate(lambda: sessions.admission),
            )


class ManagementPorts:
    """Opens management ports.

    :param spawn: starts tasks that live as long as the gateway.
    """

    def __init__(self, app: Starlette, sessions: Sessions, spawn: Spawn) -> None:
        self._app = app
        self._sessions = sessions
        self._spawn = spawn

    async def __call__(self, spec: ManagementSpec, failed: Failed) -> ManagementPort:
        port = ManagementPort(await make_context(spec.tls, alpn=_ALPN))
        self._spawn(self._serve, port, bind(spec.address), failed)
        return port

    async def _serve(self, port: ManagementPort, listening: socket.socket, failed: Failed) -> None:
        try:
            await port.serve(self._app, listening, self._sessions)
        except OSError as error:
            failed(ActionError(f"the management port stopped accepting: {error}", reason="Failed"))
