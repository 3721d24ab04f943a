"""``tidegate status``: asking a running agent, once or again and again."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.status import GatewayStatus
from tests.support.agents import TIDEGATE, environment, running, tidegate
from tests.support.site import local_ports
from tests.support.states import write_gateway, write_keys
from tests.support.terminal import CTRL_C, on_terminal


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state file of a gateway that can run."""
    directory = tmp_path_factory.mktemp("status")
    write_keys(directory)
    control, public = local_ports(2)
    return write_gateway(directory, control=control, public=public)


@pytest.fixture(scope="module")
def gateway(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A gateway that runs while the tests of this file do."""
    with running("gateway", state) as process:
        yield process


@pytest.mark.usefixtures("gateway")
def test_the_agent_is_found_by_the_state_file_of_this_directory(state: Path) -> None:
    result = tidegate("status", directory=state.parent)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("gw1, gateway, 0 of 1 tunnel ready, generation 1 in force, ")


@pytest.mark.usefixtures("gateway")
def test_in_a_pipe_each_tunnel_is_one_plain_line_however_long(state: Path) -> None:
    lines = tidegate("status", state.name, directory=state.parent).stdout.splitlines()

    (line,) = [line for line in lines if line.startswith("web ")]
    assert "  homelab -> web " in line
    assert "  Client away  " in line
    assert line.endswith("homelab is not connected: start the client, or look at its log.")
    assert not any("\x1b" in line for line in lines)


@pytest.mark.usefixtures("gateway")
def test_json_is_what_the_api_serves(state: Path) -> None:
    result = tidegate("status", "--socket", "gateway.sock", "--json", directory=state.parent)

    status = GatewayStatus.model_validate_json(result.stdout)
    assert [tunnel.name for tunnel in status.tunnels] == ["web"]


@pytest.mark.usefixtures("gateway")
def test_watched_as_json_each_status_is_a_line_until_it_is_stopped(state: Path) -> None:
    with subprocess.Popen(
        [*TIDEGATE, "status", "--watch", "--json"],
        cwd=state.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        times = [json.loads(process.stdout.readline())["now"] for _ in range(2)]
        process.send_signal(signal.SIGINT)

        assert process.wait() == 0
    assert times[0] < times[1]


@pytest.mark.usefixtures("gateway")
def test_watched_on_a_terminal_it_is_a_table_that_ctrl_c_leaves(state: Path) -> None:
    command = [*TIDEGATE, "status", "--watch"]
    with on_terminal(command, directory=state.parent, environment=environment()) as terminal:
        terminal.read_until("Client away")
        terminal.read_until("Ctrl-C leaves the agent running.")
        terminal.type(CTRL_C)

        assert terminal.wait() == 0
        assert terminal.is_clean


def test_a_watcher_sees_the_agent_go_and_come_back(tmp_path: Path) -> None:
    write_keys(tmp_path)
    control, public = local_ports(2)
    state = write_gateway(tmp_path, control=control, public=public)
    with running("gateway", state) as gateway:
        command = [*TIDEGATE, "status", "--watch"]
        with on_terminal(command, directory=tmp_path, environment=environment()) as terminal:
            terminal.read_until("Client away")
            gateway.kill()
            gateway.wait()
            terminal.read_until("No answer")
            terminal.read_until("What is shown is old: no agent runs")
            state.write_text(state.read_text().replace("gw1", "gw2"))
            with running("gateway", state):
                terminal.read_until("gw2")
                terminal.type(CTRL_C)
                assert terminal.wait() == 0


def test_without_an_agent_it_says_how_to_start_one(tmp_path: Path) -> None:
    state = write_gateway(tmp_path)

    result = tidegate("status", directory=tmp_path)

    assert result.returncode == 1
    assert result.stderr.startswith("tidegate: error: no agent runs at ")
    assert result.stderr.endswith(f"tidegate gateway {state.name}\n")
