"""The systems that are compared: what each needs, how it is started, and how it is known to work.

Rule: every system leads visitors to the same services on the same machine, from addresses of its own, with
what it offers to encrypt and to prove who is there. None is tuned down: each runs as its own documentation
has it.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.error import URLError

from tests.support.real_software import find
from tests.support.site import COMMAND, Site

from . import proc
from .figures import DIRECT, HAPROXY, TIDEGATE
from .processes import PATIENCE, Process, StartError, running, wait_listening

WEB: Final = "web"  # the service that every start is tried with: HTTP, with a page at PAGE
PAGE: Final = "/1k"
CLIENT: Final = "homelab"

Services: TypeAlias = Mapping[str, str]  # name -> host:port


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A system at work.

    :param public: where visitors connect, by service.
    :param processes: its own programs, by what each is; first the one at the public side.
    """

    public: Services
    processes: Mapping[str, Process]

    @property
    def sides(self) -> Mapping[str, Sequence[Process]]:
        """The programs of the public side and of the side at home, in Tidegate's words for them."""
        programs = list(self.processes.values())
        return {"gateway": programs[:1], "client": programs[1:]} if programs else {}

    @property
    def page(self) -> str:
        return f"http://{self.public[WEB]}{PAGE}"


Start: TypeAlias = Callable[[Site, Services], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """:param secured: how the bytes between its two halves are protected, for the reader of the table."""

    name: str
    secured: str
    start: Start
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of its programs that are not on PATH."""
        return tuple(program for program in self.needs if find(program) is None)


def cpu_seconds(now: Running) -> float:
    """What all of its programs have used so far, user and kernel."""
    return sum(proc.cpu_seconds(process.pid) for process in now.processes.values())


def path_of(program: str) -> str:
    found = find(program)
    if found is None:
        raise StartError(f"{program} is not on PATH")
    return found


@contextmanager
def started(system: System, directory: Path, services: Services) -> Iterator[Running]:
    """A system that has answered a request.

    :param directory: of this system alone; is made here.
    :raises StartError: if it does not come up.
    """
    directory.mkdir(parents=True)
    place = Site(directory)  # for its address, ports and keys; the processes are started by the system
    with system.start(place, services) as now:
        for address in now.public.values():
            wait_listening(address, *now.processes.values())
        _wait_answered(now)
        yield now


def _wait_answered(now: Running) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        for process in now.processes.values():
            process.check()
        try:
            with urllib.request.urlopen(now.page, timeout=PATIENCE) as answer:
                answer.read()
                return
        except (URLError, OSError) as error:
            if time.monotonic() > deadline:
                said = "".join(process.last_words for process in now.processes.values())
                raise StartError(f"{now.page} does not answer: {error}{said}") from error
        time.sleep(0.05)


@contextmanager
def direct(place: Site, services: Services) -> Iterator[Running]:
    """No tunnel: what the services and the load generators can do on this machine."""
    yield Running(public=services, processes={})


@contextmanager
def tidegate(place: Site, services: Services, *, gateway: str | None = None) -> Iterator[Running]:
    """As ``tidegate gateway`` and ``tidegate client`` run by default, their logs in files.

    :param gateway: what the client dials; by default the gateway itself.
    """
    public = {name: place.listen() for name in services}
    tunnels = [
        {"name": name, "listen": listen, "client": CLIENT, "service": name} for name, listen in public.items()
    ]
    dialed: dict[str, Any] = {} if gateway is None else {"gateways": [gateway]}
    states = {
        "gateway": place.gateway_file(tunnels),
        "client": place.client_file(services, id=CLIENT, **dialed),
    }
    with running("gateway", [*COMMAND, "gateway", str(states["gateway"])], place.directory) as one:
        wait_listening(place.control, one)  # a client that comes too early tries again, but not at once
        with running("client", [*COMMAND, "client", str(states["client"])], place.directory) as other:
            yield Running(public=public, processes={"gateway": one, "client": other})


@contextmanager
def haproxy(place: Site, services: Services) -> Iterator[Running]:
    """Two HAProxies, TLS 1.3 between them with certificates on both sides, of the same kind as Tidegate's.

    The one at home listens, since HAProxy cannot dial out and wait; every visitor is a connection of its own
    between the two. TLS sessions are resumed, as HAProxy does by default.
    """
    place.issue(CLIENT)
    public = {name: place.listen() for name in services}
    between = {name: place.listen() for name in services}
    for name in ("gateway", CLIENT):
        whole = place.pki / f"{name}.pem"
        whole.write_bytes((place.pki / f"{name}.crt").read_bytes() + (place.pki / f"{name}.key").read_bytes())
    common = """global
  nbthread 2
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
"""
    edge = [
        f"""listen {name}
  bind {public[name]}
  server home {between[name]} ssl verify required ca-file pki/ca.crt crt pki/{CLIENT}.pem """
        f"ssl-min-ver TLSv1.3 sni str(gateway.test) verifyhost gateway.test\n"
        for name in services
    ]
    inner = [
        f"""listen {name}
  bind {between[name]} ssl crt pki/gateway.pem ca-file pki/ca.crt verify required ssl-min-ver TLSv1.3
  server service {target}
"""
        for name, target in services.items()
    ]
    with _haproxy("home", place, common + "".join(inner)) as home:
        for address in between.values():
            wait_listening(address, home)
        with _haproxy("public", place, common + "".join(edge)) as front:
            yield Running(public=public, processes={"public": front, "home": home})


def _haproxy(name: str, place: Site, configuration: str) -> AbstractContextManager[Process]:
    file = place.directory / f"{name}.cfg"
    file.write_text(configuration)
    return running(name, [path_of("haproxy"), "-db", "-f", file.name], place.directory)


@contextmanager
def websocket(place: Site, services: Services) -> Iterator[Running]:
    """The session within a WebSocket in the clear, as a reverse proxy would bring it."""
    with tidegate(place, services, gateway=f"ws://{place.control}/tunnel") as now:
        yield now


@contextmanager
def websocket_in_tls(place: Site, services: Services) -> Iterator[Running]:
    """The same within TLS of its own, as where there is no reverse proxy: everything is encrypted twice."""
    with tidegate(place, services, gateway=f"wss://{place.control}/tunnel") as now:
        yield now


ALWAYS: Final[Sequence[System]] = (
    System(name=DIRECT, secured="no tunnel", start=direct),
    System(name=HAPROXY, secured="mutual TLS 1.3", start=haproxy, needs=("haproxy",)),
    System(name=TIDEGATE, secured="mutual TLS 1.3", start=tidegate),
)
ON_REQUEST: Final[Sequence[System]] = (
    System(name="ws", secured="mutual TLS 1.3 in a WebSocket", start=websocket),
    System(name="wss", secured="mutual TLS 1.3 in a WebSocket in TLS 1.3", start=websocket_in_tls),
)
