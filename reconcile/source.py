"""Where desired state comes from.

Rule: a reading is accepted as a whole or not at all. This file alone decides which
state counts, and counts its generations: from 1, one more each time that other
content is accepted. Whatever is wrong with the newest reading is told beside the
last accepted state, never in its place.

A reading waits for nobody. While somebody is at work on the operator's files they are
taken to be as they were when they were accepted last, beside what was declared through
the API since; and the bell is rung when the work is done.

``Source`` is the seam for other stores; ``FileSource`` is the one for files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import structlog
from anyio import to_thread

from schemas.errors import Problem
from schemas.roles import Role
from schemas.state import State

from .fine_turns import fine_turns
from .guard import check_truncated, guard
from .hops import directories_on_the_way
from .reading import (
    RestlessError,
    Snapshot,
    StateText,
    UnreadableError,
    digest_of,
    fragments,
    take_snapshot,
    with_owned,
)
from .settling import LIMIT, QUIET, settle
from .state_reader import StateReader, Understood

_log: Any = structlog.get_logger("source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a reading gave: the state that counts now, and what is wrong with the files."""

    generation: int  # 0: nothing was accepted yet
    state: State | None  # the last accepted one, None if there never was one
    problems: tuple[Problem, ...]  # of this reading; if it was accepted, what was left out of it
    digest: str  # of the accepted content, "" if there is none
    fresh: bool  # whether this reading made the generation
    unsettled: Problem | None = None
    """Who is waited for: files are being changed, and those accepted last stand in for them."""


NOTHING_LOADED: Final = Loaded(generation=0, state=None, problems=(), digest="", fresh=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """What would come of other texts: the state, or why it would be refused."""

    state: State | None
    problems: tuple[Problem, ...]  # if there is a state, what would be left out of it


class History(Protocol):
    """Counts what was accepted, and may keep it. Called in a worker thread, by one reading at a time."""

    def keep(self, texts: Sequence[StateText], state: State) -> int:
        """The generation of what has just been accepted: one more than the last, unless it is the same.

        :param state: what the texts say.

        What cannot be kept is not an exception: a full disk may not keep a state out of force.
        """
        ...


class Counting:
    """A history that remembers nothing but how many there were."""

    def __init__(self) -> None:
        self._generation = 0

    def keep(self, texts: Sequence[StateText], state: State) -> int:
        self._generation += 1
        return self._generation


class Source(Protocol):
    """Desired state, and where to look for changes of it."""

    async def load(self) -> Loaded:
        """Read again. What can go wrong with the content or its store is a problem, not an exception."""
        ...

    async def attend(self, bell: Callable[[], object]) -> None:
        """Ring whenever what was unsettled has settled. Runs until it is cancelled, and raises nothing."""
        ...

    def watch_directories(self) -> set[Path]:
        """The directories in which a change may change the state. Blocks on the disk."""
        ...


class ConsideringSource(Source, Protocol):
    """Desired state, and what would come of another."""

    async def consider(self, texts: Sequence[StateText]) -> Considered:
        """What would come of these texts in the place of the operator's; nothing changes.

        :raises UnreadableError: if that cannot be found out.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    state: State
    digest: str
    texts: tuple[StateText, ...]
    left_out: tuple[Problem, ...]  # of it, because there is no room for it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What is to be said of one content. The same content is not judged twice."""

    digest: str
    accepted: _Accepted | None
    problems: tuple[Problem, ...]


class FileSource:
    """State files on disk: one file, or a directory of fragments.

    :param role: whose files these are.
    :param owned: the fragment in which Tidegate keeps what was declared through the API; it need not exist.
    :param history: counts the generations.
    :param reader: may have read the same files before.
    """

    def __init__(
        self,
        path: Path,
        *,
        role: Role,
        owned: Path | None = None,
        history: History | None = None,
        reader: StateReader | None = None,
    ) -> None:
        self._path = path
        self._reader = StateReader(role) if reader is None else reader
        self._owned = owned
        self._history = Counting() if history is None else history
        self._accepted: _Accepted | None = None
        self._generation = 0
        self._verdict: _Verdict | None = None
        self._excused = ""
        self._settled = ""  # the operator's files that have settled and were not read since
        self._unsettled = anyio.Event()
        self._is_readable = True  # when it was looked at last
        self._turnstile = anyio.Lock()  # generations are counted by one reading at a time

    async def load(self) -> Loaded:
        async with self._turnstile:
            with fine_turns():
                return await self._load()

    async def attend(self, bell: Callable[[], object]) -> None:
        while True:
            await self._unsettled.wait()
            try:
                self._settled = _digest_of_theirs(await self._wait_settled())
            except Exception:  # noqa: BLE001  whatever a reading raises, the next one tells
                # Not at once: who replaces a file may leave a moment without it.
                await anyio.sleep(QUIET)
                self._is_readable = False
            self._unsettled = anyio.Event()
            bell()

    async def consider(self, texts: Sequence[StateText]) -> Considered:
        """What would come of these texts in the place of the operator's; nothing changes.

        :raises UnreadableError: if what was declared through the API cannot be read, or nobody can say what
            the texts mean.
        """
        with fine_turns():
            snapshot = await to_thread.run_sync(partial(with_owned, texts, owned=self._owned))
            verdict = await self._judge(snapshot)
        state = None if verdict.accepted is None else verdict.accepted.state
        return Considered(state=state, problems=verdict.problems)

    def excuse(self, texts: Sequence[StateText]) -> None:
        """Never take these files of the operator's for an accident, whatever they leave out."""
        self._excused = digest_of(texts)
        self._verdict = None

    def watch_directories(self) -> set[Path]:
        found = directories_on_the_way(self._path)
        if self._owned is not None:
            found |= directories_on_the_way(self._owned)
        if self._path.is_dir():
            found.add(self._path.resolve())
            for fragment in fragments(self._path, owned=self._owned):
                if fragment.is_symlink():  # the way to any other is the way to the directory
                    found |= directories_on_the_way(fragment)
        return found

    async def _load(self) -> Loaded:
        try:
            snapshot, unsettled = await self._read_settled()
            if self._verdict is None or self._verdict.digest != snapshot.digest:
                self._verdict = await self._judge(snapshot)
        except UnreadableError as error:
            return self._loaded((error.problem,))
        candidate = self._verdict.accepted
        is_fresh = candidate is not None and candidate is not self._accepted
        if candidate is not None and is_fresh:
            self._generation = await to_thread.run_sync(self._history.keep, candidate.texts, candidate.state)
            self._accepted = candidate
        return self._loaded(self._verdict.problems, fresh=is_fresh, unsettled=unsettled)

    def _loaded(
        self, problems: tuple[Problem, ...], *, fresh: bool = False, unsettled: Problem | None = None
    ) -> Loaded:
        accepted = self._accepted
        return Loaded(
            generation=self._generation,
            state=None if accepted is None else accepted.state,
            problems=problems,
            digest="" if accepted is None else accepted.digest,
            fresh=fresh,
            unsettled=unsettled,
        )

    async def _read_settled(self) -> tuple[Snapshot, Problem | None]:
        """The files as they are; or, and why, as they were when they were accepted.

        :raises UnreadableError: if there is nothing to read, or any part cannot be read.
        """
        try:
            snapshot = await to_thread.run_sync(self._read)
            if not self._has_settled(snapshot):
                snapshot = await settle(snapshot, self._read, self._accepted_texts, limit=0.0)
        except UnreadableError as error:
            is_waited_for = self._is_readable or isinstance(error, RestlessError)
            if self._accepted is None or not is_waited_for:
                raise
            self._unsettled.set()
            theirs = [text for text in self._accepted_texts if not text.owned]
            snapshot = await to_thread.run_sync(partial(with_owned, theirs, owned=self._owned))
            return snapshot, error.problem
        self._is_readable = True
        self._settled = ""
        return snapshot, None

    def _has_settled(self, snapshot: Snapshot) -> bool:
        known = {seen.digest for seen in (self._accepted, self._verdict) if seen is not None}
        return (
            self._accepted is None
            or snapshot.digest in known
            or self._is_excused(snapshot)
            or self._settled == _digest_of_theirs(snapshot)
        )

    async def _wait_settled(self) -> Snapshot:
        """The files once they have settled, however long that takes.

        :raises UnreadableError: if there is nothing to read, or any part cannot be read.
        """
        is_late_at, is_told = anyio.current_time() + LIMIT, False
        while True:
            try:
                snapshot = await to_thread.run_sync(self._read)
                return await settle(snapshot, self._read, self._accepted_texts)
            except RestlessError as error:
                if not is_told and anyio.current_time() >= is_late_at:
                    _log.warning("state_unsettled", reason=str(error))
                    is_told = True
            await anyio.sleep(QUIET)

    @property
    def _accepted_texts(self) -> tuple[StateText, ...]:
        return () if self._accepted is None else self._accepted.texts

    def _is_excused(self, snapshot: Snapshot) -> bool:
        return self._excused == _digest_of_theirs(snapshot)

    def _read(self) -> Snapshot:
        return take_snapshot(self._path, owned=self._owned)

    async def _judge(self, snapshot: Snapshot) -> _Verdict:
        """What is to be said of those files.

        :raises UnreadableError: if that could not be found out.
        """
        accepted = self._accepted
        if accepted is not None and accepted.digest == snapshot.digest:
            return _Verdict(digest=snapshot.digest, accepted=accepted, problems=accepted.left_out)
        understood = await self._reader.read(snapshot.texts)
        return await to_thread.run_sync(self._compare, snapshot, understood)

    def _compare(self, snapshot: Snapshot, understood: Understood) -> _Verdict:
        """What the files mean beside what was accepted before."""
        accepted, state, problems = self._accepted, understood.state, understood.problems
        if (
            accepted is not None
            and not self._is_excused(snapshot)
            and (state is None or not state.allow_empty)
        ):
            problems = (*_damage(accepted, snapshot.texts), *problems)
            refusal = None if state is None else guard(accepted.state, state)
            if refusal is not None:
                problems = (*problems, refusal)
        if state is None or problems:
            return _Verdict(digest=snapshot.digest, accepted=None, problems=problems)
        left_out = understood.left_out
        candidate = _Accepted(state=state, digest=snapshot.digest, texts=snapshot.texts, left_out=left_out)
        return _Verdict(digest=snapshot.digest, accepted=candidate, problems=left_out)


def _digest_of_theirs(snapshot: Snapshot) -> str:
    """That of the operator's files."""
    return digest_of(text for text in snapshot.texts if not text.owned)


def _damage(accepted: _Accepted, texts: Sequence[StateText]) -> tuple[Problem, ...]:
    """Files that look as if a copy had broken off. The owned fragment is only ever replaced whole."""
    before = {text.name: text.data for text in accepted.texts}
    checked = (
        check_truncated(before.get(text.name), text.data, name=text.name) for text in texts if not text.owned
    )
    return tuple(problem for problem in checked if problem is not None)
