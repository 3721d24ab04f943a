"""Keys are looked at whenever somebody rings, and what is wrong is told when it stays wrong."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.keys import key_watch
from agent.keys.key_watch import KeyWatch, KeyWatches
from schemas.errors import TidegateError
from schemas.references import EnvRef, FileRef, Reference
from schemas.state import TlsGateway
from tests.support.journal import PATIENCE, Journal

pytestmark = pytest.mark.anyio

TLS = TlsGateway(cert=FileRef("cert.pem"), key=EnvRef("KEY"), client_ca=FileRef("ca.pem"))
OTHER = TlsGateway(cert=FileRef("other.pem"), key=EnvRef("KEY"), client_ca=FileRef("ca.pem"))
MISMATCH = TidegateError("the two do not belong together")


class User:
    """Finds what the test says."""

    meanwhile = "the old one is in use"

    def __init__(self, *in_use: TlsGateway) -> None:
        self.in_use: Iterable[TlsGateway] = in_use or (TLS,)
        self.finds: Exception | Mapping[str, str] | None = None
        self.looks = 0
        self._looked = anyio.Event()

    def references(self, tls: TlsGateway) -> Iterable[Reference]:
        return tls.cert, tls.key, tls.client_ca

    async def renew(self, tls: TlsGateway) -> Mapping[str, str] | None:
        self.looks += 1
        looked, self._looked = self._looked, anyio.Event()
        looked.set()
        if isinstance(self.finds, Exception):
            raise self.finds
        return self.finds

    async def look(self) -> None:
        """Wait for the next one."""
        with anyio.fail_after(PATIENCE):
            await self._looked.wait()
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def watching(user: User) -> AsyncIterator[KeyWatch[TlsGateway]]:
    watch = KeyWatch(user)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        yield watch
        tasks.cancel_scope.cancel()


async def find(watch: KeyWatch[TlsGateway], user: User, what: Exception | Mapping[str, str] | None) -> None:
    """Ring, and wait until that has been found."""
    await anyio.wait_all_tasks_blocked()
    user.finds = what
    watch.ring()
    await user.look()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is given time to finish."""
    monkeypatch.setattr(key_watch, "SETTLING", 0.0)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes has all the time there is."""
    monkeypatch.setattr(key_watch, "SETTLING", math.inf)


async def test_nothing_is_looked_at_before_somebody_rings(journal: Journal) -> None:
    user = User()
    async with watching(user) as watch:
        await anyio.wait_all_tasks_blocked()
        assert user.looks == 0
        await find(watch, user, None)
        assert user.looks == 1
    assert not journal.lines


async def test_what_is_new_is_logged(journal: Journal) -> None:
    user = User()
    async with watching(user) as watch:
        await find(watch, user, {"serial": "1234"})
    assert journal.find("keys_renewed", serial="1234")


@pytest.mark.usefixtures("never")
async def test_a_pair_that_is_whole_again_in_time_was_never_wrong(journal: Journal) -> None:
    """Nothing is logged but the new pair, however often somebody looked in between."""
    user = User()
    async with watching(user) as watch:
        await find(watch, user, MISMATCH)
        await find(watch, user, OSError("it is being written"))
        assert not watch.warnings
        await find(watch, user, {"serial": "1234"})
    assert [line["event"] for line in journal.lines] == ["keys_renewed"]


@pytest.mark.usefixtures("at_once")
async def test_what_stays_wrong_is_told_once_and_shown_until_it_is_mended(journal: Journal) -> None:
    user = User()
    async with watching(user) as watch:
        for _ in range(3):
            await find(watch, user, MISMATCH)
        told = "the two do not belong together; the old one is in use"
        assert list(watch.warnings) == [told]
        assert [line["reason"] for line in journal.find("keys_refused")] == [told]

        await find(watch, user, TidegateError("it is damaged"))
        assert list(watch.warnings) == ["it is damaged; the old one is in use"]

        await find(watch, user, None)
        assert not watch.warnings
        assert journal.find("keys_mended")
        assert len(journal.find("keys_refused")) == 2


async def test_what_stays_wrong_is_told_though_nobody_rings_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_watch, "SETTLING", 0.01)
    user = User()
    async with watching(user) as watch:
        await find(watch, user, MISMATCH)
        await journal.wait_for("keys_refused")
        assert watch.warnings
        looks = user.looks
        await anyio.wait_all_tasks_blocked()
        assert user.looks == looks  # and now it waits for a ring


@pytest.mark.usefixtures("at_once")
async def test_what_is_used_no_more_cannot_be_wrong(journal: Journal) -> None:
    user = User()
    async with watching(user) as watch:
        await find(watch, user, MISMATCH)
        user.in_use = (OTHER,)
        await find(watch, user, None)
        assert not watch.warnings


async def test_a_defect_costs_one_look_and_not_the_agent(journal: Journal) -> None:
    user = User()
    async with watching(user) as watch:
        await find(watch, user, ValueError("nobody thought of this"))
        assert journal.find("key_look_failed", level="error")
        await find(watch, user, {"serial": "1234"})
        assert journal.find("keys_renewed")


async def test_a_defect_at_keys_that_may_be_mended_is_told_as_well(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there would be another look at once, for ever."""
    monkeypatch.setattr(key_watch, "SETTLING", 0.01)
    user = User()
    async with watching(user) as watch:
        await find(watch, user, MISMATCH)
        user.finds = ValueError("nobody thought of this")
        await journal.wait_for("keys_refused")
        looks = user.looks
        await anyio.wait_all_tasks_blocked()
        assert user.looks == looks
        assert list(watch.warnings) == [
            "a defect in Tidegate: ValueError; please report it; the old one is in use"
        ]


async def test_files_are_watched_where_each_link_to_them_lies(tmp_path: Path) -> None:
    for name in ("live", "archive", "ca"):
        (tmp_path / name).mkdir()
    (tmp_path / "live" / "cert.pem").symlink_to("../archive/cert1.pem")
    user = User(
        TlsGateway(
            cert=FileRef(str(tmp_path / "live" / "cert.pem")),
            key=EnvRef("KEY"),
            client_ca=FileRef(str(tmp_path / "ca" / "ca.pem")),
        )
    )
    assert KeyWatch(user).watch_directories() == {tmp_path / name for name in ("live", "archive", "ca")}


async def test_without_files_there_is_nothing_to_watch() -> None:
    user = User()
    user.in_use = ()
    assert KeyWatch(user).watch_directories() == set()


async def test_several_are_rung_watched_and_told_of_as_one(
    journal: Journal, at_once: None, tmp_path: Path
) -> None:
    users = [User(), User(OTHER)]
    watches = KeyWatches(*(KeyWatch(user) for user in users))
    for user in users:
        user.finds = MISMATCH
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watches.run)
        await anyio.wait_all_tasks_blocked()
        watches.ring()
        await users[0].look()
        tasks.cancel_scope.cancel()

    assert [user.looks for user in users] == [1, 1]
    assert watches.warnings == ("the two do not belong together; the old one is in use",) * 2
    (tmp_path / "a").mkdir()
    users[1].in_use = (TLS.model_copy(update={"key": FileRef(str(tmp_path / "a" / "key.pem"))}),)
    assert tmp_path / "a" in watches.watch_directories()


async def test_whoever_looks_hears_whether_the_files_will_do(at_once: None) -> None:
    user = User()
    async with watching(user) as watch:
        with anyio.fail_after(PATIENCE):
            assert await watch.look() == ()
            user.finds = MISMATCH
            assert await watch.look() == (f"{MISMATCH}; the old one is in use",)
            user.finds = None
            assert await KeyWatches(watch, watch).look() == ()


async def test_whoever_looks_waits_for_who_is_writing_the_files(never: None) -> None:
    user = User()
    user.finds = MISMATCH
    heard: list[tuple[str, ...]] = []

    async def look() -> None:
        heard.append(await watch.look())

    async with watching(user) as watch, anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await user.look()
        await anyio.wait_all_tasks_blocked()
        assert heard == []
        await find(watch, user, None)
    assert heard == [()]
