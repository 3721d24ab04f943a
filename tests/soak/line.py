"""One end of a connection, plain or TLS, with every way it can end.

Rule: this is the only place where the soak touches the sockets of visitors and services. They are plain and
nonblocking, since an end of file, a reset and an unread byte must be told apart, and made.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.lowlevel

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)

_CHUNK: Final = 128 * 1024
_UNKNOWN_NAME: Final = "TLSV1_UNRECOGNIZED_NAME"  # of the alert; OpenSSL leaves that word out here alone

T = TypeVar("T")


class LineError(Exception):
    """The connection is of no more use; ``str()`` says why."""


class LineResetError(LineError):
    """It was reset."""


class LineRefusedError(LineError):
    """The other side refused in the language of TLS: it sent an alert."""


class LineEndedError(LineError):
    """It ended in an orderly way where it must not."""


class Line:
    """One end of a connection. Takes the socket over."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._tls: _Tls | None = None
        self._early = bytearray()  # read, and pushed back

    @property
    def local(self) -> tuple[str, int]:
        """Our own address."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def connect(self, address: tuple[str, int]) -> None:
        """:raises LineError: if nobody answers."""
        error = self._socket.connect_ex(address)
        if error == errno.EINPROGRESS:
            await anyio.wait_writable(self._socket)
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise _explain(OSError(error, "the connection was not made"))

    async def handshake(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        """Go on in TLS.

        :raises LineError: if the other side does not.
        """
        self._tls = tls = _Tls(context, server=server, name=name)
        while True:
            is_done = tls.shake_hands()
            await self._send(tls.take_output())
            if is_done:
                return
            tls.feed(await self._receive(_CHUNK))

    async def send(self, data: bytes) -> None:
        """Send all of it.

        :raises LineError: if the connection is broken.
        """
        await self._send(data if self._tls is None else self._tls.encrypt(data))

    async def receive(self, size: int) -> bytes:
        """Some bytes, or none at an orderly end.

        :raises LineError: if there is another end.
        """
        if self._early:
            data = bytes(self._early[:size])
            del self._early[:size]
            return data
        if self._tls is None:
            return await self._receive(size)
        while (found := self._tls.decrypt(size)) is None:
            self._tls.feed(await self._receive(_CHUNK))
        return found

    async def is_over(self) -> bool:
        """Whether an orderly end comes next; waits until something does.

        :raises LineError: if there is another end.
        """
        if self._tls is None and not self._early:  # a handshake may follow, which needs every byte itself
            return not await self._try(partial(self._socket.recv, 1, socket.MSG_PEEK), anyio.wait_readable)
        first = await self.receive(1)
        self.push_back(first)
        return not first

    async def receive_exactly(self, size: int) -> bytes:
        """So many bytes.

        :raises LineError: if an end comes before.
        """
        data = bytearray()
        while len(data) < size:
            piece = await self.receive(size - len(data))
            if not piece:
                raise LineEndedError(f"the end came behind {len(data)} of {size} bytes")
            data += piece
        return bytes(data)

    async def receive_past(self, ending: bytes, most: int = 4096) -> bytes:
        """Everything up to those bytes and with them; what comes behind is still to be received.

        :raises LineError: if an end comes before, or too much.
        """
        data = bytearray()
        while ending not in data:
            piece = await self.receive(most)
            if not piece or len(data) > most:
                raise LineEndedError(f"no {ending!r} in {bytes(data[:100])!r}")
            data += piece
        size = data.index(ending) + len(ending)
        self.push_back(bytes(data[size:]))
        return bytes(data[:size])

    def push_back(self, data: bytes) -> None:
        """Receive this again, before all else."""
        self._early[:0] = data

    def end(self) -> None:
        """Say no more. Below TLS, of whose ends the tunnel knows nothing.

        :raises LineError: if the connection is broken.
        """
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _explain(error) from error

    async def _send(self, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            rest = memoryview(data)[sent:]
            sent += await self._try(partial(self._socket.send, rest), anyio.wait_writable)

    async def _receive(self, size: int) -> bytes:
        return await self._try(partial(self._socket.recv, size), anyio.wait_readable)

    def reset(self) -> None:
        """Break the connection. Harmless on a closed one."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self._socket.close()

    def close(self) -> None:
        self._socket.close()

    async def _try(self, attempt: Callable[[], T], wait: Callable[[socket.socket], Awaitable[None]]) -> T:
        """Try, and try again when the socket is ready.

        :raises LineError: what the socket says.
        """
        await anyio.lowlevel.checkpoint()  # also if the first attempt succeeds: others want to go on
        while True:
            try:
                return attempt()
            except BlockingIOError:
                await wait(self._socket)
            except OSError as error:
                raise _explain(error) from error


class _Tls:
    """TLS on bytes. It is not told of an end of the connection, and so goes on when one side has ended."""

    def __init__(self, context: ssl.SSLContext, *, server: bool, name: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server, server_hostname=name
        )
        self._fed = True  # since it was last asked for something

    def feed(self, data: bytes) -> None:
        """Give what has arrived, or nothing at the end."""
        self._fed = bool(data)
        self._incoming.write(data)

    def shake_hands(self) -> bool:
        """Whether the handshake is done.

        :raises LineError: if it never will be.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            if not self._fed:
                raise LineEndedError("the end came within the handshake") from None
            return False
        except ssl.SSLError as error:
            raise _explain(error) from error
        return True

    def take_output(self) -> bytes:
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        self._object.write(data)
        return self.take_output()

    def decrypt(self, size: int) -> bytes | None:
        """Some bytes, none at the end, or None if more has to be fed before.

        :raises LineError: if it was changed on the way, or ends within a record.
        """
        try:
            return self._object.read(size)
        except ssl.SSLWantReadError:
            if self._fed:
                return None
            if self._incoming.pending:
                raise LineError("an orderly end within a record") from None
            return b""
        except ssl.SSLError as error:
            raise _explain(error) from error


def _explain(error: OSError) -> LineError:
    match error:
        case (
            ConnectionError() | OSError(errno=errno.ENOTCONN)
        ):  # the latter if the reset came before shutdown()
            return LineResetError(str(error))
        case ssl.SSLError(reason=str() as reason) if "ALERT" in reason or reason == _UNKNOWN_NAME:
            return LineRefusedError(reason)
        case _:
            return LineError(f"{type(error).__name__}: {error}")
