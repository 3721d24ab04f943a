"""Other people's programs that ask: curl and ``openssl s_client``."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.support.site import PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What curl got. ``visitor`` is the address and port from which it asked, if it has any."""

    status: int
    body: str
    visitor: str

    def json(self) -> Any:
        return json.loads(self.body)


class CurlError(Exception):
    """curl got no answer; ``str()`` is what it says."""


class Curl:
    """curl as a command, with the same options every time."""

    def __init__(self, program: str, *options: str) -> None:
        self._command = (program, "-sS", "--max-time", f"{PATIENCE:.0f}", *options)

    def __call__(self, url: str, *options: str) -> Answer:
        """:raises CurlError: if there is no answer."""
        written = "\n%{http_code} %{local_ip} %{local_port}"
        done = subprocess.run(
            [*self._command, *options, "-w", written, url],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        if done.returncode:
            raise CurlError(done.stderr.strip())
        body, _, numbers = done.stdout.rpartition("\n")
        status, _, visitor = numbers.partition(" ")
        return Answer(status=int(status), body=body, visitor=visitor)


def s_client(program: str, connect: str, *options: str, send: bytes = b"") -> str:
    """What ``openssl s_client`` prints while it talks to a server until that closes, errors included."""
    done = subprocess.run(
        [program, "s_client", "-connect", connect, "-ign_eof", *options],
        input=send,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
    )
    return done.stdout.decode(errors="replace")
