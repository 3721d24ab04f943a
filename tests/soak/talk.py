"""One side of a conversation: it goes through its script and keeps its part of the books.

Rule: what is heard is compared here, byte by byte, with what the other side's tape says. What it means is
for ``ledger`` to decide.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, assert_never

import anyio

from .ledger import Ending, Side
from .line import Line, LineEndedError, LineError, LineRefusedError, LineResetError
from .script import AtOnce, End, Hear, HearOut, Leave, Pace, Pause, Reset, Say, Script, Step
from .tape import Tape, first_difference

_PIECE: Final = 128 * 1024
_SMALL_PIECE: Final = 32 * 1024
_PAUSE: Final = 0.04  # seconds between two pieces at most, when slow
_PAUSES: Final = 0.25  # how often there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What is said around the tapes, in the language of the port.

    :param greeting: what the other side says before its tape begins.
    :param refusals: how it begins when the gateway speaks in the other side's place.
    """

    greeting: bytes = b""
    refusals: tuple[bytes, ...] = ()


class Talk:
    """One side of one conversation.

    :param line: taken over, and closed at the end.
    :param limit: seconds that the script may take. They are many: whoever needs more hangs.
    :param alarm: called of who hangs, while it still does.
    """

    def __init__(
        self,
        line: Line,
        *,
        saying: Tape,
        hearing: Tape,
        dice: random.Random,
        limit: float,
        alarm: Callable[[], Awaitable[None]],
        manners: Manners | None = None,
    ) -> None:
        self.side = Side()
        self._line = line
        self._saying = saying
        self._hearing = hearing
        self._dice = dice
        self._limit = limit
        self._alarm = alarm
        self._manners = manners or Manners()
        self._greeted = not self._manners.greeting

    async def perform(self, script: Script, before: Callable[[], Awaitable[None]] | None = None) -> None:
        """Go through the script and close. What goes wrong is in the books.

        :param before: what has to be done first; may raise :class:`LineError` like the script.
        """
        try:
            with anyio.fail_after(self._limit):
                if before is not None:
                    await before()
                await self._steps(script)
                self.side.is_done = True
        except LineError as error:
            self._line_ended(error)
        except TimeoutError:
            self.side.trouble.append(f"hung for {self._limit:g} s: it {self.side}")
            await self._alarm()
        finally:
            self._close()

    def _close(self) -> None:
        """In peace if the script is done. Otherwise what was said must not look whole, unless it is."""
        if self.side.is_done:
            if self.side.said_end is Ending.OPEN:
                self.side.said_end = Ending.END
            self._line.close()
        else:
            self.side.said_end = Ending.EITHER if self.side.said_end is Ending.END else Ending.RESET
            self._line.reset()

    def _line_ended(self, error: LineError) -> None:
        match error:
            case LineResetError():
                ending = Ending.RESET
            case LineRefusedError():
                ending = Ending.REFUSAL
            case LineEndedError():
                ending = Ending.END
            case _:
                self.side.trouble.append(f"met {error}: it {self.side}")
                return
        if self.side.heard_end is Ending.OPEN:
            self.side.heard_end = ending

    async def _steps(self, script: Script) -> None:
        for step in script:
            await self._step(step)

    async def _step(self, step: Step) -> None:
        match step:
            case Say(size=size, pace=pace):
                await self._say(size, pace)
            case Hear(size=size):
                await self._hear(size)
            case HearOut(pace=pace):
                await self._hear_out(pace)
            case End():
                self.side.said_end = Ending.END
                self._line.end()
            case Reset():
                self.side.said_end = Ending.RESET
                self._line.reset()
            case Leave():
                self.side.said_end = Ending.EITHER
                self._line.close()
            case Pause(seconds=seconds):
                await anyio.sleep(seconds)
            case AtOnce(one=one, other=other):
                await self._at_once(one, other)
            case _:
                assert_never(step)

    async def _at_once(self, one: Script, other: Script) -> None:
        broken: list[LineError] = []

        async def half(script: Script) -> None:
            try:
                await self._steps(script)
            except LineError as error:
                broken.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(half, one)
            tasks.start_soon(half, other)
        if broken:
            raise broken[0]

    async def _say(self, size: int, pace: Pace) -> None:
        while size:
            piece = self._saying.take(min(size, self._piece(pace)))
            size -= len(piece)
            self.side.said += len(piece)  # before: if the line breaks within it, some may have arrived
            await self._line.send(piece)
            await self._pause(pace)

    async def _hear(self, size: int) -> None:
        while size:
            heard = await self._hear_some(min(size, self._piece(Pace.BRISK)))
            if not heard:
                raise LineEndedError("there was more to be heard")
            size -= heard

    async def _hear_out(self, pace: Pace) -> None:
        while await self._hear_some(self._piece(pace)):
            await self._pause(pace)
        self.side.heard_end = Ending.END

    async def _hear_some(self, most: int) -> int:
        """Hear and compare; how much, 0 at the end."""
        if not self._greeted:
            await self._hear_greeting()
        heard = await self._line.receive(most)
        place = first_difference(heard, self._hearing.take(len(heard)))
        if place is not None:
            raise LineError(
                f"a wrong byte, number {self.side.heard + place:,}: {heard[place : place + 40]!r}"
            )
        self.side.heard += len(heard)
        return len(heard)

    async def _hear_greeting(self) -> None:
        greeting = self._manners.greeting
        heard = b""
        while len(heard) < len(greeting) and greeting.startswith(heard):
            piece = await self._line.receive(len(greeting) - len(heard))
            if not piece:
                if heard:
                    raise LineError(f"an orderly end behind {heard!r}")
                raise LineEndedError("nobody answered")
            heard += piece
        if any(heard.startswith(refusal) for refusal in self._manners.refusals):
            raise LineRefusedError(repr(heard))
        if heard != greeting:
            raise LineError(f"no greeting, but {heard!r}")
        self._greeted = True

    def _piece(self, pace: Pace) -> int:
        match pace:
            case Pace.BRISK:
                return self._dice.randint(1, self._dice.choice((64, 4096, _PIECE, _PIECE)))
            case Pace.SLOW:
                return self._dice.randint(1, _SMALL_PIECE)
        assert_never(pace)

    async def _pause(self, pace: Pace) -> None:
        if pace is Pace.SLOW and self._dice.random() < _PAUSES:
            await anyio.sleep(self._dice.uniform(0, _PAUSE))
