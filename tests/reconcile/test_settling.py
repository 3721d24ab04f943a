"""When files that have changed are complete enough to be read as what somebody wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import from_thread

from reconcile import settling
from reconcile.reading import RestlessError, Snapshot, UnreadableError, take_snapshot
from reconcile.settling import settle
from reconcile.writers import Writers

pytestmark = pytest.mark.anyio

FOREVER = 3600.0


class Files:
    """A directory of fragments that was accepted as it was at first, and how often it has been read since."""

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self.writers: dict[str, Writers] = {}
        for name in ("a.yaml", "b.yaml"):
            (directory / name).write_text(f"{name} of old\n")
        self.accepted = take_snapshot(directory).texts
        self._reads = 0
        self._read = anyio.Event()

    def writers_of(self, path: Path) -> Writers:
        """What the test says of them. Of a file that is there, unless it says more: nobody."""
        return self.writers.get(path.name, Writers.NOBODY if path.exists() else Writers.UNKNOWN)

    def take(self) -> Snapshot:
        snapshot = take_snapshot(self.path)
        from_thread.run_sync(self._note_read)
        return snapshot

    async def settled(
        self, *, quiet: float = FOREVER, patience: float = FOREVER, limit: float = FOREVER
    ) -> str:
        """All that was read in the end."""
        snapshot = await settle(
            take_snapshot(self.path), self.take, self.accepted, quiet=quiet, patience=patience, limit=limit
        )
        return "".join(text.data.decode() for text in snapshot.texts)

    async def looked_at(self, times: int = 2) -> None:
        """Until it was read that often from now on."""
        wanted = self._reads + times
        with anyio.fail_after(20):
            while self._reads < wanted:
                await self._read.wait()

    def _note_read(self) -> None:
        self._reads += 1
        self._read.set()
        self._read = anyio.Event()


@asynccontextmanager
async def loading(files: Files) -> AsyncIterator[list[str]]:
    """Let the files settle while the block runs, and after it if need be; then the list has what was read."""
    read: list[str] = []

    async def load() -> None:
        read.append(await files.settled())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load)
            yield read


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    files = Files(tmp_path)
    monkeypatch.setattr(settling, "writers_of", files.writers_of)
    return files


async def test_a_changed_file_that_nobody_writes_counts_at_once(files: Files) -> None:
    (files.path / "a.yaml").write_text("new\n")

    assert await files.settled() == "new\nb.yaml of old\n"


async def test_who_writes_an_unchanged_file_is_not_asked(files: Files) -> None:
    files.writers["b.yaml"] = Writers.SOMEBODY
    (files.path / "a.yaml").write_text("new\n")

    assert await files.settled() == "new\nb.yaml of old\n"


@pytest.mark.parametrize("writers", [Writers.SOMEBODY, Writers.UNKNOWN])
async def test_a_file_that_may_still_be_written_is_looked_at_again_and_then_read_whole(
    files: Files, writers: Writers
) -> None:
    (files.path / "a.yaml").write_text("half")
    files.writers["a.yaml"] = writers
    async with loading(files) as read:
        await files.looked_at()
        assert read == []
        (files.path / "a.yaml").write_text("whole\n")
        files.writers.clear()
    assert read == ["whole\nb.yaml of old\n"]


async def test_what_is_written_between_the_reading_and_the_last_close_is_not_missed(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files.path / "a.yaml").write_text("half")

    def finish(path: Path) -> Writers:
        path.write_text("whole\n")
        return Writers.NOBODY

    monkeypatch.setattr(settling, "writers_of", finish)

    assert await files.settled() == "whole\nb.yaml of old\n"


async def test_the_files_of_a_commit_count_together(files: Files) -> None:
    (files.path / ".git").mkdir()
    lock = files.path / ".git" / "index.lock"
    lock.touch()
    (files.path / "a.yaml").write_text("new\n")
    async with loading(files) as read:
        await files.looked_at()
        assert read == []
        (files.path / "b.yaml").write_text("new too\n")
        lock.unlink()
    assert read == ["new\nnew too\n"]


async def test_a_file_that_is_gone_for_a_moment_is_waited_for(files: Files) -> None:
    """An editor moves the old file away before it writes the new one."""
    (files.path / "b.yaml").rename(files.path / "b.yaml~")
    async with loading(files) as read:
        await files.looked_at()
        (files.path / "b.yaml").write_text("saved\n")
    assert read == ["a.yaml of old\nsaved\n"]


async def test_a_change_that_is_taken_back_meanwhile_needs_no_rest(files: Files) -> None:
    files.writers["a.yaml"] = Writers.SOMEBODY
    (files.path / "a.yaml").write_text("half")
    async with loading(files) as read:
        await files.looked_at()
        (files.path / "a.yaml").write_text("a.yaml of old\n")
    assert read == ["a.yaml of old\nb.yaml of old\n"]


async def test_a_file_that_stays_away_is_gone(files: Files) -> None:
    (files.path / "b.yaml").unlink()

    assert await files.settled(quiet=0.2) == "a.yaml of old\n"


async def test_a_writer_who_never_closes_does_not_keep_a_change_out_of_force(files: Files) -> None:
    files.writers["a.yaml"] = Writers.SOMEBODY
    (files.path / "a.yaml").write_text("new\n")

    assert await files.settled(patience=0.2) == "new\nb.yaml of old\n"


async def test_every_change_begins_the_wait_anew_and_that_has_an_end(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_STEP", 0.01)
    files.writers["a.yaml"] = Writers.UNKNOWN

    def append(take: Callable[[], Snapshot]) -> Snapshot:
        with (files.path / "a.yaml").open("a") as file:
            file.write("#")
        return take()

    (files.path / "a.yaml").write_text("new\n")
    with pytest.raises(RestlessError) as caught:
        await settle(
            take_snapshot(files.path),
            partial(append, files.take),
            files.accepted,
            quiet=FOREVER,
            limit=0.2,
        )
    assert str(caught.value) == (
        f"{files.path}/a.yaml:1:1: somebody is still writing it; it is read again soon"
    )


async def test_what_cannot_be_read_any_more_is_told(files: Files) -> None:
    files.writers["a.yaml"] = Writers.UNKNOWN
    (files.path / "a.yaml").write_text("half")

    def vanish() -> Snapshot:
        return take_snapshot(files.path / "c.yaml")

    with pytest.raises(UnreadableError, match="no such file"):
        await settle(take_snapshot(files.path), vanish, files.accepted)
