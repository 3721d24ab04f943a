"""Ten thousand tunnels: how long until a change is in force, and what visitors notice of it.

Rule: times are taken from outside. A change begins when the file has its new content, and is in force
when a visitor gets through by it. Meanwhile others send small requests at a fixed rate. A large file
changes again as soon as a change of it is in force, so that it is being read all the time; fragments,
which are read in no time, change once a second.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from reconcile.apart_child import NICENESS
from tests.support.site import COMMAND, Site

from . import paced, proc
from .figures import TIDEGATE, Bound, Quantity, Sample, Target, Unit
from .many_tunnels import CLIENT, SERVICE, Ports, entries, fragments, head, hostname
from .processes import PATIENCE, Process, StartError, output_of, running, wait_listening
from .systems import PAGE, WEB, Services

FAMILY: Final = "scale"
UNDISTURBED: Final = "undisturbed"
COMPUTING: Final = "computing"  # nothing changes, and a process that has to do with nobody computes

TUNNELS: Final = 10_000
_PORTS: Final = 100
_FRAGMENTS: Final = 100
_ADDED: Final = 1_000
_RATE: Final = 500  # small requests a second
_CONNECTIONS: Final = 16
_LEAST_SECONDS: Final = 4.0
_POLL: Final = 0.01
_SHORTEST: Final = 0.4  # seconds that a change of a file, or a pace, takes at least
_PACE: Final = 1.0  # seconds from one change of a fragment to the next
_FIRST: Final = 20_000  # the first public port
_NUMBERS: Final = itertools.count()
# As modest as whoever reads a state for a gateway.
_COMPUTE: Final = f"import os; os.nice({NICENESS})\nwhile True: sum(range(1000))"


def _at_most(limit: float, reference: str | None = None) -> Target:
    return Target(bound=Bound.AT_MOST, limit=limit, reference=reference)


def _time(key: str, title: str, limit: float) -> Quantity:
    return Quantity(key=key, title=title, unit=Unit.MILLISECONDS, target=_at_most(limit))


def _latency(key: str, title: str) -> Quantity:
    target = _at_most(1.25, UNDISTURBED)
    return Quantity(key=key, title=title, unit=Unit.MILLISECONDS, reference=UNDISTURBED, target=target)


def _memory(key: str, title: str) -> Quantity:
    return Quantity(key=key, title=title, unit=Unit.MEGABYTES, target=_at_most(150))


CHECK: Final = _time("scale-check", f"tidegate check, {TUNNELS:,} tunnels in a file", 3000)
CHANGE: Final = _time("scale-change", f"one line of {TUNNELS:,} tunnels in a file, until in force", 3000)
CHANGE_P99: Final = _latency(
    "scale-change-p99", f"{_RATE} small req/s while a file of {TUNNELS:,} is read: p99"
)
FRAGMENT: Final = _time(
    "scale-fragment", f"one line of {TUNNELS:,} tunnels in {_FRAGMENTS} files, until in force", 500
)
FRAGMENT_P99: Final = _latency(
    "scale-fragment-p99", f"{_RATE} small req/s, a fragment changes every second: p99"
)
ADDED: Final = _time("scale-added", f"{_ADDED:,} ports added in one save, until the last is open", 2000)
AT_REST: Final = _memory("scale-memory", f"memory of the gateway with {TUNNELS:,} tunnels")
AT_MOST: Final = _memory("scale-memory-peak", "the same while they are read, with what reads them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway at work, with a client that serves all of its tunnels."""

    site: Site
    process: Process
    log: Path
    public: str  # the tunnel of those who are not concerned

    def changes(self) -> int:
        """How many resources were opened, changed or closed so far."""
        return len(re.findall(r'"event": ?"resources?_', self.log.read_text()))


def measure(directory: Path, services: Services, *, number: int, seconds: float) -> Iterator[Sample]:
    """One sample of each of the quantities above."""

    def sample(quantity: Quantity, value: float, system: str = TIDEGATE, **details: Any) -> Sample:
        return Sample(quantity=quantity, system=system, number=number, value=value, **details)

    seconds = max(seconds, _LEAST_SECONDS)
    with _site(directory / "file") as site:
        ports = Ports(host=site.address, first=_FIRST, count=_PORTS, names=TUNNELS // _PORTS)
        public, texts = site.listen(), entries(ports)
        state = _File(site.directory / "gateway.yaml", head(site.control, public), texts)
        state.save(texts)
        yield sample(CHECK, _check(state.path))
        with _running(site, state.path, public, services) as gateway:
            quiet = _visit(gateway.public, seconds)
            yield sample(CHANGE_P99, quiet["p99_ms"], UNDISTURBED, details=quiet)
            with _computing():
                beside = _visit(gateway.public, seconds)
            yield sample(CHANGE_P99, beside["p99_ms"], COMPUTING, details=beside)
            times, busy, remarks = _change_again_and_again(gateway, state, ports, seconds)
            yield sample(CHANGE_P99, busy["p99_ms"], details=busy)
            yield sample(CHANGE, statistics.median(times) * 1e3, remarks=remarks)
            yield sample(AT_REST, proc.resident(gateway.process.pid) / 1e6)
            with _Highest(gateway.process) as highest:  # which takes a part of the machine for itself
                added = _add_ports(gateway, state, texts)
            yield sample(AT_MOST, highest.bytes / 1e6)
            yield sample(ADDED, added * 1e3)
    with _site(directory / "fragments") as site:
        ports = Ports(host=site.address, first=_FIRST, count=_PORTS, names=TUNNELS // _PORTS)
        public = site.listen()
        folder = _Folder(site.directory / "gateway.d", head(site.control, public), entries(ports))
        with _running(site, folder.path, public, services) as gateway:
            quiet = _visit(gateway.public, seconds)
            yield sample(FRAGMENT_P99, quiet["p99_ms"], UNDISTURBED, details=quiet)
            times, busy, remarks = _change_again_and_again(gateway, folder, ports, seconds, pace=_PACE)
            yield sample(FRAGMENT_P99, busy["p99_ms"], details=busy)
            yield sample(FRAGMENT, statistics.median(times) * 1e3, remarks=remarks)


class _File:
    """A state in one file."""

    def __init__(self, path: Path, beginning: str, texts: list[str]) -> None:
        self.path = path
        self._beginning = beginning
        self._texts = texts

    def change(self, index: int, text: str) -> Callable[[], None]:
        """What puts the file with that tunnel in the place of one in its place."""
        return self._prepare([*self._texts[:index], text, *self._texts[index + 1 :]])

    def save(self, texts: list[str]) -> None:
        self._prepare(texts)()

    def _prepare(self, texts: list[str]) -> Callable[[], None]:
        return _prepare(self.path, self._beginning + "".join(texts))


class _Folder:
    """The same state in many files."""

    def __init__(self, path: Path, beginning: str, texts: list[str]) -> None:
        self.path = path
        self._texts = texts
        path.mkdir()
        (path / "pki").symlink_to("../pki")
        _prepare(path / "00-gateway.yaml", beginning)()
        for number, text in enumerate(fragments(texts, _FRAGMENTS)):
            _prepare(self._file(number), text)()

    def change(self, index: int, text: str) -> Callable[[], None]:
        size = len(self._texts) // _FRAGMENTS
        number = index // size
        texts = self._texts[number * size : (number + 1) * size]
        texts[index % size] = text
        return _prepare(self._file(number), fragments(texts, 1)[0])

    def _file(self, number: int) -> Path:
        return self.path / f"10-{number:03}.yaml"


def _prepare(path: Path, text: str) -> Callable[[], None]:
    fresh = path.with_name(f".{path.name}.{next(_NUMBERS)}.new")
    fresh.write_text(text)

    def save() -> None:
        fresh.replace(path)

    return save


@contextmanager
def _site(directory: Path) -> Iterator[Site]:
    directory.mkdir(parents=True)
    yield Site(directory)


@contextmanager
def _running(site: Site, state: Path, public: str, services: Services) -> Iterator[Gateway]:
    client = site.client_file({SERVICE: services[WEB]}, id=CLIENT)
    with running("gateway", [*COMMAND, "gateway", str(state)], site.directory) as process:
        wait_listening(public, process)
        with running("client", [*COMMAND, "client", str(client)], site.directory):
            gateway = Gateway(site=site, process=process, log=site.directory / "gateway.log", public=public)
            _wait(lambda: _gets_through(public, "anybody"), "a visitor gets through")
            yield gateway


@contextmanager
def _computing() -> Iterator[None]:
    """Somebody else needs a core, after everybody else."""
    with subprocess.Popen([sys.executable, "-I", "-c", _COMPUTE]) as process:
        try:
            yield
        finally:
            process.kill()


def _check(state: Path) -> float:
    begun = time.perf_counter()
    checked = subprocess.run([*COMMAND, "check", str(state)], capture_output=True, text=True, check=False)
    if checked.returncode:
        raise StartError(f"tidegate check has something to say: {checked.stderr[:300]}")
    return (time.perf_counter() - begun) * 1e3


def _visit(address: str, seconds: float) -> dict[str, float]:
    """What visitors notice, who send small requests for so long."""
    command = (
        *(sys.executable, paced.__file__, address),
        *("--rate", f"{_RATE}", "--connections", f"{_CONNECTIONS}", "--seconds", f"{seconds}"),
    )
    printed = output_of(command, seconds=seconds)
    try:
        counted: dict[str, float] = json.loads(printed)
    except ValueError as error:
        raise StartError(f"the small requests gave no result: {printed.strip()[-300:]}") from error
    return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A tunnel gets another hostname: all is made ready, so that nothing but the change takes time."""

    save: Callable[[], None]
    address: str
    name: str


def _change(state: _File | _Folder, ports: Ports, number: int) -> _Change:
    """Of another tunnel each time, so that each change of a file takes one back and makes one."""
    index = number * 1009 % ports.tunnels
    address = ports.addresses[index // ports.names]
    port = int(address.rpartition(":")[2])
    name = f"changed{number}.example.com"
    old = entries(ports)[index]
    save = state.change(index, old.replace(hostname(port, index % ports.names), name))
    return _Change(save=save, address=address, name=name)


def _change_again_and_again(
    gateway: Gateway, state: _File | _Folder, ports: Ports, seconds: float, *, pace: float = 0.0
) -> tuple[list[float], dict[str, float], tuple[str, ...]]:
    """Change a line as soon as the line before is in force, while others visit.

    :param pace: seconds from one change to the next, at least.
    :returns: the seconds that each change took, what the others noticed, and what was not as it should be.
    """
    noticed: dict[str, float] = {}
    visiting = threading.Thread(target=lambda: noticed.update(_visit(gateway.public, seconds)))
    changes = [_change(state, ports, number) for number in range(1 + math.ceil(seconds / _SHORTEST))]
    before = gateway.changes()
    times: list[float] = []
    visiting.start()
    for change in changes:
        change.save()
        begun = time.perf_counter()
        _wait(partial(_gets_through, change.address, change.name), f"the change to {change.name} is in force")
        times.append(time.perf_counter() - begun)
        time.sleep(max(0.0, pace - times[-1]))
        if not visiting.is_alive():
            break
    visiting.join()
    touched = gateway.changes() - before
    # The one that changes, and the one that becomes again what it was.
    expected = 2 * len(times) - 1
    remarks = () if touched <= expected else (f"{touched} listeners were touched and not {expected}",)
    return times, noticed, remarks


def _add_ports(gateway: Gateway, state: _File, texts: list[str]) -> float:
    added = Ports(host=gateway.site.address, first=_FIRST + 5_000, count=_ADDED)
    fresh = [*texts, *entries(added)]
    begun = time.perf_counter()
    state.save(fresh)
    last = max(added.addresses)  # they are opened in the order of their names
    _wait(lambda: _gets_through(last, "anybody"), "the last of the new ports is open")
    return time.perf_counter() - begun


def _gets_through(address: str, name: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            connection.request("GET", PAGE, headers={"Host": name})
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()
    return False


def _wait(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise StartError(f"it never was so that {what}")
        time.sleep(_POLL)


class _Highest:
    """The most memory that a process takes with all that it starts, looked at every 10 ms."""

    def __init__(self, process: Process) -> None:
        self.bytes = 0
        self._pid = process.pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.bytes = max(self.bytes, proc.proportional(self._pid))
