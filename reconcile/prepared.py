"""A process that is ready before there is work for it, made of this one.

Rule: it is forked while its agent has one thread, gets ready while the agent does, and does
one piece of work. So what only that work needs is never loaded in the agent, which has it
no later than if it had done it itself. Without such a process it can be done elsewhere.

A fork of several threads could wait for a lock that nobody holds, hence the one thread. What
is loaded by then it need not load; a process of ``apart`` begins with nothing, and loads for
half a second.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from anyio import to_thread

from .apart import TIME_LIMIT, LostError
from .apart_child import LENGTH, Failure, Request, do, limit_memory

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Prepared:
    """One process, which ends with its work, with its agent, or with :meth:`end`."""

    def __init__(self, process: int, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._is_over = False
        self._lock = threading.Lock()

    async def run(self, function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
        """What the function returns there. For one call; cancelled, it leaves no process behind.

        :raises LostError: if there is no result.
        """
        try:
            return await to_thread.run_sync(self._converse, function, arguments, abandon_on_cancel=True)
        finally:
            self.end()

    def end(self) -> None:
        """Let there be no such process. Harmless if there is none."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        with suppress(OSError):  # a thread may wait for an answer
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        os.kill(self._process, signal.SIGKILL)  # nobody has waited for it yet, so the number is its own
        os.waitpid(self._process, 0)

    def _converse(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> Any:
        request = pickle.dumps(Request(function=function, arguments=arguments))
        answer = bytearray()
        try:
            self._connection.sendall(len(request).to_bytes(LENGTH, "big") + request)
            while chunk := self._connection.recv(1 << 16):
                answer += chunk
            result = pickle.loads(answer)  # noqa: S301 - it comes from our own program
        except Exception as error:
            raise LostError("the process that did it ended without an answer") from error
        finally:
            self.end()
        if isinstance(result, Failure):
            raise LostError(result.message)
        return result


def prepare(get_ready: Callable[[], object]) -> Prepared | None:
    """Fork, unless that may go wrong.

    :param get_ready: called there at once, to load what the work will need.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1 or _forgets_children():
        return None
    try:
        ours, theirs = socket.socketpair()
    except OSError:
        return None
    try:
        process = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        return None
    if process == 0:
        _work(theirs, ours, get_ready)
    theirs.close()
    ours.settimeout(TIME_LIMIT)
    return Prepared(process, ours)


def _forgets_children() -> bool:
    """Whether whoever started us has set, for us as well, that nobody waits for processes that have ended.

    The number of one that has would be that of any other soon, which :meth:`Prepared.end` would kill.
    """
    return signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


def _work(connection: socket.socket, agents: socket.socket, get_ready: Callable[[], object]) -> NoReturn:
    """In the new process, which has nothing to do with anything that its agent began."""
    try:
        agents.close()  # or the end of the agent would go unnoticed
        os.setpgid(0, 0)  # Ctrl-C in the agent's terminal is meant for the agent
        limit_memory()
        get_ready()
        with connection.makefile("rwb") as stream:
            length = int.from_bytes(stream.read(LENGTH), "big")
            request = stream.read(length)
            threading.Thread(target=_end_with_the_agent, args=(connection,), daemon=True).start()
            stream.write(pickle.dumps(do(request)))
    finally:
        os._exit(0)  # whatever it was: the agent finds that there is no answer


def _end_with_the_agent(connection: socket.socket) -> None:
    connection.recv(1)  # the agent says no more, and holds its end while it waits
    os._exit(1)
