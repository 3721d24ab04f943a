"""The start of an agent: what it reads, what becomes its own, and what it ends of an earlier one.

Rule: nothing that an earlier process has left is touched before the admin socket is ours,
for there a second agent of the same state is refused. The first state says where the
socket is. One that cannot be read may be about to be undone: then the place is the usual
one until the state before it is back.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from agent.api.admin_socket import admin_socket
from agent.process.inherited import Inherited
from schemas.errors import StateError
from schemas.state import ClientState, GatewayState

from .memory import Memory
from .paths import admin_socket_path, default_socket_path

StateT = TypeVar("StateT", GatewayState, ClientState)


async def begin(
    stack: ExitStack,
    *,
    path: Path,
    inherited: Inherited,
    memory: Memory,
    read: Callable[[], Awaitable[StateT]],
) -> tuple[StateT, socket.socket]:
    """The first state, and the admin socket, which is ours as long as the stack.

    :param read: reads the first state.
    :raises StateError: if that is not valid.
    :raises TidegateError: if the admin socket cannot be opened.
    """
    state: StateT | None = None
    try:
        state = await read()
        place = _socket_path(path, state)
    except StateError:
        if not await memory.has_left():
            raise
        place = default_socket_path(path)
    while True:
        with ExitStack() as trial:
            listening = trial.enter_context(admin_socket(place, inherited))
            if await memory.begin() or state is None:
                state = await read()
            if _socket_path(path, state) == place:
                stack.push(trial.pop_all())
                return state, listening
        place = _socket_path(path, state)


def _socket_path(path: Path, state: GatewayState | ClientState) -> Path:
    return admin_socket_path(path, state.gateway if isinstance(state, GatewayState) else state.client)
