"""``tidegate wait``, typed beside agents that run, that start late, and that never come."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.agents import TIDEGATE, environment, running, tidegate
from tests.support.site import local_ports
from tests.support.states import write_client, write_gateway, write_keys


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state file of a gateway that can run, beside that of a client in another directory."""
    write_keys(tmp_path)
    control, public = local_ports(2)
    home = tmp_path / "home"
    home.mkdir()
    (home / "pki").symlink_to(tmp_path / "pki")
    write_client(home, control=control)
    return write_gateway(tmp_path, control=control, public=public)


def test_what_is_met_is_said_and_what_is_missing_at_the_end(state: Path) -> None:
    with running("gateway", state):
        programmed = tidegate("wait", "--for", "Programmed", directory=state.parent)
        away = tidegate("wait", "web", "--timeout", "0s", directory=state.parent)
        unknown = tidegate("wait", "wbe", "--timeout", "1h", directory=state.parent)

    assert (programmed.returncode, programmed.stderr) == (0, "")
    assert programmed.stdout.splitlines() == ["gateway.yaml is in force, generation 1", "web is Programmed"]
    assert (away.returncode, away.stdout) == (1, "")
    assert away.stderr.splitlines() == [
        "web is not Ready: homelab is not connected: start the client, or look at its log.",
        "tidegate: error: it is not so after 0ms: mend that, or set a longer --timeout",
    ]
    assert unknown.stderr == 'tidegate: error: there is no tunnel "wbe"; did you mean web?\n'


def test_what_holds_by_an_earlier_state_is_met_with_a_warning(state: Path) -> None:
    good = state.read_text()
    with running("gateway", state):
        state.write_text(good.replace("service: web", "servise: web"))
        named = tidegate("wait", "web", "--for", "programmed", directory=state.parent)
        everything = tidegate("wait", "--for", "Programmed", "--timeout", "0s", directory=state.parent)

    assert (named.returncode, named.stdout) == (0, "web is Programmed\n")
    assert named.stderr.startswith("tidegate: warning: the newest state is refused, gateway.yaml:")
    assert named.stderr.endswith("; generation 1 still counts\n")
    assert everything.returncode == 1
    assert everything.stderr.startswith("gateway.yaml is not in force: the newest state is refused, ")


def test_what_was_written_just_before_is_what_is_waited_for(state: Path) -> None:
    """Nobody has to guess how long the agent takes to notice."""
    (port,) = local_ports(1)
    with running("gateway", state):
        with state.open("a") as file:
            file.write(f'  - {{name: more, listen: "127.0.0.1:{port}", client: homelab, service: web}}\n')
        result = tidegate("wait", "more", "--for", "Programmed", directory=state.parent)

    assert (result.returncode, result.stdout) == (0, "more is Programmed\n")


def test_an_agent_that_starts_is_waited_for_until_a_visitor_gets_through(state: Path) -> None:
    home = state.parent / "home"
    with subprocess.Popen(
        [*TIDEGATE, "wait", "web"],
        cwd=state.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        with running("gateway", state), running("client", home / "client.yaml"):
            linked = tidegate("wait", directory=home)
            assert waiting.wait() == 0
        assert waiting.stdout is not None
        assert waiting.stdout.read() == "web is Ready\n"

    assert linked.returncode == 0
    assert "127.0.0.1:" in linked.stdout.splitlines()[-1]
    assert linked.stdout.endswith(" is Ready\n")


def test_an_agent_that_never_comes_is_told_with_how_to_start_it(state: Path) -> None:
    result = tidegate("wait", "--timeout", "10ms", directory=state.parent)

    assert result.returncode == 1
    assert result.stderr.startswith("tidegate: error: no agent runs at ")
    assert result.stderr.endswith("start it with: tidegate gateway gateway.yaml\n")


def test_a_socket_that_is_no_agents_is_not_waited_for(state: Path) -> None:
    result = tidegate("wait", "--socket", "x" * 200, "--timeout", "1h", directory=state.parent)

    assert result.returncode == 1
    assert "too long; is it the right path?" in result.stderr
