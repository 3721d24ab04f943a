"""What a gateway answers to an HTTP request: a WebSocket, or plain words (RFC 6455, section 4.2).

Rule: this file alone decides which requests become a WebSocket: a GET of any path that ends in ``/tunnel``,
so that a reverse proxy may have it below whatever path it likes. The head is read as strictly as that
of any visitor (see ``http_head``), and nothing may come behind it before it is answered: what a reverse proxy
took for a second request is never taken for a WebSocket's, or the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from websockets.http11 import Request
from websockets.server import ServerProtocol

from .cursor import Buffer
from .errors import RemoteProtocolError
from .http_head import peek_http_head
from .websocket import MAX_MESSAGE, WebSocketEnd, in_one_line

PATH: Final = "/tunnel"

_END_OF_HEAD: Final = b"\r\n\r\n"


class _Status(IntEnum):
    SWITCHING_PROTOCOLS = 101
    BAD_REQUEST = 400
    NOT_FOUND = 404
    METHOD_NOT_ALLOWED = 405
    UPGRADE_REQUIRED = 426
    HTTP_VERSION_NOT_SUPPORTED = 505


# HTTP/1.0, which knows no upgrade, is what an nginx speaks that was not told otherwise.
_NOT_ASKED_FOR: Final = (_Status.UPGRADE_REQUIRED, _Status.HTTP_VERSION_NOT_SUPPORTED)
_SAY: Final = "This is the control port of a Tidegate gateway. "
_HOW: Final = (
    "A client reaches it by a WebSocket at a path that ends in /tunnel: "
    "write wss://HOST/tunnel into client.gateways of its state file.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is to be written. ``end`` is there if a WebSocket begins behind it, else ``why`` says why not."""

    text: bytes
    end: WebSocketEnd | None = None
    why: str = ""


class UpgradeRequest:
    """A request whose head is complete. ``forwarded_for`` is what X-Forwarded-For names, in order."""

    def __init__(self, protocol: ServerProtocol, request: Request) -> None:
        self._protocol = protocol
        self._request = request

    @property
    def forwarded_for(self) -> tuple[str, ...]:
        lines = self._request.headers.get_all("X-Forwarded-For")
        return tuple(name.strip() for name in ",".join(lines).split(",") if name.strip())

    def answer(self) -> Answer:
        """A WebSocket, or why there is none."""
        path = self._request.path.partition("?")[0]
        if not path.startswith("/") or not path.endswith(PATH):
            return self._refuse(_Status.NOT_FOUND, f"{_SAY}There is nothing at this path. {_HOW}")
        if self._request.method != "GET":
            return self._refuse(_Status.METHOD_NOT_ALLOWED, f"{_SAY}It takes GET only. {_HOW}", Allow="GET")
        response = self._protocol.accept(self._request)
        if response.status_code in _NOT_ASKED_FOR:
            return self._refuse(
                _Status.UPGRADE_REQUIRED,
                f"{_SAY}This request does not ask for a WebSocket. A reverse proxy in between must pass the "
                f"headers Upgrade and Connection on, by HTTP/1.1. {_HOW}",
                Upgrade="websocket",
                Connection="Upgrade, close",
            )
        self._protocol.send_response(response)
        text = b"".join(self._protocol.data_to_send())
        if response.status_code != _Status.SWITCHING_PROTOCOLS:
            return Answer(
                text=text, why=f"the request is no WebSocket's: {in_one_line(self._protocol.handshake_exc)}"
            )
        return Answer(text=text, end=WebSocketEnd(self._protocol))

    def refuse(self, text: str, *, why: str) -> Answer:
        """For a reason that is no fault of the request's form, to be told in these words.

        :param why: what a log says.
        """
        response = self._protocol.reject(_Status.BAD_REQUEST, f"{_SAY}{text}\n")
        return Answer(text=response.serialize(), why=why)

    def _refuse(self, status: _Status, text: str, **headers: str) -> Answer:
        response = self._protocol.reject(status, text)
        for name, value in headers.items():
            if name in response.headers:
                del response.headers[name]
            response.headers[name] = value
        said, asked = f"{status.value} {response.reason_phrase}", self._request
        return Answer(text=response.serialize(), why=f"answered {said} to {asked.method} {asked.path[:80]}")


def peek_upgrade_request(buffer: Buffer) -> UpgradeRequest | None:
    """The request in the buffer, or None when its head is not complete.

    :raises RemoteProtocolError: when no bytes to come can make it a request that is answered with anything
        else than :func:`bad_request`.
    """
    head = peek_http_head(buffer)
    if head is None:
        return None
    size = bytes(buffer).index(_END_OF_HEAD) + len(_END_OF_HEAD)
    if len(buffer) > size:
        raise RemoteProtocolError("there is something behind the request, which nobody has answered yet")
    protocol = ServerProtocol(max_size=MAX_MESSAGE)
    protocol.receive_data(bytes(buffer))
    match protocol.events_received():
        case [Request() as request]:
            return UpgradeRequest(protocol, request)
        case _:
            raise RemoteProtocolError(f"the request is not understood: {in_one_line(protocol.handshake_exc)}")


def bad_request(why: str) -> Answer:
    """The answer to bytes that are no request."""
    response = ServerProtocol().reject(_Status.BAD_REQUEST, f"{_SAY}The request is refused: {why}\n")
    return Answer(text=response.serialize(), why=f"answered 400 Bad Request: {why}")
