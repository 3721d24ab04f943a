"""Looking at the files of keys and certificates, again and again.

Rule: this file decides when keys are looked at and when somebody is told that they
will not do. What becomes of them is decided by whoever uses them. Tools that renew
write two files one after the other, and in between the two do not belong together:
what is wrong is told only if it is still so a little later.

It has no watch of its own. Whoever rings for the state file rings here too, whatever
the occasion, so a ring means nothing but "look".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio
import structlog

from reconcile.hops import directories_on_the_way
from schemas.errors import TidegateError
from schemas.references import FileRef, Reference

SETTLING: Final = 2.0
"""Seconds in which whoever writes the files can finish."""

_log: Any = structlog.get_logger("keys")

KeysT = TypeVar("KeysT", bound=Hashable)
"""The references of keys that belong together."""


class KeyUser(Protocol[KeysT]):
    """Who uses keys."""

    meanwhile: str
    """What holds while the files will not do, as the end of a sentence about them."""

    @property
    def in_use(self) -> Iterable[KeysT]:
        """The references that are used. Read in a worker thread, too."""
        ...

    def references(self, keys: KeysT) -> Iterable[Reference]:
        """All that belong together. Called in a worker thread, too."""
        ...

    async def renew(self, keys: KeysT) -> Mapping[str, Any] | None:
        """Read what these references stand for, and use it if it is something else.

        :returns: what to log if it is something else, None if it is what is used already.
        :raises TidegateError: if it will not do. What was used before is still used.
        :raises OSError: if it cannot be found out now.
        """
        ...


@dataclass(slots=True)
class _Trouble:
    since: float  # on the clock of the event loop
    told: str = ""  # what was said of it, "" while there is hope


class KeyWatch(Generic[KeysT]):
    """Keeps the keys of an agent up to date."""

    def __init__(self, user: KeyUser[KeysT]) -> None:
        self._user = user
        self._bell = anyio.Event()
        self._looked = anyio.Event()  # set at the end of each round
        self._begun = self._ended = 0  # rounds
        self._troubles: dict[KeysT, _Trouble] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with files whose earlier content is still in use."""
        return tuple(trouble.told for trouble in self._troubles.values() if trouble.told)

    def watch_directories(self) -> set[Path]:
        """Where a change may change a key. Blocks on the disk."""
        files = {
            reference.path
            for keys in tuple(self._user.in_use)
            for reference in self._user.references(keys)
            if isinstance(reference, FileRef)
        }
        return set().union(*(directories_on_the_way(Path(file)) for file in files))

    def ring(self) -> None:
        """Ask for a look, from the thread of the event loop."""
        self._bell.set()

    async def look(self) -> tuple[str, ...]:
        """Look now, and wait until it is known whether the files will do; what is wrong with them."""
        wanted = self._begun + 1
        self.ring()
        while self._ended < wanted or any(not trouble.told for trouble in self._troubles.values()):
            await self._looked.wait()
        return self.warnings

    async def run(self) -> None:
        """Look whenever somebody rings, until cancelled."""
        while True:
            with anyio.CancelScope(deadline=self._next_look()):
                await self._bell.wait()
            self._bell = anyio.Event()
            self._begun += 1
            used = tuple(dict.fromkeys(self._user.in_use))
            self._troubles = {keys: trouble for keys, trouble in self._troubles.items() if keys in used}
            for keys in used:
                await self._look_at(keys)
            self._ended = self._begun
            looked, self._looked = self._looked, anyio.Event()
            looked.set()

    def _next_look(self) -> float:
        """Without a ring: when what is wrong now has had its time."""
        return min(
            (trouble.since + SETTLING for trouble in self._troubles.values() if not trouble.told),
            default=math.inf,
        )

    async def _look_at(self, keys: KeysT) -> None:
        try:
            renewed = await self._user.renew(keys)
        except (TidegateError, OSError) as error:
            self._note_trouble(keys, str(error))
            return
        except Exception as error:  # noqa: BLE001 - a defect here must not stop an agent that works
            _log.error("key_look_failed", exc_info=error)
            self._note_trouble(keys, f"a defect in Tidegate: {type(error).__name__}; please report it")
            return
        trouble = self._troubles.pop(keys, None)
        if renewed is not None:
            _log.info("keys_renewed", **renewed)
        elif trouble is not None and trouble.told:
            _log.info("keys_mended", reason="the files hold again what is in use")

    def _note_trouble(self, keys: KeysT, reason: str) -> None:
        trouble = self._troubles.setdefault(keys, _Trouble(since=anyio.current_time()))
        reason = f"{reason}; {self._user.meanwhile}"
        if reason != trouble.told and anyio.current_time() >= trouble.since + SETTLING:
            trouble.told = reason
            _log.error("keys_refused", reason=reason)


class KeyWatches:
    """Several, each for a user of its own, as one."""

    def __init__(self, *watches: KeyWatch[Any]) -> None:
        self._watches = watches

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for watch in self._watches for warning in watch.warnings)

    def watch_directories(self) -> set[Path]:
        return set().union(*(watch.watch_directories() for watch in self._watches))

    def ring(self) -> None:
        for watch in self._watches:
            watch.ring()

    async def look(self) -> tuple[str, ...]:
        return tuple([warning for watch in self._watches for warning in await watch.look()])

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for watch in self._watches:
                tasks.start_soon(watch.run)
