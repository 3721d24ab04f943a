"""``GET /v1/events``: what happens in the agent, as it happens, as server-sent events.

Rule: a reader that does not read holds up nobody. What it has not taken waits in the
hub, of which it has no more than a place; what does not go out at all for a while ends
the connection. Whoever comes back with ``Last-Event-ID`` misses nothing that is kept.

The format is that of the WHATWG HTML standard, section 9.2. Beside the events of
``EventKind`` there are two of the stream itself: ``events_missed``, after which the
status is to be looked at, and ``stream_ended``, which says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import anyio
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent.events import Event, EventKind, Events, EventsMissedError, Reader, TooManyReadersError

from .operation import TEXT, Ask, Content, Operation, Parameter, Rights, Where, operation
from .problems import ApiError, PeerStalledError

#: Seconds after which a reader hears something, also if nothing happens, so that both ends know of each
#: other. Who reads is asked then, too. The standard advises 15.
HEARTBEAT: Final = 15.0

#: Seconds in which a reader must have taken what was sent.
STALLED: Final = 30.0

#: Milliseconds after which a reader that was cut off should come back.
_RETRY: Final = 2_000

#: Characters of a Last-Event-ID. Ours have twenty; whatever is longer is not ours.
_LONGEST_ID: Final = 100

_MEDIA_TYPE: Final = "text/event-stream"


@operation(
    "GET",
    "/v1/events",
    summary="What happens in the agent, as it happens",
    description="A stream of server-sent events, from now on, or from after Last-Event-ID on. Each has a "
    f"name, an id, and JSON as its data: {', '.join(kind.value for kind in EventKind)}. Visitors are not "
    "told of. After events_missed, look at the status; stream_ended says why there are no more.",
    rights=Rights.KNOWN,
    parameters=[
        Parameter(
            name="Last-Event-ID",
            where=Where.HEADER,
            description="The id of the last event that the reader has; those that followed it come first.",
            schema=TEXT,
        )
    ],
    answer=Content(description="The events, until one side ends it.", of=TEXT, media_type=_MEDIA_TYPE),
    errors={
        HTTPStatus.TOO_MANY_REQUESTS: "The caller reads the events too many times already.",
        HTTPStatus.SERVICE_UNAVAILABLE: "Too many read them, or the agent is stopping.",
    },
)
async def stream_events(ask: Ask) -> Response:
    if ask.backend.events.is_over:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the agent is stopping; come again when it runs")
    if ask.request.method == "HEAD":
        return Response(media_type=_MEDIA_TYPE)
    return _EventStream(ask)


class _EventStream(Response):
    """An answer that goes on until the agent stops, the reader goes, or may not read any more."""

    media_type = _MEDIA_TYPE

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._ask = ask
        self._events: Events = ask.backend.events
        after = ask.request.headers.get("last-event-id")
        self._after = None if after is None else after[:_LONGEST_ID]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._ask.caller
        try:
            reading = self._events.reading(caller.name, after=self._after)
            with reading as reader:
                await self._stream(reader, receive, _Body(send, self.raw_headers))
        except TooManyReadersError as error:
            status = HTTPStatus.TOO_MANY_REQUESTS if error.of_one else HTTPStatus.SERVICE_UNAVAILABLE
            raise ApiError(status, str(error), headers={"Retry-After": "10"}) from error

    async def _stream(self, reader: Reader, receive: Receive, body: _Body) -> None:
        """:raises PeerStalledError: if the reader does not take what it is sent."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            await body.send(f"retry: {_RETRY}\n{self._place()}\n")
            while not body.has_stalled:
                with anyio.move_on_after(HEARTBEAT) as waiting:
                    text, is_last = await self._next(reader)
                if waiting.cancelled_caught:
                    text, is_last = ": nothing happened\n\n", False
                refusal = self._refusal()
                if refusal is not None:
                    text, is_last = _ending(refusal), True
                await body.send(text, is_last=is_last)
                if is_last:
                    break
            tasks.cancel_scope.cancel()
        if body.has_stalled:
            raise PeerStalledError

    def _place(self) -> str:
        """Where a new reader begins, so that it can come back before it has seen anything."""
        return f"id: {self._events.latest}\n" if self._after is None else ""

    async def _next(self, reader: Reader) -> tuple[str, bool]:
        """What comes next, and whether nothing comes after it."""
        try:
            events = await reader.next()
        except EventsMissedError as error:
            return _message("events_missed", error.latest, {"reason": str(error)}), False
        if not events:
            return _ending("the agent is stopping"), True
        return "".join(map(self._told, events)), False

    def _told(self, event: Event) -> str:
        data = {"at": event.at, **event.data}
        return _message(event.kind.value, self._events.id_of(event), data)

    def _refusal(self) -> str | None:
        """Why the reader may not read any more, if it may not."""
        try:
            self._ask.caller  # noqa: B018 - it raises
        except ApiError as error:
            return str(error)
        return None


class _Body:
    """The body of the answer, which goes out in pieces."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self._has_begun = False
        self.has_stalled = False  # the peer does not take it

    async def send(self, text: str, *, is_last: bool = False) -> None:
        with anyio.move_on_after(STALLED) as sending:
            if not self._has_begun:
                self._has_begun = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
            message = {"type": "http.response.body", "body": text.encode(), "more_body": not is_last}
            await self._send(message)
        self.has_stalled = sending.cancelled_caught


def _message(name: str, number: str, data: Mapping[str, Any]) -> str:
    # JSON has no line ends outside of texts, and in them they are escaped, so it is one line.
    return f"event: {name}\nid: {number}\ndata: {to_json(data).decode()}\n\n"


def _ending(reason: str) -> str:
    data = to_json({"reason": reason}).decode()
    return f"event: stream_ended\ndata: {data}\n\n"


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """End the stream when its reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


OPERATIONS: Final[tuple[Operation, ...]] = (stream_events,)
