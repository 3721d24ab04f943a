"""The socket of a relay.

Rule: this file knows whether the socket is read, what it has still to take, and how it is closed. It knows
of no stream: when to read, what to write and what an end means is said in ``relay``, which adds the
other end, and where all is set when a connection is made.

A class above ``Relay`` and no object beside it: that would cost every connection its size, and every chunk
one more look-up.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from .socket_options import address, reset_when_closed

# From here on copying costs more than finding the socket behind a transport. On Windows no socket is a file
# descriptor, and its number may be that of a file.
LARGE: Final = 16 * 1024 if os.name == "posix" else sys.maxsize


class RelaySocket(asyncio.BufferedProtocol):
    """One socket, and what is to be done to it."""

    __slots__ = ("_deadline", "_eof_waiting", "_reading", "_socket_ended", "_transport", "_writing_paused")

    _transport: asyncio.Transport
    _reading: bool
    _writing_paused: bool
    _eof_waiting: bool  # the socket's end of file waits for the buffer
    _socket_ended: bool
    _deadline: asyncio.TimerHandle | None

    # What the owner may ask

    @property
    def source(self) -> tuple[str, int]:
        """The address at the far end of the socket.

        To be asked in ``connected``: of a socket that the far end has reset, the system no longer tells.
        """
        return address(self._transport.get_extra_info("peername"))

    @property
    def destination(self) -> tuple[str, int]:
        """The address at our end, to be asked when ``source`` is."""
        return address(self._transport.get_extra_info("sockname"))

    @property
    def descriptor(self) -> int:
        """The number of the socket, which is another's as soon as it is closed."""
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    @property
    def socket_ended(self) -> bool:
        """Whether the socket will give no more bytes."""
        return self._socket_ended

    @property
    def holding(self) -> int:
        """How many bytes wait for the socket to take them."""
        return self._transport.get_write_buffer_size()

    # What the owner may do

    def set_deadline(self, seconds: float) -> None:
        """Have ``timed_out`` called then, unless this is called again or cleared."""
        self.clear_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._deadline_passed)

    def clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Its own

    def _deadline_passed(self) -> None:
        raise NotImplementedError

    def _write_uncopied(self, chunk: memoryview) -> int:
        """Write what the socket takes now, past its transport, of which nothing waits; how much that was.

        A transport keeps what it is given, so what is in a buffer of ours would have to be copied for it.
        """
        try:
            return os.write(self.descriptor, chunk)
        except OSError:  # full, or broken: the transport sees which when it is given the same
            return 0

    def _end_writing(self) -> None:
        """Send the socket its end of file, behind what is still buffered."""
        self._eof_waiting = self._writing_paused
        if self._eof_waiting or self._transport.is_closing():
            return
        try:
            self._transport.write_eof()
        except OSError:  # reset by the far end, which the loop has not seen yet
            asyncio.get_running_loop().call_soon(self._transport.abort)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _reset_socket(self) -> None:
        """Close with RST: a plain close would tell the far end that all went well."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            reset_when_closed(connection)
        self._transport.abort()
