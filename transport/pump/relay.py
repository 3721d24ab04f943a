"""A relay: one socket, joined to one stream.

Rule: this file moves bytes between the two and passes on how each side ends: an
end of file crosses as FIN, a reset as RST, and each direction ends alone. It
never decides where a socket leads; its owner does, by calling it.
"""

from __future__ import annotations

import asyncio
from mmap import mmap
from typing import Any, Final, cast

from transport.wire.errors import LocalProtocolError
from transport.wire.mux import MuxStream

from .kept_stream import KeptStream
from .link import Link
from .relay_owner import RelayEnd as RelayEnd  # who owns relays needs it
from .relay_owner import RelayOwner as RelayOwner
from .relay_phase import NO_STREAM_YET, NOT_READ, REFUSABLE, WATCHED, Phase
from .relay_socket import LARGE, RelaySocket
from .socket_options import is_broken, keep_alive

# Larger reads make small streams wait behind bulk ones and bring nothing.
_CHUNK: Final = 64 * 1024
# What is still read when the link is full, before reading pauses. With a whole chunk each, a
# thousand busy visitors would put 64 MB onto a link that just said it has no room.
_LAST_CHUNK: Final = 1024
# Shared by all relays of the process: the loop reads into it and we copy out of it in one callback.
_READ: Final = memoryview(mmap(-1, _CHUNK))  # see Link: it takes memory where it was used
# How long a visitor who was refused may take to read why, in seconds. Closing at once would
# send a reset when it is still sending, and a reset discards what it has not read.
_REFUSAL_LINGER: Final = 2.0


class Relay(RelaySocket):
    """One socket, and the stream it is joined to once there is one.

    ``bytes_read`` and ``bytes_written`` count what went between socket and stream.
    ``early`` is what was read before there was a stream, or for one that was refused, until it is sent.
    ``note`` belongs to the owner.
    """

    __slots__ = (
        "_end", "_link", "_owed", "_owner", "_phase", "_stream_ended",
        "bytes_read", "bytes_written", "early", "note", "stream",
    )  # fmt: skip

    _link: Link

    def __init__(self, owner: RelayOwner) -> None:
        self.stream: MuxStream | KeptStream | None = None
        self.early = bytearray()
        self.bytes_read = 0
        self.bytes_written = 0
        self.note: Any = None
        self._owner = owner
        self._phase = Phase.NEW
        self._end = RelayEnd.DONE
        self._reading = False
        self._writing_paused = False
        self._eof_waiting = False
        self._owed = 0  # written, but not taken by the kernel
        self._socket_ended = False
        self._stream_ended = False
        self._deadline = None

    # What the owner may ask

    @property
    def is_opening(self) -> bool:
        """Whether the far side has still to accept the stream."""
        return self._phase is Phase.OPENING

    @property
    def progress(self) -> int:
        """A number that changes whenever a byte moves."""
        return self.bytes_read + self.bytes_written - self.holding

    # What the owner may do

    def peek(self) -> None:
        """Begin to read into ``early``."""
        self._phase = Phase.PEEKING
        self._resume_reading()
        if self.early or self._socket_ended:
            asyncio.get_running_loop().call_soon(self._peeked)

    def open(self, link: Link, header: bytes, *, keeps: bool = False) -> None:
        """Open a stream with that header and join it. What was peeked follows, now if the link has room.

        :param keeps: whether what is read is ``early`` again if the stream is refused, for another one.
        :raises LocalProtocolError: if the session can open no stream, or the socket has died.
            Nothing has changed then.
        """
        if self._phase not in NO_STREAM_YET:
            raise LocalProtocolError("the visitor is joined already, or has gone")
        first = self.early if not link.is_paused else bytearray()
        stream = link.mux.open_stream(self, header + first)
        self.stream = KeptStream(stream, bytearray(first)) if keeps else stream
        self._link = link
        self._phase = Phase.OPENING
        self.bytes_read = len(first)
        if first:
            self.early = bytearray()
        if self._socket_ended:
            self._pass_on_end()
        self._begin_reading()

    def withdraw(self) -> None:
        """Take back a stream that the far side has not accepted. Another one can be opened then."""
        if self._phase is Phase.OPENING:
            self._drop_stream()
            self._begin_again()

    def join(self, link: Link, stream: MuxStream, *, prologue: bytes, early: bytearray, ended: bool) -> None:
        """Accept a stream that the peer opened, and join it.

        :param prologue: written to the socket first; no part of the stream.
        :param early: what came on the stream already.
        :param ended: whether the stream's end came already.
        """
        if self._phase is Phase.CLOSED:
            stream.reset()
            return
        stream.accept()
        stream.sink = self
        self.stream, self._link, self._phase = stream, link, Phase.JOINED
        if prologue:
            self._transport.write(prologue)
        if early:
            self.data(memoryview(early))
        if stream.is_closed:
            return  # it was given up for what it holds
        if self._socket_ended:
            self._pass_on_end()
        self._begin_reading()
        if ended:
            self.fin()

    def say(self, words: bytes) -> None:
        """Write something of our own to the socket: before there is a stream, or when its owner is told that
        the far side accepts it. Whatever comes on the stream is written behind it.
        """
        if not self._transport.is_closing():  # else the loop is about to tell of its end
            self._transport.write(words)

    def refuse(self, answer: bytes) -> None:
        """Close the socket after these bytes; drop what it still sends.

        Only for a socket that the far side has not accepted. A relay that is joined is aborted:
        an answer of ours behind the service's words would be taken for one of them.
        """
        if self._phase is Phase.JOINED:
            self.abort()
        if self._phase not in REFUSABLE or self._transport.is_closing():
            return
        self._end = RelayEnd.ABORTED
        self._drop_stream()
        self.stream = None
        self.early = bytearray()
        self.set_deadline(_REFUSAL_LINGER)
        self._transport.write(answer)
        if self._socket_ended or not answer:
            self._close()
            return
        self._end_writing()
        self._phase = Phase.REFUSED
        self._resume_reading()

    def abort(self) -> None:
        """Give up at once: reset the socket, and the stream if there is one."""
        self._abort(RelayEnd.ABORTED)

    def give_up(self) -> None:
        """Make room: too much waits for sockets that take nothing, and this one's has waited longest."""
        self._abort(RelayEnd.NOT_TAKEN)

    def look(self) -> None:
        """See to a socket that has been there for a while.

        From now on the system watches whether the machine at the far end is still there. And one that broke
        while nothing was read from it is noticed: no loop watches it then.
        """
        if self._phase not in WATCHED or self._transport.is_closing():
            return
        connection = self._transport.get_extra_info("socket")
        if not self._reading and is_broken(connection):
            self._abort(RelayEnd.SOCKET_LOST)
        else:
            keep_alive(connection)

    def forget(self) -> None:
        """Say that the socket is closed, in place of a loop that closed it without a word."""
        if self._phase is not Phase.NEW:
            self.connection_lost(None)

    # StreamSink: what the mux calls

    def data(self, chunk: memoryview) -> None:
        transport = self._transport
        if transport.is_closing():
            return  # the socket broke; its connection_lost comes this turn and resets the stream
        size = len(chunk)
        self.bytes_written += size
        if size >= LARGE and not self._writing_paused:
            sent = self._write_uncopied(chunk)
            if sent and self.stream is not None:
                self.stream.take(sent)
            if sent == size:
                return
            chunk = chunk[sent:]
            size -= sent
        transport.write(bytes(chunk))
        if self._writing_paused:
            self._owed += size
            self._link.held.add(self, size)
        elif self.stream is not None:
            self.stream.take(size)

    def fin(self) -> None:
        self._stream_ended = True
        if not self._socket_ended:  # else the close says it
            self._end_writing()
        self._one_direction_ended()

    def reset(self) -> None:
        if self._phase is Phase.OPENING:
            self._link.forget(self._resume_reading)
            self._begin_again()
            self._owner.refused(self)
        else:
            self._end = RelayEnd.STREAM_RESET
            self._reset_socket()

    def acknowledged(self) -> None:
        self._phase = Phase.JOINED
        if isinstance(self.stream, KeptStream):
            self.stream = self.stream.stream
            self._resume_reading()  # as much was kept as may be
        self._owner.acknowledged(self)

    def credit(self) -> None:
        if not self._reading:
            self._resume_reading()

    # asyncio.BufferedProtocol: what the socket calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._phase = Phase.WAITING
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._reading = True  # as every loop will after this callback, if nobody says otherwise
        self._owner.connected(self)
        # uvloop begins to read even if somebody does: what then comes before the owner has
        # decided is kept, see buffer_updated.
        if self._phase is Phase.WAITING and not self._transport.is_closing():
            self._pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        stream = self.stream
        if stream is None:
            return _READ
        credit = stream.send_window.credit  # never 0 here: reading pauses when it is
        if self._link.is_paused:
            return _READ[: min(credit, _LAST_CHUNK)]
        return _READ if credit >= _CHUNK else _READ[:credit]

    def buffer_updated(self, nbytes: int) -> None:
        self._reading = True  # also when it was not asked for
        stream = self.stream
        if stream is None:
            self._keep(_READ[:nbytes])
            return
        unsent = stream.send(_READ[:nbytes])
        self.bytes_read += nbytes
        link = self._link
        if unsent > link.flush_at:
            link.flush_if_large()
        if not stream.send_window.credit:
            self._pause_reading()
        elif link.is_paused:
            self._pause_reading()
            link.call_when_writable(self._resume_reading)

    def eof_received(self) -> bool:
        self._socket_ended = True
        self._reading = False
        if self._phase is Phase.REFUSED:
            self._close()
        elif self.stream is not None:
            self._pass_on_end()
        else:
            self._peeked()
        return True  # the other direction lives on

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        owed, self._owed = self._owed, 0
        if owed:
            self._link.held.discard(self)
            if self.stream is not None:
                self.stream.take(owed)
        if self._eof_waiting:
            # Not now: the standard loop calls this before its own bookkeeping is done.
            asyncio.get_running_loop().call_soon(self._end_writing)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._phase is Phase.CLOSED:
            return
        if self._end is RelayEnd.DONE and (self._phase is not Phase.CLOSING or exc is not None):
            self._end = RelayEnd.SOCKET_LOST
        self._phase = Phase.CLOSED
        if self._owed:
            self._link.held.discard(self)
        self._drop_stream()
        self.clear_deadline()
        self._owner.ended(self, self._end)
        # Its sink is this: two that know each other are found by nobody but the garbage collector, some
        # thousand visitors later, and with them all that they have.
        self.stream = None

    # Its own

    def _keep(self, chunk: memoryview) -> None:
        """What is read while there is no stream."""
        if self._phase is Phase.REFUSED:
            return
        self.early += chunk
        if self._phase is Phase.WAITING:
            self._pause_reading()
        self._peeked()

    def _peeked(self) -> None:
        if self._phase is Phase.PEEKING:
            self._owner.peeked(self)

    def _pass_on_end(self) -> None:
        """The socket has ended, so the stream's direction does, behind all that was read."""
        if self.early:
            return  # they are on their way, see _send_early
        assert self.stream is not None  # or there would be nothing to pass it on to
        self.stream.send_fin()
        self._one_direction_ended()

    def _resume_reading(self) -> None:
        """Read, if there is anything to read for, behind what was read before there was a stream."""
        stream = self.stream
        comes_first = self.early if stream is not None and stream.may_send else b""
        if self._phase in NOT_READ or ((self._reading or self._socket_ended) and not comes_first):
            return
        if stream is not None:
            if not stream.send_credit:
                return
            if self._link.is_paused:
                self._link.call_when_writable(self._resume_reading)
                return
            if comes_first:
                self._send_early(stream)
                return
        self._reading = True
        self._transport.resume_reading()

    def _begin_reading(self) -> None:
        """Read for a stream that is new, behind what was read before there was one."""
        assert self.stream is not None
        if self.early or self._link.is_paused or not self.stream.send_credit:
            self._pause_reading()
        self._resume_reading()

    def _begin_again(self) -> None:
        """Be without a stream, as before the last one."""
        self._pause_reading()
        if isinstance(self.stream, KeptStream):
            self.early[:0] = self.stream.kept
        self.stream = None
        self._phase = Phase.WAITING

    def _send_early(self, stream: MuxStream | KeptStream) -> None:
        """Send what was read before there was a stream and did not go with its first frame."""
        first = self.early[: stream.send_credit]
        del self.early[: len(first)]
        stream.send(first)
        self.bytes_read += len(first)
        if self._socket_ended:
            self._pass_on_end()
        self._link.flush_if_large()
        self._resume_reading()

    def _deadline_passed(self) -> None:
        self._deadline = None
        if self._end is RelayEnd.ABORTED:
            self._reset_socket()
        else:
            self._owner.timed_out(self)

    def _one_direction_ended(self) -> None:
        if self._socket_ended and self._stream_ended and not self.early:
            self._close()
        else:
            self._owner.half_closed(self)

    def _close(self) -> None:
        """Close once what is buffered has been written."""
        self._pause_reading()
        self._phase = Phase.CLOSING
        self._transport.close()

    def _abort(self, end: RelayEnd) -> None:
        if self._phase is Phase.CLOSED:
            return  # and its file descriptor may be another's by now
        self._end = end
        self._drop_stream()
        self._reset_socket()

    def _drop_stream(self) -> None:
        if self.stream is not None:
            self.stream.reset()  # harmless on a closed one
            self._link.forget(self._resume_reading)
