"""What real agents of both roles remember when they are started again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.client.role import Client
from agent.gateway.role import Gateway
from reconcile.placing import place
from reconcile.together import Change, replace_together
from schemas.confirmation import ConfirmationRequest, ConfirmedFile, Stage
from schemas.state import GatewayState
from tests.support.journal import Journal
from tests.support.peers import free_listen
from tests.support.roles import Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def kept(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def content(path: Path) -> bytes:
    return path.read_bytes()


def undone_in(seconds: float, before: bytes, after: bytes) -> ConfirmationRequest:
    digests = [hashlib.sha256(data).hexdigest() for data in (before, after)]
    file = ConfirmedFile(name="gateway.yaml", before=digests[0], after=digests[1])
    return ConfirmationRequest(within=seconds, files=(file,))


async def test_the_generations_of_a_gateway_go_on(files: Files, journal: Journal) -> None:
    path = files.gateway(free_listen())
    async with running(Gateway(path)):
        files.gateway(free_listen())
        await journal.wait_for("state_in_force", generation=2)
    again = Gateway(path)
    async with running(again):
        assert again.status().source.generation == 2
        assert kept(files.directory / "gateway.history") == ["00000001.json", "00000002.json", "last"]


async def test_the_generations_of_a_client_go_on_where_its_data_is(files: Files, journal: Journal) -> None:
    path = files.client("127.0.0.1:1")
    place(path, content(path).replace(b"client:\n", b"client:\n  data: data\n"))
    async with running(Client(path)):
        place(path, content(path) + b"  mail: '127.0.0.1:2'\n")
        await journal.wait_for("state_accepted", generation=2)
    again = Client(path)
    async with running(again):
        assert again.status().source.generation == 2
        directory = files.directory / "data" / "client.history"
        assert kept(directory) == ["00000001.json", "00000002.json", "last"]


async def test_an_agent_whose_history_cannot_be_kept_runs_and_says_so(files: Files) -> None:
    path = files.gateway(free_listen())
    place(files.directory / "gateway.history", b"in the way")
    gateway = Gateway(path)
    async with running(gateway):
        status = gateway.status()
        assert status.ready
        (warning,) = status.warnings
        assert warning.startswith("nothing can be kept in ")


async def test_what_could_not_be_kept_is_kept_as_soon_as_there_is_room(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    gateway = Gateway(files.gateway(free_listen()))
    async with running(gateway):
        with monkeypatch.context() as patched:
            patched.setattr("reconcile.history.place", full)
            files.gateway(free_listen())
            await journal.wait_for("history_not_kept")
        gateway.reload()
        await journal.wait_for("history_kept")
        assert list(gateway.status().warnings) == []
        directory = files.directory / "gateway.history"
        assert kept(directory) == ["00000001.json", "00000002.json", "last"]


async def test_a_change_that_nobody_confirms_is_undone_even_where_a_guard_would_stop_it(
    files: Files, journal: Journal
) -> None:
    """The state before had no tunnel at all, which is refused when it happens by accident."""
    path = files.gateway(end="allow_empty: true\n")
    place(path, content(path).replace(b"allow_empty: true\n", b""))
    old = content(path)
    gateway = Gateway(path)
    async with running(gateway):
        files.gateway(free_listen())
        new = content(path)
        place(path, old)

        await gateway.memory.confirmation.arm(undone_in(5.0, old, new))
        place(path, new)
        await journal.wait_for("state_in_force", generation=2)
        assert any("must be confirmed by" in warning for warning in gateway.status().warnings)
        await gateway.memory.confirmation.undo()
        await journal.wait_for("state_in_force", generation=3)
        state = gateway.status()
        assert (state.tunnels, content(path)) == ((), old)
        assert not [warning for warning in state.warnings if "confirmed" in warning]


async def test_a_start_after_the_deadline_never_sees_the_new_state(files: Files) -> None:
    path = files.gateway(free_listen())
    old, new = content(path), b"tidegate: 1\nthis is not a state\n"
    first = Gateway(path)
    async with running(first):
        await first.memory.confirmation.arm(undone_in(1.0, old, new))
    place(path, new)
    note = path.with_name(".gateway.yaml.confirmation")
    place(note, content(note).replace(b'"deadline": "2', b'"deadline": "1'))

    again = Gateway(path)
    async with running(again):
        assert again.memory.confirmation.report().stage is Stage.RESTORED
        assert isinstance(again._reconciler.status.state, GatewayState)
        assert again.status().source.generation == 1


async def test_what_a_command_has_left_that_was_killed_is_carried_out_by_the_agent_that_runs(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever looks at the files sees what counts, and may put any of them back."""
    old = content(files.gateway(free_listen()))
    directory = files.directory / "sites.d"
    directory.mkdir()
    fragment = b"tidegate: 1\ntunnels: []\n"
    place(directory / "10-base.yaml", old.replace(b"pki/", b"../pki/"))
    place(directory / "20-more.yaml", fragment)
    base = content(directory / "10-base.yaml")
    gateway = Gateway(directory)
    async with running(gateway):
        replace_half(
            directory,
            [
                Change(name="10-base.yaml", before=base, after=base + b"# new\n"),
                Change(name="20-more.yaml", before=fragment, after=fragment + b"# new\n"),
            ],
            monkeypatch,
        )
        gateway.reload()
        await journal.wait_for("replacing_finished")
        assert content(directory / "20-more.yaml") == fragment + b"# new\n"
        assert kept(directory) == ["10-base.yaml", "20-more.yaml"]


async def test_what_cannot_be_carried_out_is_told_once(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def refuse(state: Path) -> bool:
        tried.append(state)
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("agent.past.memory._RETRY", 0.0)
    monkeypatch.setattr("agent.past.memory.finish_orphan", refuse)
    path = files.gateway(free_listen())
    gateway = Gateway(path)
    async with running(gateway):
        while len(tried) < 3:
            await gateway.reload_and_report()
    assert len(journal.find("replacing_not_finished")) == 1


def replace_half(directory: Path, changes: list[Change], monkeypatch: pytest.MonkeyPatch) -> None:
    """Die when the change counts and nothing of it is in place."""

    def die(*arguments: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr("reconcile.together._carry_out", die)
        with pytest.raises(InterruptedError):
            replace_together(directory, changes)
