"""The start of an agent: what it may touch, and when."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.gateway.role import Gateway
from agent.past.undoing import note_path
from agent.process.own_socket import OwnSocketError
from reconcile.placing import place
from schemas.confirmation import ConfirmationRequest, ConfirmedFile, Stage
from schemas.errors import StateError
from tests.support.peers import free_listen
from tests.support.roles import Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

BROKEN = b"tidegate: 1\nthis is not a state\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def content(path: Path) -> bytes:
    return path.read_bytes()


async def arm(gateway: Gateway, path: Path, after: bytes) -> None:
    """A change of the state, of which the agent that is started next believes that its time is up."""
    digests = [hashlib.sha256(data).hexdigest() for data in (content(path), after)]
    file = ConfirmedFile(name=path.name, before=digests[0], after=digests[1])
    await gateway.memory.confirmation.arm(ConfirmationRequest(within=60.0, files=(file,)))
    place(path, after)
    note = note_path(path)
    place(note, content(note).replace(b'"deadline": "2', b'"deadline": "1'))


async def test_a_second_agent_is_refused_before_it_undoes_a_change_of_the_first(files: Files) -> None:
    path = files.gateway(free_listen())
    new = content(path) + b"# new\n"
    first = Gateway(path)
    async with running(first):
        await arm(first, path, new)
        with pytest.raises(OwnSocketError, match="another agent serves"):
            await Gateway(path).run()
        assert content(path) == new
        assert note_path(path).exists()


async def test_a_second_agent_that_cannot_read_the_state_is_refused_as_well(files: Files) -> None:
    path = files.gateway(free_listen())
    first = Gateway(path)
    async with running(first):
        await arm(first, path, BROKEN)
        with pytest.raises(OwnSocketError, match="another agent serves"):
            await Gateway(path).run()
        assert content(path) == BROKEN


@pytest.mark.parametrize("socket", ["", "  socket: elsewhere.sock\n"], ids=["usual place", "elsewhere"])
async def test_a_state_that_cannot_be_read_gives_way_to_the_one_before(files: Files, socket: str) -> None:
    path = files.gateway(free_listen())
    old = content(path).replace(b"gateway:\n", f"gateway:\n{socket}".encode())
    place(path, old)
    first = Gateway(path)
    async with running(first):
        await arm(first, path, BROKEN)

    again = Gateway(path)
    async with running(again):
        assert again.memory.confirmation.report().stage is Stage.RESTORED
        assert (path.parent / ("elsewhere.sock" if socket else "gateway.sock")).is_socket()
    assert content(path) == old


async def test_a_state_that_cannot_be_read_and_has_nothing_before_it_is_told(files: Files) -> None:
    path = files.gateway(free_listen())
    place(path, BROKEN)

    with pytest.raises(StateError):
        await Gateway(path).run()
    assert not path.with_name("gateway.sock").exists()
