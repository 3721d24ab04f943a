"""One HTTP connection: uvicorn's protocol with limits, and without a life of its own.

Rule: this file alone touches uvicorn. What uvicorn leaves open is decided here: how
long a peer may take for the head of a request, what a peer is told that does not
speak HTTP, and that nothing of a connection is left when it has ended.

uvicorn's ``Server`` is not used. It wants the process for itself (signals, a tick,
exits) and forgets its connections when it is cancelled; its protocol does the work.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import anyio
import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from agent.keys.shown import verified_chain
from transport.tls import is_fresh

from .identity import Caller, GetChain, Identify, PeerCertificate, attach
from .problems import PROBLEM_JSON, ApiError, PeerStalledError

#: Seconds a peer has for the head of each request. HAProxy's manual advises 10, nginx gives 60; nobody types
#: requests to this API by hand.
HEAD_PATIENCE: Final = 10.0

#: Seconds that a connection is kept open for another request.
IDLE_PATIENCE: Final = 5

#: Bytes of a request head. h11 and node take 16 KiB, nginx 32 KiB, Apache 8 KiB a line.
HEAD_LIMIT: Final = 16 * 1024

#: Seconds for a request that is under way when the agent stops, and for a peer to take its last answer.
GRACE: Final = 1.5

# uvicorn logs what a peer did wrong, which the peer is told, and what the app raised, which is logged below.
_SILENT: Final = logging.getLogger("tidegate.uvicorn")
_SILENT.setLevel(logging.CRITICAL + 1)

_log: Any = structlog.get_logger("api")


def make_config(app: ASGIApp) -> Config:
    """What every connection to the app has in common."""
    config = Config(
        app,
        http=H11Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        workers=1,  # otherwise read from the environment
        log_config=None,
        access_log=False,
        proxy_headers=False,  # a peer does not get to say who it is
        server_header=False,
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_keep_alive=IDLE_PATIENCE,
    )
    config.load()
    return config


class Connection(H11Protocol):
    """One connection, from the moment it is made until :meth:`keep` returns.

    :param identify: says who a certificate stands for.
    """

    def __init__(self, config: Config, identify: Identify) -> None:
        # A state of its own: uvicorn notes the tasks of requests there, and these are ours to end.
        super().__init__(config=config, server_state=ServerState(), app_state={})
        self.logger = _SILENT
        self._served: ASGIApp = config.loaded_app
        self._identify = identify
        self._certificate: PeerCertificate = None
        self._chain: GetChain = tuple
        self._is_resumed = False
        self._lost = anyio.Event()
        self._waiting = anyio.CancelScope()  # its deadline is that of the head of a request
        self._requests: set[anyio.CancelScope] = set()
        self._is_over = False

    async def keep(self) -> None:
        """Return when nothing is left of the connection. Cancelled, it ends within ``GRACE``."""
        try:
            with self._waiting:
                await self._lost.wait()
            if self._waiting.cancelled_caught:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"no request came within {HEAD_PATIENCE:g} s")
                with anyio.move_on_after(GRACE):
                    await self._lost.wait()
                self.transport.abort()
            await self._until_answered()
        finally:
            with anyio.CancelScope(shield=True):
                await self._end()

    async def _end(self) -> None:
        if not self.transport.is_closing():
            self.shutdown()  # after the answer, if one is being made
        with anyio.move_on_after(GRACE):
            await self._lost.wait()
        self.transport.abort()
        await self._lost.wait()
        self._is_over = True
        for request in self._requests:
            request.cancel()
        await self._until_answered()

    async def _until_answered(self) -> None:
        """Wait for whatever the app still does, without cancelling it if this wait is cancelled."""
        while self.tasks:
            done = anyio.Event()
            next(iter(self.tasks)).add_done_callback(partial(_set, done))
            await done.wait()

    # What uvicorn and the event loop call

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._certificate = transport.get_extra_info("peercert")
        tls = transport.get_extra_info("ssl_object")
        self._chain = partial(verified_chain, tls)
        self._is_resumed = tls is not None and not is_fresh(tls)
        self.app = self._answer
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering:
            self._waiting.deadline = math.inf
        elif self._waiting.deadline == math.inf:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost.set()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP. uvicorn calls this while it handles h11's error."""
        error = sys.exception()
        status = HTTPStatus(getattr(error, "error_status_hint", HTTPStatus.BAD_REQUEST))
        self._refuse(status, f"this is not an HTTP/1.1 request: {error or msg}")

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._waiting.cancel()  # which cuts off a peer that does not take the last of its answer

    @property
    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        self._waiting.deadline = anyio.current_time() + HEAD_PATIENCE

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer a peer whose request did not get as far as the app, or broke off on its way, and close."""
        if self.transport.is_closing():
            return
        if self._is_answering:
            if self.cycle.response_started:
                self.transport.abort()  # a second answer inside the first would be taken for a part of it
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = json.dumps(ApiError(status, message).to_json(), indent=2).encode() + b"\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"content-type: {PROBLEM_JSON}",
            f"content-length: {len(body)}",
            *(f"{name.decode()}: {value.decode()}" for name, value in _headers()),
            "connection: close",
        )
        self.transport.write("".join(f"{line}\r\n" for line in (*head, "")).encode() + body)
        self.transport.close()

    # What a request runs in

    def _identify_peer(self) -> Caller:
        """Who calls.

        :raises ApiError: 403 if that is nobody we know, 421 if the connection does not tell for certain; RFC
            9110, section 15.5.20, has the caller connect again.
        """
        if self._is_resumed:
            raise ApiError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this connection resumes an earlier TLS session, which does not tell everything of its "
                "certificate: connect with a new session, or with TLS 1.3",
            )
        return self._identify(self._certificate, self._chain)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        attach(scope["state"], self._identify_peer)
        with anyio.CancelScope() as request:
            self._requests.add(request)
            try:
                if not self._is_over:
                    await self._served(scope, receive, partial(_send, send))
            except ClientDisconnect:
                pass  # nobody is left to be told anything
            except PeerStalledError:
                self.transport.abort()
            except Exception:  # noqa: BLE001 - a defect costs one request; the app has answered 500
                _log.exception("request_failed", method=scope["method"], path=scope["path"])
            finally:
                self._requests.discard(request)


def _set(event: anyio.Event, _: object) -> None:
    event.set()


async def _send(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        message = {**message, "headers": [*message["headers"], *_headers()]}
    await send(message)


def _headers() -> tuple[tuple[bytes, bytes], ...]:
    """What every answer carries: the date (RFC 9110, section 6.6.1), and that it is about this moment."""
    return (b"date", formatdate(usegmt=True).encode()), (b"cache-control", b"no-store")
