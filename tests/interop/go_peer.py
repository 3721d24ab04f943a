"""The program beside this file, as its tests see it: verbs to await, and what it complained of.

Rule: what the peer does is said by the tests and what it can do by ``main.go``; nothing is decided here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support import pki
from tests.transport.world import PATIENCE

_LINE = 1 << 20  # bytes; a longer answer is a mistake


class GoError(Exception):
    """The peer could not do it; ``str()`` is what yamux says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The compiler, the peer's source, and the peer once it is built."""

    go: str
    path: Path
    source: Path

    def run_go(self, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",  # else a C compiler is needed where there is one release of Go or another
            "GOFLAGS": "-mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        return subprocess.run(
            [self.go, *arguments],
            cwd=self.source,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """What went one way on a stream: how many bytes, their SHA-256, and how it ended."""

    count: int
    digest: str
    end: str  # "done", "EOF", or the error of yamux


@dataclass(eq=False)
class _Answer:
    arrived: anyio.Event = field(default_factory=anyio.Event)
    words: list[str] = field(default_factory=list)


class GoPeer:
    """A running peer."""

    def __init__(self, process: anyio.abc.Process, log: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self._output = BufferedByteReceiveStream(process.stdout)
        self._log = log
        self._forgiven = 0  # lines of the log
        self._tags = count(1)
        self._asked: dict[str, _Answer] = {}

    async def address(self) -> tuple[str, int]:
        """Where it listens, if it is to be dialed. It says so before anything else."""
        host, _, port = (await self._line()).rpartition(":")
        return host, int(port)

    async def listen(self) -> None:
        """Take in answers for as long as it runs."""
        while True:
            tag, *words = (await self._line()).split(" ")
            answer = self._asked.pop(tag)
            answer.words = words
            answer.arrived.set()

    async def ask(self, verb: str, *arguments: object) -> list[str]:
        """Have it do something; the words of its answer.

        :raises GoError: if it could not.
        """
        tag, answer = str(next(self._tags)), _Answer()
        self._asked[tag] = answer
        await self._input.send(" ".join((tag, verb, *map(str, arguments))).encode() + b"\n")
        with anyio.fail_after(PATIENCE):
            await answer.arrived.wait()
        outcome, *words = answer.words
        if outcome != "ok":
            raise GoError(" ".join(words))
        return words

    async def open(self) -> int:
        """Open a stream; its number."""
        return int((await self.ask("open"))[0])

    async def accept(self) -> int:
        """Accept the next stream; its number."""
        return int((await self.ask("accept"))[0])

    async def write(self, stream: int, size: int, *, piece: int = 32_768, seed: int = 1) -> Moved:
        """Write that many random bytes, so many with each call."""
        return _moved(await self.ask("write", stream, size, piece, seed))

    async def read(self, stream: int, limit: int = 1 << 40) -> Moved:
        """Read up to a limit, or to the end."""
        return _moved(await self.ask("read", stream, limit))

    async def echo(self, stream: int) -> Moved:
        """Say everything again, and end behind the peer's end."""
        return _moved(await self.ask("echo", stream))

    async def say(self, stream: int, text: bytes) -> None:
        """Write these bytes."""
        await self.ask("say", stream, text.hex())

    async def hear(self, stream: int, size: int) -> bytes:
        """Read exactly so many bytes."""
        return bytes.fromhex((await self.ask("hear", stream, size))[0])

    async def streams(self) -> int:
        """How many there are in its session."""
        return int((await self.ask("count"))[0])

    def complaints(self) -> list[str]:
        """What yamux logged as an error and the test does not expect."""
        lines = self._log.read_text().splitlines()[self._forgiven :]
        return [line for line in lines if "[WARN]" not in line]

    def forgive(self) -> None:
        """Say that what it complained of so far was expected."""
        self._forgiven = len(self._log.read_text().splitlines())

    async def _line(self) -> str:
        return (await self._output.receive_until(b"\n", _LINE)).decode()


@asynccontextmanager
async def running(program: Program, directory: Path, *options: str, dial: str = "") -> AsyncIterator[GoPeer]:
    """Start a peer that dials, or one that listens. It is stopped at the end.

    :param options: see ``main.go``.
    """
    mine = pki.client() if dial else pki.gateway()
    (directory / "mine.pem").write_bytes(mine.certificate + mine.key)
    (directory / "ca.pem").write_bytes(pki.authority().certificate)
    files = ("-cert", directory / "mine.pem", "-ca", directory / "ca.pem")
    log = directory / "peer.log"
    with log.open("wb") as stderr:
        process = await anyio.open_process(
            [program.path, *files, "-dial", dial, *options], stdin=subprocess.PIPE, stderr=stderr
        )
    try:
        yield GoPeer(process, log)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


def _moved(words: list[str]) -> Moved:
    size, digest, *end = words
    return Moved(int(size), digest, " ".join(end))
