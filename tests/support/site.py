"""A place to run real agents in: keys, state files, addresses of its own, and the processes.

Every site has a loopback address that no other test uses, so its ports are free.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from agent.keys.pki import init_authority, issue_client, issue_gateway

PATIENCE: Final = 40.0  # seconds until a test that waits for something gives up: a guard, not a measure
COMMAND: Final = (sys.executable, "-m", "agent")  # what ``tidegate`` on the command line is
STOCK_LOOP: Final = "--stock-loop"
_numbers = itertools.count(1)


def own_address() -> str:
    """A loopback address that no other test of this machine uses now."""
    process, number = os.getpid(), next(_numbers)
    return f"127.{1 + process // 250 % 250}.{1 + process % 250}.{number % 250 + 1}"


def tidegate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit status."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE)


def free_ports(host: str) -> Iterator[int]:
    """Ports of an address that are free now.

    They lie below those that the system hands out by itself (32768 and up on Linux), so that
    nobody's outgoing connection takes one before the test does.
    """
    # Each process begins elsewhere, and processes that were started one after the other far from each other.
    for port in itertools.count(10_000 + os.getpid() * 12_361 % 20_000):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue  # whatever else it is, such as an address of another machine, is not ours to say
        yield port


_everywhere: Final = free_ports("0.0.0.0")


def local_ports(count: int) -> tuple[int, ...]:
    """Ports that are free at every IPv4 address. No other test of this process is given the same."""
    return tuple(itertools.islice(_everywhere, count))


class Agent:
    """A gateway or a client as a process. Its log is read as it is written.

    :param inside: a command that runs another one, such as ``ip netns exec NAME``.
    :param inherited: descriptors that it has as they are here.
    :param environment: what is in its environment besides what is in ours.
    """

    def __init__(
        self,
        role: str,
        state: Path,
        *options: str,
        inside: Sequence[str] = (),
        inherited: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.role = role
        self.state = state
        self.lines: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*inside, *COMMAND, role, str(state), "--log-format", "json", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=inherited,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def socket_path(self) -> Path:
        return self.state.with_suffix(".sock")

    @property
    def mark(self) -> int:
        """Where the log is now, for ``wait_for(after=…)``."""
        return len(self.lines)

    def wait_for(self, event: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The first line of the log from ``after`` on with that event and these fields."""
        position = after
        with self._arrived:
            while True:
                while position < len(self.lines):
                    line = self.lines[position]
                    position += 1
                    if line.get("event") == event and all(line.get(key) == fields[key] for key in fields):
                        return line
                if self._ended or not self._arrived.wait(PATIENCE):
                    raise AssertionError(f"no {event} {fields} in the log of the {self.role}:\n{self.log}")

    @property
    def log(self) -> str:
        return "\n".join(json.dumps(line) for line in self.lines)

    def status(self) -> dict[str, Any]:
        """What ``tidegate status --json`` prints."""
        done = tidegate("status", "--socket", str(self.socket_path), "--json")
        done.check_returncode()
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(how)
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for text in stderr:
                try:
                    line = json.loads(text)
                except ValueError:
                    line = {"event": "not JSON", "text": text}
                with self._arrived:
                    self.lines.append(line)
                    self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()


class Site:
    """One gateway and its clients in one directory. Stops every process at its end.

    :param options: given to every agent, as on the command line.
    """

    def __init__(self, directory: Path, address: str | None = None, *, options: Sequence[str] = ()) -> None:
        self.directory = directory
        self.options = tuple(options)
        self.address = address or own_address()
        self.pki = directory / "pki"
        self.agents: list[Agent] = []
        self._ports: dict[str, Iterator[int]] = {}
        self.control = self.listen()
        init_authority(self.pki, name="test")
        issue_gateway(self.pki, name="gateway", hosts=[self.address, "gateway.test"])

    def listen(self, host: str | None = None) -> str:
        """A free ``address:port`` of this site, or of another address of this machine."""
        host = host or self.address
        port = next(self._ports.setdefault(host, free_ports(host)))
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def issue(self, client_id: str) -> None:
        if not (self.pki / f"{client_id}.crt").exists():
            issue_client(self.pki, client_id=client_id)

    def gateway_file(self, tunnels: list[dict[str, Any]], **settings: Any) -> Path:
        """Write ``gateway.yaml`` as a configuration tool does: whole, by renaming."""
        settings = dict(settings)
        top: dict[str, Any] = {}
        for key in ("clients", "egress", "revoked", "allow_empty"):
            if key in settings:
                top[key] = settings.pop(key)
        gateway = {
            "name": "gw-test",
            "control": self.control,
            "tls": {"cert": "pki/gateway.crt", "key": "pki/gateway.key", "client_ca": "pki/ca.crt"},
            **settings,
        }
        return self.put("gateway.yaml", {"tidegate": 1, "gateway": gateway, **top, "tunnels": tunnels})

    def client_file(
        self, services: Mapping[str, Any], *, id: str = "homelab", name: str | None = None, **settings: Any
    ) -> Path:
        """Write ``<id>.yaml``, or ``<name>.yaml``, and make the client's certificate if there is none."""
        self.issue(id)
        settings = dict(settings)
        top: dict[str, Any] = {key: settings.pop(key) for key in ("socks5", "tunnels") if key in settings}
        client = {
            "id": id,
            "gateways": [self.control],
            "tls": {"cert": f"pki/{id}.crt", "key": f"pki/{id}.key", "ca": "pki/ca.crt"},
            **settings,
        }
        return self.put(
            f"{name or id}.yaml", {"tidegate": 1, "client": client, "services": dict(services), **top}
        )

    def put(self, name: str, state: Mapping[str, Any]) -> Path:
        path = self.directory / name
        fresh = self.directory / f".{name}.new"
        fresh.write_text(yaml.safe_dump(dict(state), sort_keys=False))
        fresh.replace(path)
        return path

    def start(
        self,
        role: str,
        state: Path,
        *options: str,
        inside: Sequence[str] = (),
        inherited: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Agent:
        agent = Agent(
            role,
            state,
            *self.options,
            *options,
            inside=inside,
            inherited=inherited,
            environment=environment,
        )
        self.agents.append(agent)
        agent.wait_for(f"{role}_started")
        return agent

    def start_both(
        self, tunnels: list[dict[str, Any]], services: Mapping[str, str], **settings: Any
    ) -> tuple[Agent, Agent]:
        """A gateway and the client ``homelab``, connected."""
        gateway = self.start("gateway", self.gateway_file(tunnels, **settings))
        client = self.start("client", self.client_file(services))
        gateway.wait_for("client_connected", client="homelab")
        return gateway, client

    def close(self) -> None:
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.kill()


@contextmanager
def site(directory: Path, address: str | None = None, *, options: Sequence[str] = ()) -> Iterator[Site]:
    place = Site(directory, address, options=options)
    try:
        yield place
    finally:
        place.close()


def connect(listen: str) -> socket.socket:
    """A visitor: connected, with a guard against hanging."""
    host, _, port = listen.rpartition(":")
    visitor = socket.create_connection((host, int(port)), timeout=PATIENCE)
    visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return visitor


def read_all(visitor: socket.socket) -> bytes:
    """Everything until the end."""
    data = bytearray()
    while chunk := visitor.recv(1 << 20):
        data += chunk
    return bytes(data)
