"""More ports or visitors than a gateway may open files: it goes on, says so, and can be told otherwise."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.real_software import Programs
from tests.support.site import PATIENCE, STOCK_LOOP, Agent, Site, connect, site

pytestmark = pytest.mark.real_software("sh")

_LIMIT: Final = 512
_TOO_MANY: Final = 600
_HOW: Final = "raise the limit (LimitNOFILE, ulimit -n) or declare fewer ports"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


@pytest.fixture
def listen(place: Site) -> str:
    """Where the operator's only tunnel listens."""
    return place.listen()


@pytest.fixture
def many(place: Site) -> Sequence[str]:
    return [place.listen() for _ in range(_TOO_MANY)]


def limited(programs: Programs) -> Sequence[str]:
    """What starts a program that may open few files, whatever it asks for."""
    return [programs["sh"], "-c", f'ulimit -n {_LIMIT}; exec "$@"', "sh"]


def tunnels(*addresses: str) -> list[dict[str, Any]]:
    return [
        {"name": f"t{number}", "listen": address, "client": "homelab", "service": "web"}
        for number, address in enumerate(addresses)
    ]


def entries(addresses: Sequence[str]) -> list[dict[str, Any]]:
    """The same as the body of a request."""
    return [
        {
            "ClientId": "homelab",
            "ListenAddress": address.rpartition(":")[0],
            "ListenPort": int(address.rpartition(":")[2]),
            "BackEndService": "web",
        }
        for address in addresses
    ]


def ask(gateway: Agent, method: str, path: str, body: object = None) -> tuple[int, str]:
    """Status and text of the answer of the admin socket."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    with closing(http.client.HTTPConnection("gateway")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(str(gateway.socket_path))
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_old_file_is_in_force_again_as_soon_as_it_is_back(
    place: Site, programs: Programs, listen: str, many: Sequence[str]
) -> None:
    state = place.gateway_file(tunnels(listen))
    gateway = place.start("gateway", state, inside=limited(programs))

    place.gateway_file(tunnels(listen, *many))
    failed = gateway.wait_for("resource_failed")
    assert f"is not opened: this agent may open {_LIMIT} files" in failed["reason"]
    assert _HOW in failed["reason"]
    assert ask(gateway, "GET", "/ping")[0] == HTTPStatus.OK
    connect(listen).close()

    place.gateway_file(tunnels(listen))
    gateway.wait_for("state_in_force", generation=3)
    connect(listen).close()
    assert gateway.stop() == 0


def test_a_change_that_nobody_confirms_is_undone(
    place: Site, programs: Programs, listen: str, many: Sequence[str]
) -> None:
    state = place.gateway_file(tunnels(listen))
    before = state.read_text()
    gateway = place.start("gateway", state, inside=limited(programs))
    too_many = state.with_suffix(".next")
    place.put(too_many.name, yaml.safe_load(before) | {"tunnels": tunnels(listen, *many)})
    change = {"name": state.name, "before": digest(state), "after": digest(too_many)}

    # Time enough for it to be read first, on any machine.
    status, text = ask(gateway, "PUT", "/v1/confirmation", {"within": 5, "files": [change]})
    assert status == HTTPStatus.OK, text
    too_many.replace(state)
    gateway.wait_for("resource_failed")

    gateway.wait_for("state_in_force", generation=3)
    assert state.read_text() == before
    connect(listen).close()


def test_a_declaration_for_which_there_is_no_room_is_refused_before_anything_is_written(
    place: Site, programs: Programs, listen: str, many: Sequence[str]
) -> None:
    gateway = place.start("gateway", place.gateway_file(tunnels(listen)), inside=limited(programs))
    before = sorted(path.name for path in place.directory.iterdir())

    status, text = ask(gateway, "PUT", "/tunnels", entries(many))

    assert (status, _HOW in text) == (HTTPStatus.CONFLICT, True), text
    assert sorted(path.name for path in place.directory.iterdir()) == before
    assert not any(line["event"] == "resource_failed" for line in gateway.lines)
    connect(listen).close()
    half = entries(many[: _TOO_MANY // 2]), entries(many[_TOO_MANY // 2 :])
    for wanted in half:  # the second half has room, for it takes the place of the first
        status, text = ask(gateway, "PUT", "/tunnels", wanted)
        assert status == HTTPStatus.OK, text


def test_a_gateway_that_starts_with_too_many_ports_takes_fewer(
    place: Site, programs: Programs, listen: str, many: Sequence[str]
) -> None:
    """As after a crash, or with a limit that is lower than before."""
    state = place.gateway_file(tunnels(listen))
    gateway = place.start("gateway", state)
    status, text = ask(gateway, "PUT", "/tunnels", entries(many))
    assert status == HTTPStatus.OK, text
    gateway.kill()

    gateway = place.start("gateway", state, inside=limited(programs))
    assert _HOW in gateway.wait_for("resource_failed")["reason"]
    connect(listen).close()
    status, text = ask(gateway, "PUT", "/tunnels", [])
    assert status == HTTPStatus.OK, text
    assert gateway.wait_for("state_in_force")


@pytest.mark.parametrize("options", [[], [STOCK_LOOP]], ids=["uvloop", "stock loop"])
def test_a_crowd_of_visitors_leaves_the_gateway_what_it_needs_to_be_changed(
    place: Site, programs: Programs, listen: str, options: Sequence[str]
) -> None:
    def write(hostname: str) -> Path:
        (tunnel,) = tunnels(listen)
        return place.gateway_file([tunnel | {"hostname": hostname}], peek_timeout="10m")

    gateway = place.start("gateway", write("a.example"), *options, inside=limited(programs))
    with ExitStack() as crowd:
        for _ in range(_TOO_MANY):
            crowd.enter_context(connect(listen))
        turned_away = gateway.wait_for("visitor_refused")
        assert "raise the limit (LimitNOFILE, ulimit -n)" in turned_away["reason"]

        write("b.example")
        gateway.wait_for("state_in_force", generation=2)
        assert ask(gateway, "GET", "/ping")[0] == HTTPStatus.OK
