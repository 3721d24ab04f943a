"""``tidegate demo``: a gateway, a client and two services in one process, and a story that they act out.

Rule: nothing is pretended. Keys are made, ports are opened, requests go through the
gateway's public ports to the services, and what is printed is what came back. The
ports are whichever are free, and everything is gone afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from difflib import unified_diff
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from rich.console import Console
from rich.text import Text

from agent.client.role import Client
from agent.gateway.role import Gateway
from agent.keys.pki import init_authority, issue_client, issue_gateway
from agent.logs.choices import LogFormat
from agent.logs.pipeline import configured
from agent.process.loops import run
from agent.process.signals import INTERRUPTED, run_until_stopped
from agent.view.live import show_live
from agent.view.status import StatusView
from agent.view.tail import Tail
from schemas.errors import TidegateError
from schemas.status import ConditionType, GatewayStatus

from .demo_world import HOST, VisitError, free_ports, is_open, serve_greetings, visit

_PATIENCE: Final = 10.0  # seconds that a change may take
_LOOK_PAUSE: Final = 0.02
_VISIT_PAUSE: Final = 0.5

_GATEWAY: Final = """\
tidegate: 1
gateway:
  name: demo
  control: "{control}"
  tls: {{cert: pki/gateway.crt, key: pki/gateway.key, client_ca: pki/ca.crt}}
clients:
  - id: homelab
tunnels:
"""

_TUNNEL: Final = """\
  - name: {name}
    listen: "{address}"
    client: homelab
    service: {name}
"""

_CLIENT: Final = """\
tidegate: 1
client:
  id: homelab
  gateways: "{control}"
  tls: {{cert: pki/homelab.crt, key: pki/homelab.key, ca: pki/ca.crt}}
services:
  blog: "{host}:{blog}"
  wiki: "{host}:{wiki}"
"""


class DemoError(TidegateError):
    """The story did not go as told; the message says where and why."""


def run_demo(*, live: bool | None) -> int:
    """The command. ``live`` says whether it ends with the live table; None: if there is a terminal.

    :returns: the exit status.
    :raises TidegateError: if anything did not go as told.
    """
    console = Console(highlight=False, soft_wrap=True)
    can = console.is_terminal and not console.is_dumb_terminal
    if live and not can:
        raise TidegateError("--live needs a terminal on stdout: leave it out, or run this in a terminal")
    with ExitStack() as stack:
        tail = Tail()
        stack.enter_context(configured(log_format=LogFormat.JSON, stream=tail))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-demo-")))
        demo = _Demo(directory=directory, console=console, tail=tail, is_live=can if live is None else live)
        status = run(partial(run_until_stopped, demo.run, on_hangup=None))
    if status == 0:
        console.print("\nThat was all: nothing of it is left.")
    return 0 if status == INTERRUPTED and demo.is_told else status  # Ctrl-C is how one leaves the table


@dataclass(eq=False, slots=True, kw_only=True)
class _Demo:
    directory: Path
    console: Console
    tail: Tail
    is_live: bool
    is_told: bool = False  # whether the story is over and only the table is left
    _steps: int = 0

    async def run(self) -> None:
        control, blog, wiki, moved = (f"{HOST}:{port}" for port in free_ports(4))
        async with anyio.create_task_group() as tasks:
            self.say("A gateway, a client and two services, all on this machine and only for now.")
            self.say(
                f"Their files: {self.directory}", "A line with $ is the command that does the same by hand."
            )

            self.begin("Keys: an authority, and a certificate signed by it for each side")
            await to_thread.run_sync(self.make_keys)

            self.begin("The state of the gateway: which public ports there are, and where they lead")
            gateway_file = self.write("gateway.yaml", _gateway(control, {"blog": blog}))
            self.show(gateway_file)

            self.begin("The state of the client: which gateways it dials, and where its services are")
            ports = {name: await tasks.start(serve_greetings, name) for name in ("blog", "wiki")}
            client_file = self.write("client.yaml", _CLIENT.format(host=HOST, control=control, **ports))
            self.show(client_file)

            self.begin("Both start")
            self.say(f"$ tidegate gateway {gateway_file.name}", f"$ tidegate client {client_file.name}")
            started = anyio.current_time()
            gateway, client = Gateway(gateway_file), Client(client_file)
            await tasks.start(gateway.run)
            await tasks.start(client.run)
            await _until_ready(gateway.status, {"blog": blog})
            self.say(f"{_since(started)} later the client is connected and {blog} is open.")

            self.begin("A visitor comes, and the service behind the client answers")
            await self.show_visit(blog)

            self.begin("Somebody edits gateway.yaml: one tunnel more")
            saved = self.edit(gateway_file, _gateway(control, {"blog": blog, "wiki": wiki}))
            await _until_ready(gateway.status, {"blog": blog, "wiki": wiki})
            self.say(f"{_since(saved)} later {wiki} is open. Nothing was started anew.")
            await self.show_visit(wiki)

            self.begin("And again: the blog moves to another port")
            saved = self.edit(gateway_file, _gateway(control, {"blog": moved, "wiki": wiki}))
            await _until_ready(gateway.status, {"blog": moved, "wiki": wiki})
            if await is_open(blog):
                raise DemoError(f"{blog} is still open, although the state file does not mention it")
            self.say(f"{_since(saved)} later {moved} is open and {blog} is closed.")
            await self.show_visit(moved)

            self.begin("What tidegate status says now")
            if self.is_live:
                self.is_told = True
                tasks.start_soon(_keep_visiting, gateway.status)
                await self.show_table(gateway.status, gateway_file)
            else:
                self.console.print(StatusView(status=gateway.status()))
            tasks.cancel_scope.cancel()

    # What is told

    def begin(self, title: str) -> None:
        self._steps += 1
        self.console.print()
        self.console.print(Text(f"{self._steps}. {title}", style="bold"))

    def say(self, *lines: str) -> None:
        for line in lines:
            self.console.print(Text(f"   {line}" if line and self._steps else line))

    def show(self, file: Path) -> None:
        self.say(*(f"| {line}" for line in file.read_text(encoding="utf-8").splitlines()))

    async def show_visit(self, address: str) -> None:
        self.say(f"GET http://{address}/", f"200 {await visit(address)}")

    async def show_table(self, get_status: Callable[[], GatewayStatus], file: Path) -> None:
        hints = (f"Edit {file} and see what happens.", "Ctrl-C ends the demo and removes everything.")
        await show_live(
            get_status, self.console, footer=lambda: (*self.tail.lines, *hints), whole_screen=False
        )

    # What is done

    def make_keys(self) -> None:
        pki = self.directory / "pki"
        self.say("$ tidegate pki init pki")
        init_authority(pki)
        self.say(f"$ tidegate pki gateway pki {HOST}")
        issue_gateway(pki, hosts=[HOST])
        self.say("$ tidegate pki client pki homelab")
        issue_client(pki, client_id="homelab")

    def write(self, name: str, text: str) -> Path:
        """Put a file there as editors do: a reader finds the old one or the new one."""
        path = self.directory / name
        draft = self.directory / f".{name}.draft"
        draft.write_text(text, encoding="utf-8")
        return draft.replace(path)

    def edit(self, file: Path, text: str) -> float:
        """Change the file, and show how. Returns when it was saved."""
        before = file.read_text(encoding="utf-8").splitlines()
        differences = unified_diff(before, text.splitlines(), n=1, lineterm="")
        self.write(file.name, text)
        saved = anyio.current_time()
        self.say(*(f"| {line}" for line in differences if not line.startswith(("---", "+++", "@@"))))
        return saved


def _gateway(control: str, tunnels: Mapping[str, str]) -> str:
    declared = (_TUNNEL.format(name=name, address=address) for name, address in tunnels.items())
    return _GATEWAY.format(control=control) + "".join(declared)


async def _until_ready(get_status: Callable[[], GatewayStatus], wanted: Mapping[str, str]) -> None:
    """Wait until exactly these tunnels are there, at these addresses, and let visitors through."""
    with anyio.move_on_after(_PATIENCE):
        while True:
            if _is_ready(get_status(), wanted):
                return
            await anyio.sleep(_LOOK_PAUSE)
    status = get_status()
    reasons = [problem.text for problem in status.source.problems]
    reasons += [
        condition.message
        for tunnel in status.tunnels
        for condition in tunnel.conditions
        if condition.type is ConditionType.READY and not condition.status
    ]
    raise DemoError(
        f"{', '.join(wanted)} should be ready by now and is not: {'; '.join(reasons) or 'no reason'}"
    )


def _is_ready(status: GatewayStatus, wanted: Mapping[str, str]) -> bool:
    return {tunnel.name: tunnel.listen for tunnel in status.tunnels} == {
        name: (address,) for name, address in wanted.items()
    } and all(tunnel.condition(ConditionType.READY).status for tunnel in status.tunnels)


async def _keep_visiting(get_status: Callable[[], GatewayStatus]) -> None:
    """Visitors for the table. Whoever plays with the state file may send them nowhere."""
    while True:
        for address in [address for tunnel in get_status().tunnels for address in tunnel.listen]:
            with suppress(VisitError):
                await visit(address)
        await anyio.sleep(_VISIT_PAUSE)


def _since(moment: float) -> str:
    return f"{anyio.current_time() - moment:.2f} s"
