"""A hundred changes while visitors keep coming: none of them notices."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.wrk import WrkResult, parse_wrk, wrk_command
from tests.support.daemons import nginx
from tests.support.real_software import Programs
from tests.support.site import PATIENCE, Site, site

CHANGES = 100


class Load:
    """Requests without a pause, and what came of them."""

    def __init__(self, wrk: str, listen: str, *, keep_alive: bool) -> None:
        command = wrk_command(
            wrk, f"http://{listen}/", connections=8, seconds=10 * PATIENCE, keep_alive=keep_alive
        )
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def finish(self) -> WrkResult:
        """Stop, as Ctrl-C does. Requests answered with an error raise."""
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=PATIENCE)
        return parse_wrk(output)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def load(wrk: str, listen: str, *, keep_alive: bool) -> Iterator[Load]:
    running = Load(wrk, listen, keep_alive=keep_alive)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


@pytest.mark.real_software("nginx", "wrk")
def test_no_request_fails_while_a_hundred_states_come_into_force(
    place: Site, tmp_path: Path, programs: Programs
) -> None:
    """Neither on tunnels that stay, on a port of its own and beside a neighbour that comes and goes, nor on
    one that is led from one live client to the other and back."""
    addresses = {name: place.listen() for name in ("alone", "shared", "moving", "churning")}
    host = addresses["shared"].rpartition(":")[0]
    neighbour = {"name": "neighbour", "listen": addresses["shared"], "client": "office"}

    def tunnels(turn: int) -> list[dict[str, object]]:
        clients = ["homelab", "office"] if turn % 2 else ["office", "homelab"]
        rows: list[dict[str, object]] = [
            {"name": "alone", "listen": addresses["alone"], "client": "homelab"},
            {"name": "shared", "listen": addresses["shared"], "client": "homelab", "hostname": host},
            {"name": "moving", "listen": addresses["moving"], "client": clients[0]},
            {**neighbour, "hostname": f"n{turn}.test"},
        ]
        if turn % 2:
            rows.append({"name": "churning", "listen": addresses["churning"], "client": clients})
        return [{**row, "service": "web"} for row in rows]

    with nginx(programs["nginx"], tmp_path, "location / { return 200 'ok'; }", at=place.address) as web:
        gateway = place.start("gateway", place.gateway_file(tunnels(0)))
        for client in ("homelab", "office"):
            place.start("client", place.client_file({"web": web}, id=client))
            gateway.wait_for("client_connected", client=client)
        with (
            load(programs["wrk"], addresses["alone"], keep_alive=False) as alone,
            load(programs["wrk"], addresses["shared"], keep_alive=True) as shared,
            load(programs["wrk"], addresses["moving"], keep_alive=False) as moving,
        ):
            for turn in range(1, CHANGES + 1):
                place.gateway_file(tunnels(turn))
                gateway.process.send_signal(signal.SIGHUP)
                gateway.wait_for("state_in_force", generation=turn + 1)
            results = [running.finish() for running in (alone, shared, moving)]

        assert [result.socket_errors for result in results] == [{}, {}, {}]
        assert min(result.requests for result in results) > CHANGES
        refused = [line for line in gateway.lines if line["event"] == "visitor_refused"]
        assert [
            line for line in refused if line["bytes_in"]
        ] == []  # wrk looks whether the port is open first
        served = {line["client"] for line in gateway.lines if line.get("tunnel") == "moving"}
        assert served == {"homelab", "office"}
