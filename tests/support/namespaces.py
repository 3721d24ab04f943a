"""Machines with cables between them: network namespaces that a test made itself.

Needs root and iproute2. A cable can be pulled: packets are then dropped, and
neither end is told.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.support.real_software import require, unavailable


@dataclass(frozen=True, slots=True)
class Machine:
    """One namespace, with its end of the cable. ``next_hop`` leads to whatever is not on the cable."""

    name: str
    interface: str
    address: str
    next_hop: str | None = None

    @property
    def inside(self) -> tuple[str, ...]:
        """What to put in front of a command to run it there."""
        return ("ip", "netns", "exec", self.name)

    def pull(self) -> None:
        """Pull the cable: what is sent is lost, without a word."""
        _ip("-n", self.name, "link", "set", self.interface, "down")

    def plug_in(self) -> None:
        _ip("-n", self.name, "link", "set", self.interface, "up")
        if self.next_hop is not None:  # a route goes with its interface
            _ip("-n", self.name, "route", "replace", "default", "via", self.next_hop)

    def move(self, address: str) -> None:
        """Give it another address: what it still had to say from the old one is never said."""
        _ip("-n", self.name, "addr", "flush", "dev", self.interface)
        _ip("-n", self.name, "addr", "add", f"{address}/24", "dev", self.interface)

    def route_through(self, router: Machine) -> None:
        """Reach everything else through that one."""
        _ip("-n", self.name, "route", "add", "default", "via", router.address)


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """A public machine and one at home. Removed at the end."""
    require("ip")
    number = os.getpid()
    public = Machine(f"tgp{number}", f"vp{number}", "192.0.2.1")
    home = Machine(f"tgh{number}", f"vh{number}", "192.0.2.2")
    try:
        try:
            _ip("netns", "add", public.name)
            _ip("netns", "add", home.name)
            _ip(
                *("link", "add", public.interface, "netns", public.name, "type", "veth"),
                *("peer", "name", home.interface, "netns", home.name),
            )
        except subprocess.CalledProcessError as error:
            unavailable(f"no network namespaces: {error.stderr.strip()}")
        for machine in (public, home):
            _ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", machine.interface)
            _ip("-n", machine.name, "link", "set", "lo", "up")
            machine.plug_in()
        yield public, home
    finally:
        for machine in (public, home):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", machine.name)


@contextmanager
def star(count: int) -> Iterator[tuple[Machine, tuple[Machine, ...]]]:
    """A public machine, and several at home with a cable of their own to it. Removed at the end."""
    require("ip")
    number = os.getpid()
    public = Machine(f"tgp{number}", "lo", "192.0.2.1")
    homes = tuple(
        Machine(f"tgh{number}-{home}", f"vh{number}-{home}", f"198.51.100.{4 * home + 2}", _far_end(home))
        for home in range(count)
    )
    try:
        try:
            for machine in (public, *homes):
                _ip("netns", "add", machine.name)
                _ip("-n", machine.name, "link", "set", "lo", "up")
            _ip("-n", public.name, "addr", "add", f"{public.address}/32", "dev", "lo")
            for home, machine in enumerate(homes):
                _cable(public, f"vp{number}-{home}", machine, _far_end(home))
        except subprocess.CalledProcessError as error:
            unavailable(f"no network namespaces: {error.stderr.strip()}")
        yield public, homes
    finally:
        for machine in (public, *homes):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", machine.name)


def _far_end(home: int) -> str:
    """The address of the public machine on the cable to that one."""
    return f"198.51.100.{4 * home + 1}"


def _cable(public: Machine, interface: str, home: Machine, far_end: str) -> None:
    _ip(
        *("link", "add", interface, "netns", public.name, "type", "veth"),
        *("peer", "name", home.interface, "netns", home.name),
    )
    _ip("-n", public.name, "addr", "add", f"{far_end}/30", "dev", interface)
    _ip("-n", public.name, "link", "set", interface, "up")
    _ip("-n", home.name, "addr", "add", f"{home.address}/30", "dev", home.interface)
    home.plug_in()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
