"""A TLS connection in memory: two contexts, no sockets, and what each side ended with."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field


@dataclass(eq=False, kw_only=True)
class End:
    """One side. ``error`` is what its handshake, or its first read, ended with."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    error: ssl.SSLError | None = None
    is_done: bool = False
    received: bytes = b""

    def step(self) -> None:
        """Go on with the handshake as far as the bytes allow, then read."""
        if self.error is not None:
            return
        try:
            if not self.is_done:
                self.tls.do_handshake()
                self.is_done = True
            self.received += self.tls.read(65_536)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error

    def feed(self, data: bytes) -> None:
        """Bytes arrive; ``b""`` is the end of them."""
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        self.step()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """Both sides after everything either had to say has arrived at the other."""

    client: End
    server: End
    transcript: list[bytes] = field(default_factory=list)  # what the server sent, piece by piece


def end(context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> End:
    """One side alone, for feeding it what no TLS library would send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)
    return End(tls=tls, incoming=incoming, outgoing=outgoing)


def shake_hands(
    client: ssl.SSLContext,
    server: ssl.SSLContext,
    *,
    dialed: str = "localhost",
    session: ssl.SSLSession | None = None,
) -> Handshake:
    """Let the two talk until both are silent. The client asks for the session again, if there is one."""
    one = end(client, server_side=False, server_hostname=dialed)
    if session is not None:
        one.tls.session = session
    other = end(server, server_side=True)
    result = Handshake(client=one, server=other)
    while True:
        one.step()
        to_server = one.outgoing.read()
        other.incoming.write(to_server)
        other.step()
        to_client = other.outgoing.read()
        one.incoming.write(to_client)
        result.transcript.append(to_client)
        if not to_server and not to_client:
            return result
