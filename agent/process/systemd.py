"""What a service manager says to the programs that it starts, and how it is answered: systemd's protocols.

Rule: the environment variables of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3) are
read here, once, and taken out of the environment, so that no child of ours takes them for its
own. Any other service manager that speaks so is as good.

Decision: written here rather than taken from a library. All of it is a datagram to a unix
socket, and file descriptors that are numbered from 3.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from .inherited import Inherited

_FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START
_MOST_DESCRIPTORS: Final = 65_536  # more are a slip: no process has them
_MOST_UNSENT: Final = 64  # messages that a service manager has not read; it reads within milliseconds

_log: Any = structlog.get_logger("systemd")


class Notifier:
    """Tells the service manager how we are. Never waits, and never fails: nobody depends on it but us.

    :param address: a path, or a name of the abstract namespace behind ``@``; "" if nobody wants to be told.
    """

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._unsent: deque[bytes] = deque(maxlen=_MOST_UNSENT)
        self._is_broken = False
        self._socket: socket.socket | None = None
        if not address:
            return
        if not hasattr(socket, "AF_UNIX") or not address.startswith(("/", "@")):
            self._complain(f"{address!r} is no unix socket")
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants to be told."""
        return self._socket is not None

    def tell(self, *assignments: str) -> None:
        """Say these together, each ``NAME=value``, as sd_notify(3) lists them."""
        if self._socket is not None:
            self._unsent.append("\n".join(assignments).encode())
            self.flush()

    def flush(self) -> None:
        """Say what the service manager had no room for until now."""
        while self._socket is not None and self._unsent:
            try:
                self._socket.sendto(self._unsent[0], self._address)
            except BlockingIOError:
                return
            except OSError as error:
                self._complain(error.strerror or str(error))
            self._unsent.popleft()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _complain(self, reason: str) -> None:
        """Once: what is wrong with it now will be wrong with every message."""
        if not self._is_broken:
            self._is_broken = True
            _log.warning("service_manager_not_told", reason=f"NOTIFY_SOCKET: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the service manager wants of us."""

    notifier: Notifier
    watchdog: float | None  # seconds within which it wants to hear that we are alive; None: it does not
    sockets: Inherited


def take_service(environment: MutableMapping[str, str]) -> Service:
    """Read what the service manager has said, and take it out of the environment."""
    said = {
        name: environment.pop(name, "")
        for name in (
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "LISTEN_PID",
            "LISTEN_PIDFDID",
            "LISTEN_FDS",
            "LISTEN_FDNAMES",
        )
    }
    return Service(
        notifier=Notifier(said["NOTIFY_SOCKET"]),
        watchdog=_watchdog(said["WATCHDOG_USEC"], said["WATCHDOG_PID"]),
        sockets=_sockets(said["LISTEN_FDS"], said["LISTEN_PID"], said["LISTEN_FDNAMES"]),
    )


def _watchdog(microseconds: str, pid: str) -> float | None:
    if not microseconds or (pid and pid != str(os.getpid())):
        return None
    wanted = _number(microseconds)
    if not wanted:
        _log.warning("watchdog_ignored", reason=f"WATCHDOG_USEC is {microseconds!r}, which is no time")
        return None
    return wanted / 1_000_000


def _sockets(count: str, pid: str, names: str) -> Inherited:
    if not count:
        return Inherited()
    if pid != str(os.getpid()):
        return Inherited(
            complaints=(
                f"sockets were handed over to the process {pid!r} and this is {os.getpid()}: "
                "let what starts tidegate replace itself by it (exec)",
            )
        )
    number = _number(count)
    if number is None or number > _MOST_DESCRIPTORS:
        return Inherited(complaints=(f"LISTEN_FDS is {count!r}, which is no number of sockets",))
    named = names.split(":") if names else []
    return Inherited(
        {
            descriptor: named[index] if index < len(named) else "unknown"
            for index, descriptor in enumerate(range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + number))
        }
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
