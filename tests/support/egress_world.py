"""Two machines for tests of egress: one of a gateway, with names of its own, and one of a mail server.

Rule: the gateway is a process, and so is whatever resolves names for it; the name server is the test's.
"""

from __future__ import annotations

import itertools
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from .egress_by_hand import Asker
from .name_server import NameServer
from .namespaces import Machine, two_machines
from .site import PATIENCE, Site, connect, site, tidegate
from .within import add_address, within
from .yamux_peer import hostile_client

# Nobody's machines but those of the test have these here.
GATEWAY, SECOND, MAIL = "203.0.114.1", "203.0.114.3", "203.0.114.2"
NEIGHBOR: Final = "10.9.8.7"
EVERYTHING: Final = ["*", "0.0.0.0/0", "::/0"]


class World:
    """The machines, the name server, and the gateway with its ports."""

    def __init__(self, place: Site, public: Machine, internet: Machine, names: NameServer) -> None:
        self.place = place
        self.public = public
        self.internet = internet
        self.names = names
        self._marks = itertools.count()
        self.control, self.management, self.door = (
            int(listen.rpartition(":")[2]) for listen in (place.control, place.listen(), place.listen())
        )
        for client in ("homelab", "office"):
            place.issue(client)
        self.rules: list[dict[str, Any]] = [
            {"client": "homelab", "to": EVERYTHING, "ports": "*"},
            {"client": "office", "to": ["*.example.com", "203.0.114.0/28"], "ports": [25]},
        ]
        self.gateway = place.start("gateway", self.write(*self.rules), inside=public.inside)

    def write(self, *rules: dict[str, Any], **more: str) -> Path:
        return self.place.gateway_file(
            [{"name": "web", "listen": f":{self.door}", "client": "homelab", "service": "web"}],
            control=f":{self.control}",
            management=f"127.0.0.1:{self.management}",
            ping_interval="600s",
            egress={"allow": list(rules), **more},
        )

    def put(self, *rules: dict[str, Any], **more: str) -> None:
        """Go by other rules from when this returns."""
        self.write(*rules, **more)
        tidegate("reload", "--socket", str(self.gateway.socket_path)).check_returncode()

    @contextmanager
    def client(self, client_id: str = "homelab") -> Iterator[Asker]:
        with hostile_client(
            self.place,
            client_id,
            connect=lambda listen: within(self.internet, lambda: connect(f"{GATEWAY}:{self.control}")),
        ) as peer:
            yield Asker(peer)

    @contextmanager
    def listening(self, machine: Machine, address: str, port: int = 25) -> Iterator[socket.socket]:
        """A port that somebody has open."""
        with within(machine, lambda: socket.create_server((address, port))) as server:
            server.settimeout(PATIENCE)
            yield server

    def mark(self, asker: Asker) -> int:
        """Where the log is now: behind all that anybody has asked so far."""
        host = f"{next(self._marks)}.1"  # which is no name
        asker.asks(host, 1)
        return self.gateway.lines.index(self.gateway.wait_for("egress_refused", destination=f"{host}:1")) + 1

    def refusals(self, mark: int, count: int = 1) -> list[str]:
        """What the log has said of refusals since; so many, once they are there."""
        reasons: list[str] = []
        for _ in range(count):
            line = self.gateway.wait_for("egress_refused", after=mark)
            mark = self.gateway.lines.index(line, mark) + 1
            reasons.append(line["reason"])
        return reasons


@contextmanager
def egress_world(directory: Path) -> Iterator[World]:
    """As long as the block runs."""
    with ExitStack() as stack:
        public, internet = stack.enter_context(two_machines())
        for address in (GATEWAY, SECOND):
            add_address(public, address)
        add_address(internet, MAIL)
        own = Path("/etc/netns", public.name)  # what ip netns exec puts in place of the same in /etc
        own.mkdir(parents=True)
        stack.callback(shutil.rmtree, own)
        (own / "resolv.conf").write_text("nameserver 127.0.0.53\noptions timeout:5 attempts:1\n")
        (own / "nsswitch.conf").write_text("hosts: files dns\n")
        (own / "hosts").write_text(f"127.0.0.1 localhost\n{MAIL} listed.example.com\n")
        names = NameServer(within(public, _port_53))
        stack.callback(names.close)
        names.put("mail.example.com", [MAIL])
        yield World(stack.enter_context(site(directory, GATEWAY)), public, internet, names)


def _port_53() -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.bind(("127.0.0.53", 53))
    return connection


def is_silent(server: socket.socket) -> bool:
    """Whether nobody has come."""
    server.setblocking(False)
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


def socks5_reply(host: str, port: int) -> int:
    """What the SOCKS5 port of this machine replies (RFC 1928, sections 3, 4 and 6)."""
    try:
        address = ip_address(host)
    except ValueError:
        wanted = bytes([3, len(host)]) + host.encode()
    else:
        wanted = bytes([1 if address.version == 4 else 4]) + address.packed
    with connect("127.0.0.1:1080") as program:
        program.sendall(b"\x05\x01\x00")
        assert program.recv(2) == b"\x05\x00"
        program.sendall(b"\x05\x01\x00" + wanted + port.to_bytes(2, "big"))
        version, reply = program.recv(2)
    assert version == 5
    return reply
