"""States of thousands of tunnels: they are states, of as many tunnels as they say."""

from __future__ import annotations

from schemas.parse import parse_gateway
from schemas.text import Syntax, read_document

from .many_tunnels import Ports, entries, fragments, head, hostname

HEAD = head("127.0.0.1:9056", "127.0.0.1:1000")


def read(*texts: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What the texts declare together: name -> address and hostnames."""
    documents = [
        read_document(text.encode(), name=f"{number}.yaml", directory="/etc", syntax=Syntax.YAML)
        for number, text in enumerate(texts)
    ]
    return {
        tunnel.name: (str(tunnel.listen[0]), tunnel.hostname) for tunnel in parse_gateway(documents).tunnels
    }


def test_each_port_has_so_many_tunnels_with_a_hostname_each() -> None:
    ports = Ports(host="127.0.0.1", first=2000, count=3, names=4)

    found = read(HEAD + "".join(entries(ports)))

    assert len(found) == 1 + ports.tunnels == 13
    assert found["port-2002-3"] == ("127.0.0.1:2002", (hostname(2002, 3),))


def test_a_port_without_names_is_one_tunnel_without_a_hostname() -> None:
    ports = Ports(host="127.0.0.1", first=2000, count=3)

    found = read(HEAD + "".join(entries(ports)))

    assert [found[f"port-{port}"] for port in (2000, 2001, 2002)] == [(one, ()) for one in ports.addresses]
    assert ports.tunnels == 3


def test_the_same_tunnels_in_several_files_are_the_same_state() -> None:
    texts = entries(Ports(host="127.0.0.1", first=2000, count=5, names=2))

    parts = fragments(texts, 4)

    assert len(parts) == 4
    assert read(HEAD, *parts) == read(HEAD + "".join(texts))
