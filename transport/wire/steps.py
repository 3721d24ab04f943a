"""A handshake as a table: what follows what, and what has been said completely.

Rule: a step that is no row of the table is a mistake of ours. What a peer may do wrong has a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar

from .errors import LocalProtocolError

StateT = TypeVar("StateT", bound=Enum)
InputT = TypeVar("InputT", bound=Enum)
MessageT = TypeVar("MessageT")


class Steps(Generic[StateT, InputT]):
    """Where one side of a handshake is.

    :param table: the state that follows, for each that may be left by each input.
    """

    __slots__ = ("_table", "state")

    def __init__(self, start: StateT, table: Mapping[tuple[StateT, InputT], StateT]) -> None:
        self.state = start
        self._table = table

    def follow(self, happened: InputT) -> None:
        """Go on.

        :raises LocalProtocolError: if that does not come here. The state is as before.
        """
        following = self._table.get((self.state, happened))
        if following is None:
            raise LocalProtocolError(f"{happened.name} does not come in state {self.state.name}")
        self.state = following


def take(peek: Callable[[bytearray], tuple[MessageT, int] | None], buffer: bytearray) -> MessageT | None:
    """The message at the start of the buffer, which is taken from it; None for "need more"."""
    found = peek(buffer)
    if found is None:
        return None
    message, size = found
    del buffer[:size]
    return message
