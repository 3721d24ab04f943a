"""A program for which names stand for what a test says: it has a name server of its own.

Needs root: the program gets an ``/etc/resolv.conf`` that nobody else sees.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.name_server import NameServer
from tests.support.namespaces import Machine
from tests.support.real_software import require, unavailable
from tests.support.within import within


class OwnNames:
    """The name server, and what to put in front of a command that is to ask it."""

    def __init__(self, address: str, resolver: Path) -> None:
        self._address = address
        self._resolver = resolver
        self._server: NameServer | None = None
        self._zone: dict[str, tuple[str, ...]] = {}
        self.start()

    @property
    def inside(self) -> tuple[str, ...]:
        """A command that runs another one."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, str(self._resolver))

    def put(self, name: str, *addresses: str) -> None:
        """From now on the name stands for these."""
        self._zone[name] = addresses
        if self._server is not None:
            self._server.put(name, addresses)

    def start(self) -> None:
        connection = socket.socket(type=socket.SOCK_DGRAM)
        connection.bind((self._address, 53))
        self._server = NameServer(connection)
        for name, addresses in self._zone.items():
            self._server.put(name, addresses)

    def stop(self) -> None:
        """Nobody answers any more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


@contextmanager
def names_of(machine: Machine, *, at: Machine) -> Iterator[NameServer]:
    """A name server at one machine of ours, for everything that runs on another."""

    def bind() -> socket.socket:
        connection = socket.socket(type=socket.SOCK_DGRAM)
        connection.bind((at.address, 53))
        return connection

    # ``ip netns exec`` puts what is here in the place of what is in /etc.
    place = Path("/etc/netns", machine.name)
    place.mkdir(parents=True)
    try:
        (place / "resolv.conf").write_text(f"nameserver {at.address}\noptions timeout:5 attempts:1\n")
        server = NameServer(within(at, bind))
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(place)


@contextmanager
def own_names(directory: Path, address: str) -> Iterator[OwnNames]:
    """A name server at that address of this machine.

    :param directory: where a file can be put.
    """
    programs = require("unshare", "mount")
    if os.geteuid() != 0:
        unavailable("only root can give a program another name server")
    done = subprocess.run(
        [programs["unshare"], "--mount", "true"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        unavailable(f"no mount namespaces: {done.stderr.strip()}")
    resolver = directory / "resolv.conf"
    resolver.write_text(f"nameserver {address}\noptions timeout:5 attempts:1\n")
    names = OwnNames(address, resolver)
    try:
        yield names
    finally:
        names.stop()
