"""What counts while somebody is at work on the files: nobody waits for him but who wants what he writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from reconcile import settling
from reconcile import source as source_module
from reconcile.declared import DeclaredFile
from reconcile.reading import RestlessError, Snapshot, StateText
from reconcile.source import FileSource, Loaded
from reconcile.writers import Writers
from schemas.roles import Role
from schemas.state import GatewayState

from .settled import attend_once, load_settled

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

HEAD = """\
tidegate: 1
gateway:
  tls: {cert: gw.crt, key: gw.key, client_ca: ca.crt}
tunnels:
  - {name: blog, listen: "0.0.0.0:443", client: homelab, service: web}
"""
MAIL = '  - {name: mail, listen: "0.0.0.0:25", client: homelab, service: mail}\n'
DECLARED = """\
tidegate = 1
[[tunnels]]
name = "shop"
listen = "0.0.0.0:80"
client = "office"
service = "shop"
declared_by = "office"
"""


class Writing:
    """A state file, and whether somebody writes it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "gw.yaml"
        self.path.write_text(HEAD)
        self.declared = DeclaredFile(directory / "gw.api.toml")
        self.source = FileSource(self.path, role=Role.GATEWAY, owned=self.declared.path)
        self.writers = Writers.NOBODY

    def writers_of(self, path: Path) -> Writers:
        return self.writers

    def begin(self) -> None:
        self.writers = Writers.SOMEBODY
        self.path.write_text(HEAD + MAIL[:20])

    def finish(self) -> None:
        self.path.write_text(HEAD + MAIL)
        self.writers = Writers.NOBODY


@pytest.fixture
def writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writing:
    writing = Writing(tmp_path)
    monkeypatch.setattr(settling, "writers_of", writing.writers_of)
    return writing


def names(loaded: Loaded) -> list[str]:
    assert isinstance(loaded.state, GatewayState)
    return [tunnel.name for tunnel in loaded.state.tunnels]


async def test_a_reading_does_not_wait_for_who_writes(writing: Writing) -> None:
    before = await writing.source.load()
    writing.begin()
    loaded = await writing.source.load()

    assert (loaded.generation, loaded.state, loaded.fresh) == (1, before.state, False)
    assert loaded.problems == ()
    assert str(loaded.unsettled) == (
        f"{writing.path}:1:1: somebody is still writing it; it is read again soon"
    )


async def test_the_bell_rings_when_he_has_finished_and_all_of_it_counts_at_once(writing: Writing) -> None:
    await writing.source.load()
    writing.begin()
    await writing.source.load()
    writing.finish()
    await attend_once(writing.source)
    loaded = await writing.source.load()

    assert (loaded.generation, loaded.unsettled, names(loaded)) == (2, None, ["blog", "mail"])


async def test_what_is_declared_through_the_api_counts_meanwhile(writing: Writing) -> None:
    await writing.source.load()
    writing.begin()
    writing.declared.replace(DECLARED.encode())
    declared = await writing.source.load()
    again = await writing.source.load()
    writing.finish()
    whole = await load_settled(writing.source)

    assert (declared.generation, declared.fresh, names(declared)) == (2, True, ["blog", "shop"])
    assert declared.problems == ()
    assert declared.unsettled is not None
    assert (again.generation, again.fresh) == (2, False)
    assert (whole.generation, names(whole)) == (3, ["blog", "mail", "shop"])


async def test_what_is_declared_meanwhile_does_not_make_the_file_wait_longer(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the operator's files that must rest."""
    await writing.source.load()
    writing.begin()
    await writing.source.load()
    read, declared = writing.source._read, [DECLARED, DECLARED.replace("80", "81")]

    def declare_and_read() -> Snapshot:
        if declared:
            writing.declared.replace(declared.pop().encode())
        return read()

    writing.finish()
    monkeypatch.setattr(writing.source, "_read", declare_and_read)
    monkeypatch.setattr(settling, "_STEP", 3600.0)  # what a change makes it wait
    await attend_once(writing.source)

    assert names(await writing.source.load()) == ["blog", "mail", "shop"]


async def test_what_has_settled_counts_even_if_the_file_stays_open(writing: Writing) -> None:
    """As with somebody who never closes it. Every other content has to settle anew."""
    await writing.source.load()
    writing.finish()
    writing.writers = Writers.UNKNOWN
    loaded = await load_settled(writing.source)
    writing.path.write_text(HEAD + "# another\n" + MAIL)
    other = await writing.source.load()

    assert (loaded.generation, names(loaded)) == (2, ["blog", "mail"])
    assert (other.generation, other.unsettled is not None) == (2, True)


async def test_what_happens_while_a_reading_goes_on_is_not_forgotten(writing: Writing) -> None:
    """A file is begun again while the one before it is read as settled."""
    await writing.source.load()
    writing.begin()
    await writing.source.load()
    writing.finish()
    await attend_once(writing.source)
    writing.begin()
    again = await writing.source.load()
    writing.finish()
    whole = await load_settled(writing.source)

    assert (again.generation, again.unsettled is not None) == (1, True)
    assert (whole.generation, names(whole)) == (2, ["blog", "mail"])


async def test_work_that_goes_on_for_long_is_logged_once(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writing.source.load()
    writing.begin()
    await writing.source.load()
    looks = 0

    async def settle(snapshot: Snapshot, read: object, accepted: Sequence[StateText]) -> Snapshot:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise RestlessError("gw.yaml", "somebody is still writing it")
        return snapshot

    monkeypatch.setattr(source_module, "settle", settle)
    monkeypatch.setattr(source_module, "LIMIT", 0.0)
    monkeypatch.setattr(source_module, "QUIET", 0.0)
    with capture_logs() as lines:
        await attend_once(writing.source)

    assert looks == 4
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("state_unsettled", "warning")
    assert line["reason"] == "gw.yaml:1:1: somebody is still writing it"


async def test_whatever_a_look_raises_the_next_reading_tells(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writing.source.load()
    writing.begin()
    await writing.source.load()

    def fail() -> Snapshot:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(source_module, "QUIET", 0.0)
    monkeypatch.setattr(writing.source, "_read", fail)
    await attend_once(writing.source)
    with pytest.raises(RuntimeError, match="nobody thought"):
        await writing.source.load()


async def test_nothing_rings_while_nothing_is_waited_for(writing: Writing) -> None:
    rung: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writing.source.attend, lambda: rung.append("rung"))
        await writing.source.load()
        writing.finish()
        await writing.source.load()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert rung == []
