"""``kill -9`` in the middle of every write, of the agent or of a command: what is left is whole."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from reconcile.history import list_generations, read_generation
from tests.support.agents import TIDEGATE, environment, wait_for
from tests.support.dying import dying_program
from tests.support.operated import Operated, operated

pytestmark = pytest.mark.timeout(180)  # every step of a write is a process or two

DEAD = -signal.SIGKILL
MOST = 60  # steps of one write: a guard against one that never ends


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    with operated(tmp_path, capsys) as place:
        place.write("a")
        yield place


def start(place: Operated, command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=place.directory,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_both(process: subprocess.Popen[str], *events: str) -> None:
    """Read the log until it has both, in whichever order."""
    missing = set(events)
    assert process.stderr is not None
    while missing:
        missing.discard(json.loads(process.stderr.readline())["event"])


def entry(place: Operated, name: str) -> dict[str, Any]:
    return {
        "ClientId": "homelab",
        "ListenAddress": "127.0.0.1",
        "ListenPort": place.port(name),
        "BackEndService": name,
    }


def put(place: Operated, *names: str) -> bool:
    """Declare these tunnels; whether the agent lived to answer."""
    transport = httpx2.HTTPTransport(uds=str(place.directory / "gateway.sock"))
    with httpx2.Client(transport=transport, trust_env=False, timeout=60) as http:
        try:
            http.put("http://agent/tunnels", json=[entry(place, name) for name in names]).raise_for_status()
        except (httpx2.NetworkError, httpx2.RemoteProtocolError):
            return False
    return True


def services(place: Operated) -> set[str]:
    """Those of the tunnels in force, as the agent says."""
    return {tunnel["service"] for tunnel in place.types_json("status")["tunnels"]}


def check_history(place: Operated) -> list[int]:
    """Every generation is whole; their numbers."""
    shelf = list_generations(place.directory / "gateway.history")
    assert shelf.damaged == ()
    for generation in shelf.generations:
        read_generation(place.directory / "gateway.history", generation.number)
    return [generation.number for generation in shelf.generations]


def test_a_gateway_killed_while_it_takes_a_declaration_comes_back_with_all_of_it_or_none(
    place: Operated,
) -> None:
    """The declaration, and after it the generation that it makes, are written by the same process."""
    trigger = place.directory / "trigger"
    declarations = itertools.cycle([("b", "c"), ("d",)])
    before, after = {"web"}, {"web"}
    highest = 0
    for step in range(1, MOST):
        process = start(
            place, dying_program(step, trigger, "gateway", "gateway.yaml", "--log-format", "json")
        )
        with process:
            try:
                wait_for(process, "gateway_started")
                found = services(place)
                assert found in (before, after)
                numbers = check_history(place)
                assert numbers[-1] >= highest
                highest = numbers[-1]

                names = next(declarations)
                before, after = found, {"web", *names}
                trigger.touch()
                has_answered = put(place, *names)
                trigger.unlink()
            finally:
                process.kill()
        if has_answered:
            assert step > 8  # it was killed in the fragment and in the history before
            break
    check_history(place)
    with place.running():
        assert services(place) == after


def test_an_apply_that_is_killed_has_put_all_of_the_file_in_place_or_none(place: Operated) -> None:
    old, new = place.write("a"), place.write("b", "c", name="new.yaml")
    with place.running():
        seen = []
        for step in range(1, MOST):
            command = dying_program(step, place.directory, "apply", "new.yaml", "--to", "gateway.yaml")
            with start(place, command) as process:
                process.communicate()
            assert place.state.read_text() in (old, new)
            seen.append(place.state.read_text())
            assert place.types("reload")[0] == 0
            assert services(place) == {"web"}

            (place.directory / "back.yaml").write_text(old)  # the next one is not in the way of anybody
            status, _, err = place.types("apply", "back.yaml", "--to", "gateway.yaml")
            assert (status, err) == (0, "")
            # A temporary file waits for the next one who writes.
            assert [name for name in place.left() if not name.endswith(".tmp")] == []
            if process.returncode != DEAD:
                assert process.returncode == 0
                break
        assert set(seen) == {old, new}
        assert place.left() == set()
        check_history(place)


def test_a_change_is_undone_though_the_command_and_the_agent_were_killed(place: Operated) -> None:
    """As when a machine is cut off, and started again by somebody who can only do that."""
    old, new = place.write("a"), place.write("b", name="new.yaml")
    with place.running() as gateway:
        status, _, _ = place.types("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "10s")
        assert (status, place.state.read_text()) == (0, new)
        gateway.kill()
        gateway.wait()

    command = [*TIDEGATE, "gateway", "gateway.yaml", "--log-format", "json"]
    with start(place, command) as process:
        try:
            wait_for_both(process, "gateway_started", "change_undone")
            assert place.types("reload")[0] == 0
            assert place.state.read_text() == old
            assert any("the old state is back" in one for one in place.types_json("status")["warnings"])
        finally:
            process.kill()
    assert place.left() == set()


@pytest.mark.parametrize("within", ["1s", "60s"])
def test_an_apply_that_is_killed_after_the_agent_took_it_on_leaves_the_old_file_in_the_end(
    place: Operated, within: str
) -> None:
    """Killed before, while and after it puts the file in place; nobody confirms, or somebody rolls back."""
    old, _ = place.write("a"), place.write("b", name="new.yaml")
    note = place.directory / ".gateway.yaml.confirmation"
    with place.running() as gateway:
        for step in range(1, MOST):
            command = dying_program(
                step, note, "apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", within
            )
            with start(place, command) as process:
                said = process.communicate()
            if within == "60s":
                undone = place.types_json("rollback")
                assert (undone["files"], undone["in_force"]) == (["gateway.yaml"], True), (undone, said)
            wait_for(gateway, "change_undone")
            assert place.state.read_text() == old
            if process.returncode != DEAD:
                break
        assert step > 4
        assert place.types("status")[0] == 0
    assert place.left() - {".gateway.yaml.turn"} == set()
