"""Carries the bytes of visitors between the two programs.

What this room decides: how a session sounds on the wire, which bytes may be sent
when, when a peer counts as dead, what a link's TLS must be, and how each way of
ending crosses from one socket to the other.

What it may not know: which ports should be open, where a visitor is to go, which
clients may connect, and what a service is. Whoever does know tells it by opening
a relay, joining one, or refusing it, and learns the outcome through the small
protocols that it implements: ``RelayOwner``, ``SessionHandler``, ``LinkOwner``.
It reads no state file, keeps no settings and writes no log.

From the inside out:

- ``wire`` is the protocol without input or output; ``wire/SPEC.md`` says it in words.
- ``pump`` joins sockets to streams. It alone knows an event loop.
- ``session`` greets, keeps alive and ends; ``offer`` is a stream that waits for a socket.
- ``tls`` says what a link's TLS must be and whose certificate it was.
"""
