"""What an agent costs that has little to do: what it loads, and the memory of visitors who are silent."""

from __future__ import annotations

import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from agent.process.descriptors import raise_descriptor_limit
from tests.support.agents import environment, wait_for
from tests.support.services import accept, listening, target
from tests.support.site import Agent, Site, connect, site

# What no agent has a use for while nobody looks at it, and why not. What is loaded once is kept for ever.
UNUSED: Final = {
    "rich": "it draws the live table, and there is no terminal",
    "pygments": "it comes with Rich",
    "httpx2": "the commands ask an agent with it; an agent is asked",
    "websockets": "it reads and writes the frames of WebSockets, and there is none",
    "transport.pump.carrier": "the same",
    "transport.wire.socks5": "programs speak it to a port that the file does not ask for",
    "agent.client.socks5_door": "the same",
    "cryptography": "pki makes keys with it, and check looks into certificates",
    "agent.keys.certificates": "the same",
    "starlette": "it answers whoever asks the agent something, and nobody has",
    "uvicorn": "the same",
    "h11": "it comes with uvicorn",
    "click": "the same",
    "agent.api.app": "the same as Starlette",
    "tree_sitter": "it finds the places of mistakes in TOML and JSON, and the state is YAML without one",
    "schemas.json_text": "the same",
    "schemas.toml_text": "the same",
    "tomli_w": "it writes what was declared through the API",
    "agent.api.proposal": "the same",
    "agent.api.declared": "it keeps what was declared through the API",
    "agent.gateway.egress_connection": "it dials for clients, and nobody has asked for anything",
    "yaml": "the state was read by a process that was prepared for it, and has not changed",
    "schemas.yaml_text": "the same",
    "schemas.merge": "the same",
    "schemas.parse": "the same",
    "pydantic.plugin._loader": "models are read there, too, and none is made here in the way that validates",
    "importlib.metadata": "that is what loads it, and with it come email and zipfile",
    "schemas.yaml_syntax_errors": "it explains mistakes, and there is none",
    "schemas.wording": "the same",
    "difflib": "it guesses what a misspelled name should be",
    "idna": "it spells names that are not ASCII",
    "typer": "it reads what a person types, and this was typed plainly",
    "agent.commands.app": "the same",
    "agent.commands.check": "a command of its own",
    "agent.commands.demo": "a command of its own",
    "agent.keys.pki": "a command of its own",
    "agent.commands.status": "a command of its own",
    "schemas.json_schema": "a command of its own",
    "schemas.patterns": "the same",
    "agent.view.live": "it draws the live table",
    "agent.view.status": "it draws the live table",
}
OTHER_ROLE: Final = {"gateway": "agent.client.role", "client": "agent.gateway.role"}

# For each visitor that is connected and silent: what the gateway may grow by, and the client, in bytes.
BUDGET: Final = 6_000
VISITORS: Final = 1_000
EARLIER: Final = 200  # visitors who came and went before, so that what is made once is there


@pytest.fixture(params=["gateway", "client"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The state file of one role; its name is the role's."""
    place = Site(tmp_path)
    if request.param == "gateway":
        return place.gateway_file([{"name": "t", "listen": place.listen(), "client": "c", "service": "s"}])
    return place.client_file({"s": "127.0.0.1:1"}, name="client")


def test_an_agent_has_loaded_nothing_that_it_does_not_use(state: Path) -> None:
    role = state.stem
    unused = {*UNUSED, OTHER_ROLE[role]}
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*sorted({unused} & set(sys.modules))))\n"
        "from agent.cli import main\n"
        f"main([{role!r}, {state.name!r}])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=state.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(process, f"{role}_started")
            process.send_signal(signal.SIGTERM)
            loaded, _ = process.communicate()
        finally:
            process.kill()

    assert (loaded.split(), process.returncode) == ([], 0)


def resident(agent: Agent) -> int:
    """Bytes of memory that a process has for itself, as /proc tells: without the files that it maps."""
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    found = re.search(r"^RssAnon:\s*(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class Hall:
    """A gateway, a client, and a service that answers each byte and says nothing by itself."""

    def __init__(self, place: Site, listener: socket.socket) -> None:
        self._listener = listener
        self._listen = place.listen()
        self.agents = place.start_both(
            [{"name": "t", "listen": self._listen, "client": "homelab", "service": "s"}],
            {"s": target(listener)},
        )

    @contextmanager
    def visitors(self, count: int) -> Iterator[None]:
        """So many visitors, each of whom has said a byte and heard one. They leave with the block."""
        with ExitStack() as stack:
            for _ in range(count):
                visitor = stack.enter_context(connect(self._listen))
                visitor.sendall(b"?")
                served = stack.enter_context(accept(self._listener))
                served.sendall(served.recv(1))
                assert visitor.recv(1) == b"?"
            yield


@pytest.fixture
def hall(tmp_path: Path, loop: Sequence[str]) -> Iterator[Hall]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit()  # the test has both ends of every visitor
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3 * VISITORS:
        pytest.skip(f"{3 * VISITORS} files may not be open at once here")
    try:
        with listening() as listener, site(tmp_path, options=loop) as place:
            yield Hall(place, listener)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_visitor_who_is_silent_costs_less_than_6_kb_on_each_side(hall: Hall) -> None:
    with hall.visitors(EARLIER):
        pass
    before = [resident(agent) for agent in hall.agents]
    with hall.visitors(VISITORS):
        after = [resident(agent) for agent in hall.agents]

    growth = [(now - then) // VISITORS for then, now in zip(before, after, strict=True)]
    assert max(growth) < BUDGET, f"the gateway and the client grew by {growth} bytes for each"
