"""The services at home: every conversation ends up at one of them.

Rule: a service asks the books which conversation a visitor wants and goes through that one's script. It
knows of the visitor only what came through the tunnel.
"""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from tests.support.peers import blackhole
from transport.wire.proxy_protocol import Endpoint, peek_proxy_header

from .books import Books, Meeting
from .doors import MANNERS, OPENING_SIZE, Service, read_opening, read_request
from .line import Line, LineEndedError, LineError, LineResetError
from .talk import Talk

_BACKLOG: Final = 512
_NAP: Final = 0.5  # seconds that a tardy service sleeps at most


class Services:
    """The services of one run.

    :param context: of the TLS service.
    :param limit: seconds that a conversation may take.
    """

    def __init__(
        self,
        books: Books,
        context: ssl.SSLContext,
        *,
        seed: int,
        limit: float,
        alarm: Callable[[], Awaitable[None]],
    ) -> None:
        self.targets: dict[str, str] = {}
        self._books = books
        self._context = context
        self._dice = random.Random(f"{seed}/services")
        self._limit = limit
        self._alarm = alarm
        self._listening: dict[Service, socket.socket] = {}

    @contextmanager
    def open(self, address: str, directory: Path) -> Iterator[None]:
        """Listen. Until :meth:`run` nobody is accepted."""
        with ExitStack() as stack:
            for service in Service:
                match service:
                    case Service.DEAF:
                        self.targets[service.value] = stack.enter_context(blackhole()).target
                    case Service.UNIX:
                        path = directory / "service.sock"
                        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
                        listening.bind(str(path))
                        self.targets[service.value] = f"unix:{path}"
                    case _:
                        listening = stack.enter_context(socket.socket())
                        listening.bind((address, 0))
                        self.targets[service.value] = "{}:{}".format(*listening.getsockname())
                if service not in (Service.DEAF, Service.CLOSED):
                    listening.listen(_BACKLOG)
                    listening.setblocking(False)
                    self._listening[service] = listening
            yield

    async def run(self) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as tasks:
            for service, listening in self._listening.items():
                tasks.start_soon(self._accept, service, listening, tasks)

    async def _accept(self, service: Service, listening: socket.socket, tasks: TaskGroup) -> None:
        while True:
            if service is Service.TARDY:
                await anyio.sleep(self._dice.uniform(0, _NAP))
            await anyio.wait_readable(listening)
            while True:
                try:
                    connection, _ = listening.accept()
                except BlockingIOError:
                    break
                line = Line(connection)
                if service is Service.ABRUPT:
                    self._dice.choice((line.close, line.reset))()
                else:
                    tasks.start_soon(self._serve, service, line)

    async def _serve(self, service: Service, line: Line) -> None:
        meeting = await self._find_out(service, line)
        if meeting is None:
            self._books.strays += 1
            line.reset()
            return
        talk = Talk(
            line,
            saying=meeting.tape("service"),
            hearing=meeting.tape("visitor"),
            dice=meeting.dice("service"),
            limit=self._limit,
            alarm=self._alarm,
        )
        greeting = MANNERS[meeting.door.language].greeting
        await talk.perform(meeting.conversation.service, before=lambda: line.send(greeting))
        self._books.service_done(meeting, talk.side)

    async def _find_out(self, service: Service, line: Line) -> Meeting | None:
        """Which conversation begins; None if the visitor is gone before it has said so."""
        began = time.monotonic()
        try:
            with anyio.fail_after(self._limit):
                return await self._welcome(service, line)
        except LineResetError:
            pass  # the visitor has crashed, or the link was cut
        except LineEndedError as error:
            # A unix socket ends where others are reset, and the kernel ends what a killed client had.
            if service is not Service.UNIX and not self._books.disturbances.has_killed_since(began):
                self._books.fault(f"the {service.value} service heard an orderly end too early: {error}")
        except LineError as error:
            self._books.fault(f"the {service.value} service met {error}")
        except TimeoutError:
            self._books.fault(f"a visitor of the {service.value} service said nothing for {self._limit:g} s")
            await self._alarm()
        return None

    async def _welcome(self, service: Service, line: Line) -> Meeting | None:
        """Which conversation begins; None if the visitor leaves without a word.

        :raises LineError: if it ends within what has to be said before.
        """
        # A visitor may leave while its service is dialed, or say nothing behind its PROXY header.
        if await line.is_over():
            return None
        if service is Service.TLS:
            await line.handshake(self._context, server=True)
        source = await _read_proxy_header(line) if service is Service.PROXIED else None
        if await line.is_over():
            return None
        if service is Service.HTTP:
            number = read_request(await line.receive_past(b"\r\n\r\n"))
        else:
            number = read_opening(await line.receive_exactly(OPENING_SIZE))
        meeting = self._books.claim(number)
        if meeting is None:
            return None
        if meeting.door.service is not service:
            self._books.fault(f"{meeting} came to the {service.value} service")
        if source is not None:
            self._check_source(meeting, *source)
        return meeting

    def _check_source(self, meeting: Meeting, source: Endpoint | None, destination: Endpoint | None) -> None:
        """Whether the PROXY header names the visitor and the port that it came to."""
        said = source and (source.host, source.port), destination and (destination.host, destination.port)
        if said != (meeting.source, meeting.door.address):
            self._books.fault(f"{meeting}: the PROXY header says {said}, the visitor is {meeting.source}")


async def _read_proxy_header(line: Line) -> tuple[Endpoint | None, Endpoint | None]:
    """:raises LineError: if the connection ends within it."""
    data = bytearray()
    while (header := peek_proxy_header(data)) is None:
        piece = await line.receive(4096)
        if not piece:
            raise LineEndedError(f"within the PROXY header, behind {bytes(data)!r}")
        data += piece
    line.push_back(bytes(data[header.size :]))
    return header.source, header.destination
