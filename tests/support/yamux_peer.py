"""A peer that speaks yamux by hand, over real TLS with a real certificate, and says whatever a test wants.

Rule: nothing here comes from the code under test, not the layout of a header nor a number, so that a mistake
there is not made here as well. Nothing waits for ever: what does not come fails the test.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .site import PATIENCE, Site, connect

DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
FIRST_WINDOW: Final = 262_144
_HEADER: Final = struct.Struct("!BBHII")
_ALPN: Final = "tidegate/1"


def header(kind: int, flags: int, stream: int, length: int, *, version: int = 0) -> bytes:
    """A header alone, whatever it announces."""
    return _HEADER.pack(version, kind, flags, stream, length)


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return header(DATA, flags, stream, len(payload)) + payload


def window(stream: int, credit: int = 0, flags: int = 0) -> bytes:
    return header(WINDOW, flags, stream, credit)


def ping(value: int, flags: int = SYN) -> bytes:
    return header(PING, flags, 0, value)


def line(**message: Any) -> bytes:
    """A message of the control stream."""
    return json.dumps(message).encode() + b"\n"


def open_header(service: str, **changes: Any) -> bytes:
    """What a gateway says first on a visitor's stream."""
    said = {
        "tunnel": "by-hand",
        "service": service,
        "source": ["192.0.2.7", 50_000],
        "destination": ["198.51.100.1", 443],
        "proxy_protocol": "off",
        **changes,
    }
    return with_length(json.dumps(said).encode())


def with_length(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


@dataclass(frozen=True, slots=True)
class Said:
    """One frame of the other side."""

    kind: int
    flags: int
    stream: int
    length: int
    payload: bytes = b""


class YamuxPeer:
    """One end of a link. It reads only when told to."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.tls = tls
        self.address = "{}:{}".format(*tls.getsockname()[:2])
        self._read = bytearray()

    def say(self, *frames: bytes) -> None:
        self.tls.sendall(b"".join(frames))

    def say_until(self, is_over: Callable[[], bool], frames: bytes) -> None:
        """Again and again, until the other side has had enough. It is a failure if that takes 1 GiB.

        TLS does not always tell the writer that nobody reads any more, so the test says when it is over.
        """
        with suppress(ConnectionError, ssl.SSLError):
            for _ in range((1 << 30) // len(frames)):
                self.tls.sendall(frames)
                if is_over():
                    return
            raise AssertionError("the other side took a gibibyte of this")

    def frame(self) -> Said | None:
        """The next frame, or None at the end of the link."""
        start = self._exactly(_HEADER.size)
        if start is None:
            return None
        version, kind, flags, stream, length = _HEADER.unpack(start)
        assert version == 0
        payload = self._exactly(length) if kind == DATA else b""
        return None if payload is None else Said(kind, flags, stream, length, payload)

    def frames(self) -> Iterator[Said]:
        """Every frame until the end of the link."""
        while (said := self.frame()) is not None:
            yield said

    def until(self, is_it: Callable[[Said], object]) -> Said:
        """Read up to that frame."""
        said = self.frame()
        while said is not None:
            if is_it(said):
                return said
            said = self.frame()
        raise AssertionError("the link ended before that was said")

    def message(self) -> dict[str, Any]:
        """The next line of the control stream."""
        text = bytearray()
        while not text.endswith(b"\n"):
            text += self.until(lambda said: said.stream == 1 and said.kind == DATA).payload
        message: dict[str, Any] = json.loads(text)
        return message

    def assert_alive(self) -> None:
        """The other side answers a ping, so it is done with all that was said before."""
        self.say(ping(4_711))
        self.until(lambda said: (said.kind, said.flags, said.length) == (PING, ACK, 4_711))

    def _exactly(self, size: int) -> bytes | None:
        while len(self._read) < size:
            try:
                chunk = self.tls.recv(1 << 16)
            except (ConnectionError, ssl.SSLEOFError):
                chunk = b""
            if not chunk:
                return None
            self._read += chunk
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken


@contextmanager
def hostile_client(
    place: Site,
    client_id: str,
    *services: str,
    greets: bool = True,
    connect: Callable[[str], socket.socket] = connect,
) -> Iterator[YamuxPeer]:
    """A client of the site's gateway; greeted, unless the test wants to begin otherwise.

    :param connect: how the gateway's port is reached.
    """
    place.issue(client_id)
    context = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    context.load_cert_chain(place.pki / f"{client_id}.crt", place.pki / f"{client_id}.key")
    context.set_alpn_protocols([_ALPN])
    with context.wrap_socket(connect(place.control), server_hostname=place.address) as tls:
        peer = YamuxPeer(tls)
        if greets:
            hello = line(type="hello", protocol=1, id=client_id, software="by hand", services=list(services))
            peer.say(data(1, hello, SYN))
            assert peer.message()["type"] == "welcome"
        yield peer


class HostileGateway:
    """A gateway of which the test itself accepts every link, at an address of the site."""

    def __init__(self, place: Site) -> None:
        self.listen = place.listen()
        host, _, port = self.listen.rpartition(":")
        self._listening = socket.create_server((host, int(port)), backlog=64)
        self._listening.settimeout(PATIENCE)
        self._context = _gateway_context(place.pki)

    def accept(self, *, welcomes: bool = True) -> YamuxPeer:
        """The next client; welcomed, unless the test wants to answer otherwise."""
        connection, _ = self._listening.accept()
        connection.settimeout(PATIENCE)
        peer = YamuxPeer(self._context.wrap_socket(connection, server_side=True))
        assert peer.message()["type"] == "hello"
        if welcomes:
            welcome = line(type="welcome", protocol=1, gateway="by hand", software="by hand")
            peer.say(window(1, 0, ACK), data(1, welcome))
        return peer

    def close(self) -> None:
        self._listening.close()


def _gateway_context(pki: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "gateway.crt", pki / "gateway.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([_ALPN])
    return context
