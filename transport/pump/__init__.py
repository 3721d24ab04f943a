"""The hot path: buffered protocols that join sockets to the streams of a session.

Rule: every byte of a visitor passes through this package and no task switch
happens on its way. It is the one place that may import asyncio; everything above
it is anyio. It decides nothing: what a frame means is the mux's business, where
a visitor goes the business of whoever implements ``RelayOwner``.

Why it looks as it does: profiles of such a pump show most of the time in system
calls, then in copies, then in task switches. So there are no streams and no tasks
here; a socket is read into one buffer that all of them share (a fresh buffer of
that size for each read costs three memory-map calls); and what one turn of the
loop has to say on a link leaves in one TLS write.

Backpressure, both ways, without a queue of our own:

- A socket is read only into the credit of its stream. No credit, or a link that
  is full: its reading pauses.
- What arrives on a stream is written to its socket, and the credit goes back when
  the kernel has taken the bytes: a write buffer of more than nothing pauses the
  protocol, and what is written while it is paused stays owed.

``link`` is the TLS connection with the mux on it, ``relay`` one socket joined to
one stream, ``sockets`` makes both.
"""
