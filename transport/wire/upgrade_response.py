"""How a client asks for a WebSocket, and what it makes of the answer (RFC 6455, section 4.1).

Rule: this file alone says what a refusal means and what to do about it. Whatever stands between the client
and its gateway answers here: a reverse proxy, another web server, the login page of a hotel. So nothing but
the status and where it points to is believed or repeated, and no page is read.
"""

from __future__ import annotations

import re
from typing import Final

from websockets.client import ClientProtocol
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

from .cursor import Buffer
from .errors import RemoteProtocolError
from .http_head import MAX_HEAD
from .websocket import MAX_MESSAGE, WebSocketEnd, in_one_line

_END_OF_HEAD: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]{0,80}))?")
_LOCATION: Final = re.compile(rb"^location:[ \t]*([!-~]{1,200})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_BEGINNING: Final = b"HTTP/1."

_NOT_HTTP: Final = "what answers there does not speak HTTP/1: check host and port of the URL"
_CHECK_PATH: Final = (
    "check the path in client.gateways, which ends in /tunnel unless the reverse proxy there rewrites it, "
    "and that it leads to the gateway"
)
_UPGRADE_LOST: Final = (
    "a reverse proxy in between does not pass the WebSocket on: have it send HTTP/1.1 and the headers "
    "Upgrade and Connection"
)
_LOG_IN: Final = "this network may want you to log in first (open any web page), or the URL has moved"
_NOT_REACHED: Final = (
    "the reverse proxy there does not reach the gateway: check that it runs, and the log of the reverse proxy"
)
_LOOK: Final = "look into the log of the reverse proxy and of the gateway"
_REMEDIES: Final = {
    200: f"this is a web page and no gateway: {_LOG_IN}; else {_CHECK_PATH}",
    400: _UPGRADE_LOST,
    401: "it wants a password, which a gateway never does: let the reverse proxy take this path without one",
    403: "it does not let this client in: a firewall or the reverse proxy forbids it",
    404: f"there is nothing at this path: {_CHECK_PATH}",
    405: _CHECK_PATH,
    407: "a proxy in between wants a password: write it into client.proxy",
    421: "it does not serve this name: check the host name in client.gateways",
    426: _UPGRADE_LOST,
    429: "it finds that too many come: it is tried again",
    502: _NOT_REACHED,
    503: _NOT_REACHED,
    504: _NOT_REACHED,
    505: _UPGRADE_LOST,
    511: _LOG_IN,
}


class UpgradeAttempt:
    """One request for a WebSocket, and the reader of its answer.

    :param path: with a slash at the beginning, and the query if there is one.
    """

    def __init__(self, *, host: str, port: int, path: str, secure: bool) -> None:
        path, _, query = path.partition("?")
        uri = WebSocketURI(secure=secure, host=host, port=port, path=path, query=query)
        self._protocol = ClientProtocol(uri, max_size=MAX_MESSAGE)
        self._is_secure = secure
        self._protocol.send_request(self._protocol.connect())
        self.request = b"".join(self._protocol.data_to_send())

    def peek(self, buffer: Buffer) -> tuple[WebSocketEnd, int] | None:
        """The WebSocket and where in the buffer it begins, or None while the answer's head is not complete.

        :raises RemoteProtocolError: if there is none; says what to do.
        """
        data = bytes(buffer[:MAX_HEAD])
        if not data.startswith(_BEGINNING[: len(data)]):
            raise RemoteProtocolError(_NOT_HTTP)
        end = data.find(_END_OF_HEAD)
        if end < 0:
            if len(data) >= MAX_HEAD:
                raise RemoteProtocolError(f"the answer has a head of more than {MAX_HEAD} bytes")
            return None
        size = end + len(_END_OF_HEAD)
        status = _STATUS.match(data)
        if status is None:
            raise RemoteProtocolError(_NOT_HTTP)
        if int(status[1]) != 101:
            raise RemoteProtocolError(self._refusal(int(status[1]), status[2] or b"", data[:size]))
        return self._open(data[:size]), size

    def _open(self, head: bytes) -> WebSocketEnd:
        self._protocol.receive_data(head)
        match self._protocol.events_received():
            case [Response()] if self._protocol.state is State.OPEN:
                return WebSocketEnd(self._protocol)
            case _:
                raise RemoteProtocolError(
                    f"the answer is no WebSocket's ({in_one_line(self._protocol.handshake_exc)}): "
                    "a proxy in between has changed it, or is no gateway"
                )

    def _refusal(self, status: int, phrase: bytes, head: bytes) -> str:
        words = phrase.decode("latin-1")
        said = f"the answer was {status} {words if words.isprintable() else ''}".rstrip()
        location = _LOCATION.search(head)
        if 300 <= status < 400:
            where = f" to {location[1].decode('ascii')}" if location else ""
            return f"{said}{where}: {_LOG_IN}"
        if status >= 500:
            return f"{said}: {_REMEDIES.get(status, _LOOK)}"
        if status == 400 and not self._is_secure:
            return f"{said}: {_UPGRADE_LOST}; or this port wants TLS: write wss://"
        return f"{said}: {_REMEDIES.get(status, _CHECK_PATH)}"
