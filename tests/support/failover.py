"""One tunnel with three clients, each on a machine of its own, and visitors that never stop asking.

Rule: what is done to a client is done here, and what came of it is counted. What it should be is for the
tests to say, and what it usually is for the benchmark.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

from tests.support.namespaces import Machine, star
from tests.support.site import PATIENCE, Agent, Site, site

CLIENTS: Final = ("attic", "barn", "cellar")
KEEP = EACH = 8
_PORT: Final = 8000


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when its connection and itself began, who answered or what went wrong."""

    visitor: int
    connected: float
    began: float
    took: float
    kind: str
    who: str | None
    error: str | None

    @property
    def ended(self) -> float:
        return self.began + self.took

    @property
    def is_failed(self) -> bool:
        return self.error is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All requests of a run, the moment at which something was done, and when it was over."""

    requests: Sequence[Request]
    moment: float
    over: float

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if request.is_failed]

    @property
    def cut(self) -> list[Request]:
        """Those of the failed whose visitor was there before the moment, and with a client perhaps."""
        return [request for request in self.failed if request.connected <= self.moment]

    @property
    def turned_away(self) -> list[Request]:
        """Those of the failed whose visitor came after the moment: it should have been served by another."""
        return [request for request in self.failed if request.connected > self.moment]

    @property
    def newcomers(self) -> list[Request]:
        """Requests that were answered, of visitors who came after the moment."""
        return [
            request
            for request in self.requests
            if request.connected > self.moment and not request.is_failed and request.kind == "each"
        ]

    def unanswered(self, seconds: float) -> int:
        """How many visitors had been told nothing for so long when all was over."""
        everybody = {request.visitor for request in self.requests}
        told = {request.visitor for request in self.requests if request.ended > self.over - seconds}
        return len(everybody - told)

    def moved(self, away_from: str) -> float:
        """Seconds until one who came after the moment was served by another client."""
        ends = [request.ended for request in self.newcomers if request.who != away_from]
        return min(ends, default=inf) - self.moment

    @property
    def longest(self) -> float:
        """Seconds that the slowest request of all these took."""
        return max((request.took for request in self.newcomers), default=inf)

    def __str__(self) -> str:
        return (
            f"{len(self.requests)} requests, {len(self.cut)} cut, {len(self.turned_away)} turned away, "
            f"slowest {self.longest * 1000:.0f} ms"
        )


class Load:
    """Visitors on the public machine."""

    def __init__(self, public: Machine, listen: str, log: Path, *, keep: int, each: int) -> None:
        self._log = log
        command = [sys.executable, "-m", "tests.support.steady_load", listen, "--patience", str(PATIENCE)]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*public.inside, *command, "--keep", str(keep), "--each", str(each)],
                stdin=subprocess.PIPE,
                stdout=output,
            )

    def requests(self) -> list[Request]:
        """What is known so far."""
        text = self._log.read_text()
        return [Request(*json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()]

    def answered(self, *, after: float, by: str | None = None, but: str | None = None) -> int:
        """How many visitors who came after that time have been answered, by that client or by the others."""
        who = [request.who for request in self.requests() if request.connected > after and request.who]
        return len([one for one in who if one != but and by in (None, one)])

    def finish(self, moment: float) -> Outcome:
        """Let the last requests end."""
        self.process.communicate(timeout=PATIENCE)
        return Outcome(self.requests(), moment, time.monotonic())

    def stop(self, moment: float) -> Outcome:
        """Let nobody wait any longer."""
        over = time.monotonic()
        self.process.kill()
        self.process.communicate()
        return Outcome(self.requests(), moment, over)


class Failover:
    """The gateway, the clients, their services and machines; ``first`` is the client that is preferred."""

    def __init__(
        self, place: Site, public: Machine, homes: Sequence[Machine], stack: ExitStack, **tunnel: Any
    ) -> None:
        self.place = place
        self.public = public
        self.homes = dict(zip(CLIENTS, homes, strict=True))
        self.services = {name: stack.enter_context(_service(name, home)) for name, home in self.homes.items()}
        self.listen = place.listen()
        self.gateway = place.start("gateway", self.write(CLIENTS, **tunnel), inside=public.inside)
        self.clients = {name: self.start_client(name) for name in CLIENTS}
        self._stack = stack

    def write(self, clients: Sequence[str] | str, **tunnel: Any) -> Path:
        """Write the gateway's file: these clients have the tunnel."""
        blog = {"name": "blog", "listen": self.listen, "client": clients, "service": "web", **tunnel}
        blog["client"] = clients if isinstance(clients, str) else list(clients)
        return self.place.gateway_file([blog])

    def start_client(self, name: str, **service: Any) -> Agent:
        """Start it, and wait until its gateway has it."""
        mark = self.gateway.mark
        web: Any = {"address": f"127.0.0.1:{_PORT}", **service} if service else f"127.0.0.1:{_PORT}"
        state = self.place.client_file({"web": web}, id=name)
        client = self.place.start("client", state, inside=self.homes[name].inside)
        self.gateway.wait_for("client_connected", after=mark, client=name)
        return client

    def ask(self, *, keep: int = KEEP, each: int = EACH) -> Load:
        """Begin to ask, and wait until everybody has been answered."""
        load = Load(self.public, self.listen, self.place.directory / "load.jsonl", keep=keep, each=each)
        self._stack.callback(load.process.kill)
        until(lambda: len(load.requests()) >= 10 * (keep + each))
        return load

    # What happens to a client. Each returns the moment at which it had happened.

    def kill(self, name: str) -> float:
        """Its process is gone."""
        self.clients[name].kill()
        return time.monotonic()

    def pull(self, name: str) -> float:
        """Its machine can be reached no more."""
        self.homes[name].pull()
        return time.monotonic()

    def kill_service(self, name: str) -> float:
        """Its service is gone, and its machine refuses whoever wants it."""
        self.services[name].kill()
        self.services[name].wait()
        return time.monotonic()

    def stall_service(self, name: str) -> float:
        """Its service accepts nobody any more."""
        self.signal_service(name, signal.SIGUSR1)
        return time.monotonic()

    def mute_service(self, name: str) -> float:
        """Its service accepts everybody, and says nothing any more."""
        self.signal_service(name, signal.SIGUSR2)
        return time.monotonic()

    def swap(self, name: str) -> float:
        """The state file gives the tunnel to another client alone. The moment is when it is written."""
        self.write(name)
        return time.monotonic()

    def start_service(self, name: str) -> None:
        """Start it again."""
        self.services[name] = self._stack.enter_context(_service(name, self.homes[name]))

    def signal_service(self, name: str, what: signal.Signals) -> None:
        """Have the service change its mood, and wait until it has."""
        service = self.services[name]
        service.send_signal(what)
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"


@contextmanager
def failover(directory: Path, **tunnel: Any) -> Iterator[Failover]:
    """All of it, until the block ends.

    :param tunnel: what the tunnel says besides what it must.
    """
    with ExitStack() as stack:
        public, homes = stack.enter_context(star(len(CLIENTS)))
        place = stack.enter_context(site(directory, public.address))
        yield Failover(place, public, homes, stack, **tunnel)


def until(is_true: Any) -> None:
    """Wait for something of which nobody is told."""
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError("it has not become true")
        time.sleep(0.01)


@contextmanager
def _service(name: str, machine: Machine) -> Iterator[subprocess.Popen[str]]:
    command = [*machine.inside, sys.executable, "-m", "tests.support.named_service", name, str(_PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == "ready\n"
            yield service
        finally:
            service.kill()
