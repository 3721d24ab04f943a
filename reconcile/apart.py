"""Work in a process of its own, which the visitors of an agent do not notice.

Rule: whatever becomes of that process, its agent goes on. It has an interpreter of
its own, a lower priority, and limits; it ends with its work, or with its agent, and
when it ends in another way somebody is told.

A process lives for one piece of work. It takes a quarter of a second to start, which
is little beside what is worth starting it for, and gives back all of its memory.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, TypeVar, TypeVarTuple, Unpack

from anyio import to_thread

from schemas.errors import TidegateError

from .apart_child import LENGTH, Failure, Request

TIME_LIMIT: Final = 120.0
"""Seconds that the work may take. The largest state file takes a tenth of that where nobody else works."""

# The same modules as here, wherever they come from, and before anything is imported from anywhere else.
_PROGRAM: Final = "import sys; sys.path[:] = sys.argv[1:]; from reconcile.apart_child import main; main()"

# Bytes of stderr that are kept; all that is told is the last line.
_COMPLAINT: Final = 4096

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class NotStartedError(TidegateError):
    """There is no other process to be had. The work can still be done here."""


class LostError(TidegateError):
    """The process ended, or was ended, without a result; the message says how, for a person."""


async def run_apart(
    function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments, limit: float = TIME_LIMIT
) -> T:
    """What the function returns in a process of its own. Cancelled, it leaves no process behind.

    :param function: one of a module that is quickly imported. It, its arguments and its result are pickled.
    :raises NotStartedError: if there is no process to be had.
    :raises LostError: if there is no result.
    """
    work = _Work(function, arguments, limit)
    try:
        return await to_thread.run_sync(work.run, abandon_on_cancel=True)
    finally:
        work.end()  # if this was cancelled, the thread is waiting for it


class _Work:
    """One process, from start to end. ``run`` is called in a worker thread, ``end`` from anywhere."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], limit: float) -> None:
        self._request = Request(function=function, arguments=arguments)
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._is_late = False
        self._is_over = False
        self._lock = threading.Lock()

    def run(self) -> Any:
        process = self._start()
        timer = threading.Timer(self._limit, self._give_up)
        timer.start()
        try:
            with process:
                answer, complaint = _converse(process, self._request)
        finally:
            timer.cancel()
        try:
            result = pickle.loads(answer)  # noqa: S301 - it comes from our own program
        except Exception as error:
            raise LostError(self._explain(process.returncode, complaint)) from error
        if isinstance(result, Failure):
            raise LostError(result.message)
        return result

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            if self._process is not None:
                self._process.kill()  # harmless if it has ended

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[1])
        command = [sys.executable, "-I", "-c", _PROGRAM, *sys.path, root]
        # Ctrl-C in the terminal of the agent is meant for the agent's process group alone. The session is the
        # agent's, because Linux weighs priorities within sessions and not across them (sched(7), autogroup).
        # Whatever is open here is closed by exec (PEP 446): to close thousands of ports one by one would stop
        # this process, which waits for the exec.
        with self._lock:
            if self._is_over:
                raise NotStartedError("it is not wanted any more")
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    process_group=0,
                    close_fds=False,
                )
            except (OSError, ValueError, TypeError) as error:
                raise NotStartedError(f"no process could be started: {error}") from error
        return self._process

    def _give_up(self) -> None:
        self._is_late = True
        if self._process is not None:
            self._process.kill()

    def _explain(self, status: int, complaint: bytes) -> str:
        if self._is_late:
            return f"the process that did it was not done within {self._limit:g} s and was ended"
        if status < 0:
            with suppress(ValueError):
                return f"the process that did it was ended by {signal.Signals(-status).name}"
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        return f"the process that did it ended with status {status}" + (f" ({last})" if last else "")


def _converse(process: subprocess.Popen[bytes], request: Request) -> tuple[bytes, bytes]:
    """What the process answers, and what it says on stderr. It ends when its stdin does."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaint = bytearray()
    # From the beginning, for a process to whose stderr nobody listens stops when the pipe is full.
    listening = threading.Thread(target=_read_end, args=(process.stderr, complaint))
    listening.start()
    sent = pickle.dumps(request)
    with suppress(OSError):  # it has ended, and that is found out below
        process.stdin.write(len(sent).to_bytes(LENGTH, "big"))
        process.stdin.write(sent)
        process.stdin.flush()
    answer = process.stdout.read()
    listening.join()
    with suppress(OSError):
        process.stdin.close()
    return answer, bytes(complaint)


def _read_end(stream: IO[bytes], kept: bytearray) -> None:
    """Read to the end, and keep what comes last."""
    while chunk := stream.read(_COMPLAINT):
        kept += chunk
        del kept[:-_COMPLAINT]
