"""File-system changes ring the bell.

Rule: this file only rings. It does not know which file changed or whether any
did: the source compares contents. So events may be lost, merged or false without
harm, and two nets hang below them: once a second the watched directories are
compared with those that should be watched, and every ten seconds the bell rings
anyway, for file systems that report nothing (NFS, some container mounts).

Directories are watched, not files: editors and configuration tools rename a new
file over the old one, and a watch on the old one would follow it into the void. A
directory that is missing is waited for at its nearest ancestor. A file that is
mounted by itself is watched as well: what happens to it where it comes from, its
directory here does not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import structlog
from anyio import to_thread
from watchfiles import Change, awatch

from .mounts import mounted_files

POLL_INTERVAL: Final = 10.0
LOOK_INTERVAL: Final = 1.0
_DEBOUNCE_MS: Final = 200
_STEP_MS: Final = 50

_log: Any = structlog.get_logger("watch")


class Watchable(Protocol):
    """What says where to look. Blocks on the disk: it is called in a worker thread."""

    def watch_directories(self) -> set[Path]: ...


@dataclass(frozen=True, slots=True)
class _Watched:
    """A path and its identity: a directory removed and made again is another, and needs a new watch."""

    path: Path
    device: int
    inode: int


async def watch(
    source: Watchable,
    bell: Callable[[], object],
    *,
    poll: float = POLL_INTERVAL,
    look: float = LOOK_INTERVAL,
) -> None:
    """Ring ``bell`` whenever the files of ``source`` may have changed. Runs until it is cancelled.

    :param poll: seconds between rings that need no event.
    :param look: seconds between looks at which directories there are.
    """
    failures = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_ring_regularly, bell, poll)
        while True:
            try:
                await _watch_until_moved(source, bell, look)
                failures = 0
            except (OSError, RuntimeError) as error:
                # A directory vanished while its watch was set up, a limit is reached
                # (fs.inotify.max_user_watches, max_user_instances), or watchfiles failed inside.
                failures += 1
                if failures == 2:  # once more than what passes by itself
                    _log.warning("watch_failed", reason=_explain(error, poll))
                await anyio.sleep(look)


async def _ring_regularly(bell: Callable[[], object], interval: float) -> None:
    while True:
        await anyio.sleep(interval)
        bell()


async def _watch_until_moved(source: Watchable, bell: Callable[[], object], look: float) -> None:
    """Ring on every event, until other directories are to be watched."""
    watched = await to_thread.run_sync(_arrange, source)
    batches = awatch(
        *sorted(each.path for each in watched),
        watch_filter=None,  # the default one hides directories such as .git, node_modules and .venv
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=max(1, int(look * 1000)),
        yield_on_timeout=True,
        recursive=False,
    )
    async with aclosing(batches):
        is_first = True
        async for batch in batches:
            # The first batch is the first sign that the watch is set up: what happened before went unseen.
            if is_first or any(_may_matter(*event) for event in batch):
                bell()
            is_first = False
            if await to_thread.run_sync(_arrange, source) != watched:
                bell()
                return


def _may_matter(change: Change, path: str) -> bool:
    """Not a log that grows: beside the files, an agent's log would have them read all the time."""
    return not (change is Change.modified and path.endswith(".log"))


def _explain(error: Exception, poll: float) -> str:
    return (
        f"files cannot be watched ({error}), and a look every {poll:g} s finds what has changed; "
        "most often fs.inotify.max_user_instances or max_user_watches is to be raised (sysctl)"
    )


def _arrange(source: Watchable) -> frozenset[_Watched]:
    """What there is to watch.

    :raises OSError: if not even the root can be looked at, or a mount has just gone.
    """
    directories = {_existing(directory) for directory in source.watch_directories()}
    files = mounted_files({directory.path for directory in directories})
    return frozenset(directories | {_watched(file) for file in files})


def _existing(directory: Path) -> _Watched:
    """That directory, or its nearest ancestor that is there.

    :raises OSError: if not even the root can be looked at.
    """
    for candidate in (directory, *directory.parents):
        try:
            if candidate.is_dir():
                return _watched(candidate)
        except OSError:
            continue
    raise FileNotFoundError(f"no directory on the way to {directory} can be read")


def _watched(path: Path) -> _Watched:
    status = path.stat()
    return _Watched(path=path, device=status.st_dev, inode=status.st_ino)
