"""Where and how often state files are read.

Rule: what a reading says follows from the bytes alone; this file decides only where
the work is done, and what of it need not be done again. A few small files are read
in a worker thread. Many or large ones would keep the event loop from the interpreter
there, and are read in a process of their own. So is what is read first, if a process
was prepared for it: most files do not change while their agent runs, and it need not
keep for ever what reads them.

What the files of the last two readings declared is remembered: the next one may
differ in a line, or go back to what was before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from anyio import to_thread

from schemas.errors import Problem
from schemas.part import Part, combine, fit
from schemas.roles import Role
from schemas.state import State, Tunnel

from .apart import LostError, NotStartedError, run_apart
from .packing import PackedPart, unpack
from .prepared import Prepared, prepare
from .reading import StateText, UnreadableError
from .understanding import Whole, get_ready, understand, understand_each

SMALL: Final = 32 * 1024
"""Bytes that are read in a worker thread: some 250 tunnels, which take about 30 ms."""

T = TypeVar("T")

_Mark: TypeAlias = tuple[str, str, bool, bytes]  # whatever can make a difference to what a text declares


class NotReadError(UnreadableError):
    """Nobody could say what the files mean. Reading them again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """The state that texts are, or everything that is wrong with them."""

    state: State | None
    left_out: tuple[Problem, ...] = ()  # what the state does not hold because there is no room for it
    problems: tuple[Problem, ...] = ()  # none exactly if there is a state


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    packed: PackedPart
    part: Part


class StateReader:
    """Reads the states of one agent, one after the other.

    :param small: bytes that are read in a worker thread.
    :param prepared: a process for the first reading.
    """

    def __init__(self, role: Role, *, small: int = SMALL, prepared: Prepared | None = None) -> None:
        self.role = role
        self._prepared = prepared
        self._small = small
        self._last: Mapping[_Mark, _Kept] = {}
        self._before: Mapping[_Mark, _Kept] = {}

    async def read(self, texts: Sequence[StateText]) -> Understood:
        """What the texts mean together.

        :raises NotReadError: if that could not be found out.
        """
        marks = await to_thread.run_sync(_marks, texts)
        kept = {**self._before, **self._last}
        new = [text for text, mark in zip(texts, marks, strict=True) if mark not in kept]
        # Where most is new it is quicker to read all of it, and to hold it against the rules over there.
        if 2 * _size(new) < _size(texts):
            packed = [part for part in await self._work(understand_each, new) if part is not None]
            if len(packed) == len(new):
                state = await to_thread.run_sync(self._piece_together, marks, kept, packed)
                if state is not None:
                    return Understood(state=state)
        whole = await self._work(understand, texts)
        if whole.problems:
            return Understood(state=None, problems=whole.problems)
        state = await to_thread.run_sync(self._take, marks, whole)
        return Understood(state=state, left_out=whole.left_out)

    async def _work(
        self, function: Callable[[Sequence[StateText], Role], T], texts: Sequence[StateText]
    ) -> T:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            with suppress(LostError):  # or else as if there had been none
                return await prepared.run(function, texts, self.role)
        if _size(texts) > self._small:
            try:
                return await run_apart(function, texts, self.role)
            except NotStartedError:
                pass  # better slowly than not at all
            except LostError as error:
                message = f"it could not be read: {error}; it is read again soon"
                raise NotReadError(texts[0].name, message) from error
        return await to_thread.run_sync(function, texts, self.role)

    def _piece_together(
        self, marks: Sequence[_Mark], kept: Mapping[_Mark, _Kept], packed: Sequence[PackedPart]
    ) -> State | None:
        """The state of the parts that were kept and these new ones; None if they may not fit."""
        arrived = iter(self._unpacked(packed))
        together = [kept[mark] if mark in kept else next(arrived) for mark in marks]
        state = fit([one.part for one in together])
        if state is not None:
            self._keep(marks, together)
        return state

    def _take(self, marks: Sequence[_Mark], whole: Whole) -> State:
        together = self._unpacked(whole.parts)
        if len(together) == len(marks) and not whole.left_out:
            self._keep(marks, together)
        return combine([one.part for one in together])

    def _unpacked(self, packed: Sequence[PackedPart]) -> list[_Kept]:
        known: dict[bytes, Tunnel] = {}
        for one in (*self._before.values(), *self._last.values()):
            known.update(zip(one.packed.rows, one.part.tunnels, strict=True))
        return [_Kept(packed=one, part=unpack(one, known)) for one in packed]

    def _keep(self, marks: Sequence[_Mark], together: Sequence[_Kept]) -> None:
        now = dict(zip(marks, together, strict=True))
        if now.keys() != self._last.keys():
            self._before, self._last = self._last, now


def prepare_reading() -> Prepared | None:
    """A process for the first reading; None if there cannot be one. For the very start of a program."""
    return prepare(get_ready)


def _marks(texts: Sequence[StateText]) -> list[_Mark]:
    return [(text.name, text.directory, text.owned, hashlib.sha256(text.data).digest()) for text in texts]


def _size(texts: Sequence[StateText]) -> int:
    return sum(len(text.data) for text in texts)
