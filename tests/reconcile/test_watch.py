"""File-system changes ring the bell."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import from_thread
from structlog.testing import capture_logs
from watchfiles import Change

from reconcile import watch as watch_module
from reconcile.hops import directories_on_the_way
from reconcile.watch import watch

pytestmark = pytest.mark.anyio

FOREVER = 3600.0


class Watched:
    """What is watched, and the bell that is rung for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rings = 0
        self._looks_since_ring = 0
        self._changed = anyio.Event()
        self.trouble: list[Exception] = []

    def watch_directories(self) -> set[Path]:
        from_thread.run_sync(self._note_look)
        if self.trouble:
            raise self.trouble.pop()
        return directories_on_the_way(self._path)

    def ring(self) -> None:
        self.rings += 1
        self._looks_since_ring = 0
        self._wake()

    def _note_look(self) -> None:
        self._looks_since_ring += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not condition():
                await self._changed.wait()

    async def at_rest(self) -> None:
        """Until the watch is set up: it looks and looks, and nothing rings."""
        self._looks_since_ring = 0
        await self.until(lambda: self._looks_since_ring > 3)

    async def rung(self, times: int = 1) -> None:
        """Until it has rung that often from now on."""
        wanted = self.rings + times
        await self.until(lambda: self.rings >= wanted)


@asynccontextmanager
async def watching(path: Path, *, poll: float = FOREVER) -> AsyncIterator[Watched]:
    watched = Watched(path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: watch(watched, watched.ring, poll=poll, look=0.05))
        yield watched
        tasks.cancel_scope.cancel()


async def test_it_rings_once_the_watch_is_set_up_because_nobody_looked_before(tmp_path: Path) -> None:
    async with watching(tmp_path / "gw.yaml") as watched:
        await watched.rung()


@pytest.mark.parametrize(
    ("change", "name", "rings"),
    [
        (Change.modified, "gateway.log", 1),
        (Change.added, "gateway.log", 2),
        (Change.deleted, "gateway.log", 2),
        (Change.modified, "gateway.yaml", 2),
    ],
)
async def test_a_log_that_grows_beside_the_files_does_not_ring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, name: str, rings: int
) -> None:
    """The first ring is that of a watch that is set up."""
    seen = anyio.Event()

    async def changes(*paths: Path, **settings: object) -> AsyncIterator[set[tuple[Change, str]]]:
        yield set()
        yield {(change, str(tmp_path / name))}
        seen.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(watch_module, "awatch", changes)
    async with watching(tmp_path / "gateway.yaml") as watched:
        await seen.wait()
        assert watched.rings == rings


async def test_writing_renaming_and_removing_all_ring(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    async with watching(file) as watched:
        await watched.at_rest()
        file.write_text("one")
        await watched.rung()
        await watched.at_rest()
        (tmp_path / "4913~").write_text("two")
        (tmp_path / "4913~").replace(file)
        await watched.rung()
        await watched.at_rest()
        file.unlink()
        await watched.rung()


async def test_reading_the_file_does_not_ring(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text("one")
    async with watching(file) as watched:
        await watched.at_rest()
        file.read_text()
        # A ring would start the count of looks again, and a turn that reads would ring for ever.
        await watched.at_rest()
        assert watched.rings == 1


async def test_what_happens_in_a_directory_below_does_not_ring(tmp_path: Path) -> None:
    below = tmp_path / "log" / "today"
    below.mkdir(parents=True)
    async with watching(tmp_path / "gw.yaml") as watched:
        await watched.at_rest()
        (below / "visitors.log").write_text("x")
        await watched.at_rest()
        assert watched.rings == 1


async def test_no_name_of_a_directory_hides_the_file(tmp_path: Path) -> None:
    directory = tmp_path / ".venv" / "node_modules"
    directory.mkdir(parents=True)
    async with watching(directory / "gw.yaml") as watched:
        await watched.at_rest()
        (directory / "gw.yaml").write_text("x")
        await watched.rung()


async def test_it_follows_the_links_of_kubernetes_from_one_swap_to_the_next(tmp_path: Path) -> None:
    def swap(version: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "gw.yaml").write_text(version)
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    swap("..1")
    (tmp_path / "gw.yaml").symlink_to("..data/gw.yaml")
    async with watching(tmp_path / "gw.yaml") as watched:
        for version in ("..2", "..3"):
            await watched.at_rest()
            swap(version)
            await watched.rung()
        await watched.at_rest()
        (tmp_path / "..3" / "gw.yaml").write_text("edited in place")
        await watched.rung()


async def test_a_directory_that_vanishes_and_returns_is_watched_again(tmp_path: Path) -> None:
    directory = tmp_path / "etc"
    directory.mkdir()
    async with watching(directory / "gw.yaml") as watched:
        await watched.at_rest()
        shutil.rmtree(directory)
        await watched.rung()
        await watched.at_rest()
        directory.mkdir()
        await watched.rung()
        await watched.at_rest()
        (directory / "gw.yaml").write_text("back")
        await watched.rung()


async def test_a_directory_that_is_replaced_by_another_is_watched_in_its_place(tmp_path: Path) -> None:
    directory, other = tmp_path / "a" / "etc", tmp_path / "other"
    directory.mkdir(parents=True)
    (other / "etc").mkdir(parents=True)
    async with watching(directory / "gw.yaml") as watched:
        await watched.at_rest()
        # Renaming an ancestor tells nobody who watches the directory itself.
        (tmp_path / "a").rename(tmp_path / "gone")
        other.rename(tmp_path / "a")
        await watched.rung()
        await watched.at_rest()
        (directory / "gw.yaml").write_text("new")
        await watched.rung()


async def test_a_directory_that_never_existed_is_waited_for(tmp_path: Path) -> None:
    async with watching(tmp_path / "mnt" / "etc" / "gw.yaml") as watched:
        await watched.at_rest()
        (tmp_path / "mnt" / "etc").mkdir(parents=True)
        await watched.rung()


async def test_a_file_that_is_mounted_is_watched_itself_until_it_is_mounted_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of another directory stands for the mount: the watched directory hears as little of it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "host.yaml").touch()
    mounted = {tmp_path / "host.yaml"}
    monkeypatch.setattr(watch_module, "mounted_files", lambda directories: set(mounted))
    async with watching(tmp_path / "etc" / "gw.yaml") as watched:
        await watched.at_rest()
        (tmp_path / "host.yaml").write_text("one")
        await watched.rung()
        await watched.at_rest()
        mounted.clear()
        await watched.rung()


async def test_it_rings_regularly_without_any_event(tmp_path: Path) -> None:
    async with watching(tmp_path / "gw.yaml", poll=0.01) as watched:
        await watched.rung(5)


@pytest.mark.parametrize("trouble", [PermissionError("no"), RuntimeError("watch limit reached")])
async def test_trouble_with_the_watch_is_survived(tmp_path: Path, trouble: Exception) -> None:
    async with watching(tmp_path / "gw.yaml") as watched:
        await watched.at_rest()
        watched.trouble.append(trouble)
        await watched.until(lambda: not watched.trouble)
        await watched.at_rest()
        (tmp_path / "gw.yaml").write_text("x")
        await watched.rung()


async def test_the_poll_goes_on_where_nothing_can_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path, **options: object) -> None:
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr(watch_module, "awatch", refuse)

    with capture_logs() as logged:
        async with watching(tmp_path / "gw.yaml", poll=0.01) as watched:
            await watched.rung(5)
            await watched.until(lambda: bool(logged))
            await watched.rung(5)
    (line,) = logged
    assert line["event"] == "watch_failed"
    assert "([Errno 28] OS file watch limit reached), and a look every 0.01 s finds" in line["reason"]
