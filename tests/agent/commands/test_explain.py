"""``tidegate explain``, typed beside a gateway that runs, and held against what visitors get."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.explanation import Explanation
from tests.support.agents import running, tidegate
from tests.support.site import local_ports
from tests.support.states import write_client, write_gateway, write_keys


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state file of a gateway that runs, with a port that has a hostname."""
    write_keys(tmp_path)
    control, public, named = local_ports(3)
    state = write_gateway(tmp_path, control=control, public=public)
    with state.open("a") as file:
        file.write(
            f"  - {{name: named, listen: ':{named}', hostname: a.test, client: homelab, service: web}}\n"
        )
    (tmp_path / "port").write_text(str(named))
    with running("gateway", state):
        yield state


def test_it_says_what_the_visitor_gets_and_that_is_what_the_visitor_gets(state: Path) -> None:
    port = (state.parent / "port").read_text()

    away = tidegate("explain", f"127.0.0.1:{port}", "--host", "a.test", directory=state.parent)
    unknown = tidegate("explain", port, "--host", "b.test", "--json", directory=state.parent)

    assert (away.returncode, away.stderr) == (1, "")
    assert away.stdout.splitlines() == [
        f"127.0.0.1:{port} with the HTTP host a.test",
        f"  0.0.0.0:{port} answers, which is every IPv4 address of the gateway.",
        "  The tunnel named has this very hostname, which beats every pattern.",
        "  homelab is not connected.",
        "The visitor gets HTTP 503 Service Unavailable: tunnel named (gateway.yaml:13) cannot take it.",
    ]
    assert unknown.returncode == 1
    assert json.loads(unknown.stdout)["format_version"] == 1
    assert Explanation.model_validate_json(unknown.stdout).gets == "HTTP 404 Not Found"
    for name, line in (
        ("a.test", b"HTTP/1.1 503 Service Unavailable"),
        ("b.test", b"HTTP/1.1 404 Not Found"),
    ):
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as visitor:
            visitor.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            assert visitor.recv(100).startswith(line)


def test_status_0_is_for_a_visitor_who_gets_through(state: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "pki").symlink_to(tmp_path / "pki")
    control = state.read_text().partition("127.0.0.1:")[2].partition('"')[0]
    with running("client", write_client(home, control=int(control))):
        assert tidegate("wait", directory=tmp_path).returncode == 0
        port = (tmp_path / "port").read_text()
        through = tidegate(
            "explain", f":{port}", "--sni", "A.test", "--socket", "gateway.sock", directory=tmp_path
        )
        at_home = tidegate("explain", ":443", directory=home)

    assert (through.returncode, through.stderr) == (0, "")
    assert through.stdout.splitlines()[0] == f":{port} with the TLS server name a.test: 0.0.0.0:{port}"
    assert through.stdout.endswith("The visitor gets through: tunnel named, client homelab, service web.\n")
    assert at_home.stderr == (
        "tidegate: error: this agent is a client, and visitors come to a gateway; ask the gateway\n"
    )


def test_a_question_that_is_none_is_one_line(tmp_path: Path) -> None:
    result = tidegate("explain", "blog.example.com:443", directory=tmp_path)

    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "ask for :443 --sni blog.example.com, or with --host" in result.stderr
