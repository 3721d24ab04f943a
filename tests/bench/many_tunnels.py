"""State files of thousands of tunnels, and those that differ from them in a line.

Rule: pure. The same numbers give the same text, written as a person or a template would write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CLIENT = "homelab"
SERVICE = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Ports one after the other at one address.

    :param names: hostnames on each; with none, each port is one tunnel without a hostname.
    """

    host: str
    first: int
    count: int
    names: int = 0

    @property
    def addresses(self) -> list[str]:
        return [f"{self.host}:{self.first + number}" for number in range(self.count)]

    @property
    def tunnels(self) -> int:
        return self.count * (self.names or 1)


def head(control: str, public: str) -> str:
    """The gateway itself, its client, and a tunnel for whoever only wants to get through."""
    return (
        "tidegate: 1\n"
        "gateway:\n"
        "  name: gw-bench\n"
        f'  control: "{control}"\n'
        "  tls: {cert: pki/gateway.crt, key: pki/gateway.key, client_ca: pki/ca.crt}\n"
        "clients:\n"
        f"  - id: {CLIENT}\n"
        "tunnels:\n" + _tunnel("visited", public, None)
    )


def entries(ports: Ports) -> list[str]:
    """A text for each tunnel."""
    return list(_entries(ports))


def fragments(texts: Sequence[str], count: int) -> list[str]:
    """The same tunnels in so many files."""
    size = -(-len(texts) // count)
    return [
        "tidegate: 1\ntunnels:\n" + "".join(texts[start : start + size])
        for start in range(0, len(texts), size)
    ]


def hostname(port: int, number: int) -> str:
    return f"host{number}.port{port}.example.com"


def _entries(ports: Ports) -> Iterator[str]:
    for address in ports.addresses:
        port = int(address.rpartition(":")[2])
        if not ports.names:
            yield _tunnel(f"port-{port}", address, None)
        for number in range(ports.names):
            yield _tunnel(f"port-{port}-{number}", address, hostname(port, number))


def _tunnel(name: str, listen: str, host: str | None) -> str:
    named = "" if host is None else f'    hostname: "{host}"\n'
    return f'  - name: {name}\n    listen: "{listen}"\n{named}    client: {CLIENT}\n    service: {SERVICE}\n'
