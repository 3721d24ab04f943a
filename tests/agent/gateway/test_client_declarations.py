"""What clients declare on their sessions, from the message to the port and back to the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.from_thread
import pytest

from agent.gateway import client_declarations
from agent.gateway.client_declarations import ClientDeclarations
from agent.gateway.kept_declarations import KeptDeclarations
from agent.gateway.own_tunnels import Claim, NotUnderstood, read_declared
from reconcile.loop import Reconciler, Turn
from reconcile.reading import StateText
from reconcile.source import Considered
from schemas.messages import Declare, Declared, DeclaredTunnel
from schemas.names import ClientId, ListenAddress, ServiceName, TunnelName
from schemas.state import ClientEntry, GatewaySettings, GatewayState, Tunnel
from tests.reconcile.loops import MemorySource
from tests.support import pki
from tests.support.gateway_parts import (
    GatewayParts,
    HandDriven,
    admission,
    gateway_parts,
    gateway_tls,
    hand_driven,
)
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import free_listen, until, visit

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


class Source(MemorySource):
    """It takes every text for the state that the test has put there."""

    async def consider(self, texts: Sequence[StateText]) -> Considered:
        loaded = await self.load()
        return Considered(state=loaded.state, problems=())


class Place:
    """A gateway whose state is the test's, and what clients declare to it."""

    def __init__(self, parts: GatewayParts, directory: Path) -> None:
        self.parts = parts
        self.tls = gateway_tls(pki.gateway(parts.control.host))
        self.source = Source()
        self.turns = 0
        self.kept = KeptDeclarations(directory / "gateway.clients")
        self.declarations = ClientDeclarations(self.source, self.kept, lambda: self.reconciler.ring())
        self.reconciler = Reconciler(
            self.declarations,
            parts.actuator,
            random=lambda: 0.0,
            clock=lambda: datetime.now(UTC),
            report=self._report,
        )
        parts.sessions.declarations = self.declarations

    async def declare(self, *tunnels: Tunnel, clients: Sequence[ClientEntry]) -> None:
        """Let this be what the gateway's file says."""
        settings = GatewaySettings(tls=self.tls, control=(self.parts.control,))
        self.source.put(GatewayState(gateway=settings, clients=tuple(clients), tunnels=tunnels))
        await self.reconciler.wait_turn(self.reconciler.ring())

    @property
    def tunnels(self) -> list[str]:
        state = self.reconciler.status.state
        return [tunnel.name for tunnel in state.tunnels] if isinstance(state, GatewayState) else []

    def _report(self, turn: Turn) -> None:
        self.turns += 1
        self.declarations.look(turn)


@asynccontextmanager
async def place(directory: Path, *clients: ClientEntry) -> AsyncIterator[Place]:
    async with (
        gateway_parts(admitted=admission()) as parts,
        running(Place(parts, directory), *clients) as made,
    ):
        yield made


@asynccontextmanager
async def running(made: Place, *clients: ClientEntry) -> AsyncIterator[Place]:
    async with anyio.create_task_group() as tasks:
        await made.declarations.restore()
        tasks.start_soon(made.reconciler.run)
        tasks.start_soon(made.declarations.run)
        await made.declare(clients=clients)
        yield made
        tasks.cancel_scope.cancel()


def may(client: str, /, declares: str = "session", **rights: object) -> ClientEntry:
    return ClientEntry.model_validate({"id": client, "declares": declares, **rights})


def own(name: str, *listen: ListenAddress, hostname: tuple[str, ...] = ()) -> DeclaredTunnel:
    texts = tuple(map(str, listen))
    return DeclaredTunnel(name=name, listen=texts, service="web", hostname=hostname)


async def told(client: HandDriven) -> tuple[int, dict[str, str]]:
    """What the gateway says next: the number, and the problem of each tunnel."""
    message = await client.next_message()
    assert isinstance(message, Declared)
    return message.number, {outcome.name: outcome.problem for outcome in message.tunnels}


async def ask(client: HandDriven, number: int, *tunnels: DeclaredTunnel) -> dict[str, str]:
    client.session.tell(Declare(number=number, tunnels=tunnels))
    heard, outcomes = await told(client)
    assert heard == number
    return outcomes


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_declarations, "PAUSE", 0.0)


async def test_what_a_client_declares_is_open_when_it_hears_of_it_and_closed_when_it_has_gone(
    tmp_path: Path,
) -> None:
    one, other = free_listen(), free_listen()
    async with place(tmp_path, may("homelab")) as here:
        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", one)) == {"blog": ""}
            async with visit(one) as visitor:
                await homelab.join(visitor)

            assert await ask(homelab, 2, own("blog", other)) == {"blog": ""}
            assert here.tunnels == ["homelab/blog"]
            async with visit(other) as visitor:
                await homelab.join(visitor)
            with pytest.raises(OSError, match="not let in"):
                async with visit(one):
                    pass
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.tunnels)


async def test_each_tunnel_stands_for_itself(tmp_path: Path) -> None:
    good = free_listen()
    async with place(tmp_path, may("homelab")) as here, hand_driven(here.parts.control) as homelab:
        bad = DeclaredTunnel(name="bad", listen=("nonsense",), service="web")

        outcomes = await ask(homelab, 1, bad, own("control", here.parts.control), own("good", good))

        assert outcomes["good"] == ""
        assert "is taken by gateway.control" in outcomes["control"]
        assert "has no port" in outcomes["bad"] or "nonsense" in outcomes["bad"]


async def test_a_second_client_is_told_who_has_the_port_and_then_that_it_has_it_itself(
    tmp_path: Path,
) -> None:
    port = free_listen()
    clients = may("homelab"), may("office")
    async with place(tmp_path, *clients) as here, hand_driven(here.parts.control, "office") as office:
        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
            outcomes = await ask(office, 1, own("shop", port))
            assert outcomes == {
                "shop": f"{port} is a port of homelab, who asked first; it is tried again when that goes"
            }

        assert await told(office) == (1, {"shop": ""})
        assert here.tunnels == ["office/shop"]


async def test_who_has_a_port_keeps_it_whatever_the_other_is_allowed_later(tmp_path: Path) -> None:
    port = free_listen()
    async with (
        place(tmp_path, may("homelab", "none"), may("office")) as here,
        hand_driven(here.parts.control) as homelab,
        hand_driven(here.parts.control, "office") as office,
    ):
        refused = await ask(homelab, 1, own("blog", port))
        assert "add declares: session" in refused["blog"]
        assert await ask(office, 1, own("shop", port)) == {"shop": ""}

        await here.declare(clients=[may("homelab"), may("office")])

        assert "is a port of office" in (await told(homelab))[1]["blog"]
        assert here.tunnels == ["office/shop"]


async def test_an_operators_tunnel_takes_the_port_and_gives_it_back(tmp_path: Path) -> None:
    port = free_listen()
    async with place(tmp_path, may("homelab")) as here, hand_driven(here.parts.control) as homelab:
        assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
        mail = Tunnel(
            name=TunnelName("mail"),
            listen=(port,),
            client=(ClientId("office"),),
            service=ServiceName("smtp"),
        )

        await here.declare(mail, clients=[may("homelab"), may("office")])

        assert "is a port of office" in (await told(homelab))[1]["blog"]
        assert here.tunnels == ["mail"]

        await here.declare(clients=[may("homelab")])
        assert await told(homelab) == (1, {"blog": ""})


async def test_a_client_that_declares_between_two_sessions_declares_nothing(tmp_path: Path) -> None:
    """What it has said on a session that has ended before it was taken is gone with the session."""
    port = free_listen()
    async with place(tmp_path, may("homelab")) as here:
        async with hand_driven(here.parts.control) as homelab:
            homelab.session.tell(Declare(number=1, tunnels=(own("blog", port),)))
            with anyio.fail_after(PATIENCE):
                await until(lambda: bool(here.declarations._pending or here.declarations._declared))
            homelab.session.close("gone before anything came of it")
            here.declarations.gone(ClientId("homelab"))

        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.parts.sessions.connected())
        async with hand_driven(here.parts.control) as again:
            assert await ask(again, 1) == {}
            assert here.tunnels == []


async def test_while_a_long_declaration_is_read_others_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read in another thread, so that visitors wait for nothing."""
    clients = may("homelab"), may("office"), may("cabin")
    async with (
        place(tmp_path, *clients) as here,
        hand_driven(here.parts.control) as homelab,
        hand_driven(here.parts.control, "cabin") as cabin,
        hand_driven(here.parts.control, "office") as office,
    ):
        declarations = here.declarations

        def meanwhile() -> None:
            declarations.gone(ClientId("office"))
            declarations.declare(connected[ClientId("cabin")], Declare(number=1, tunnels=()))

        def read_slowly(
            client: ClientId, entries: Sequence[DeclaredTunnel]
        ) -> tuple[Claim | NotUnderstood, ...]:
            if client == "homelab":
                anyio.from_thread.run_sync(meanwhile)
            return read_declared(client, entries)

        monkeypatch.setattr(client_declarations, "read_declared", read_slowly)
        connected = {
            client: next(iter(sessions)) for client, sessions in here.parts.sessions.connected().items()
        }
        many = tuple(own(f"t{number}", here.parts.control) for number in range(100))

        declarations.declare(connected[ClientId("homelab")], Declare(number=1, tunnels=many))
        declarations.declare(connected[ClientId("office")], Declare(number=1, tunnels=()))

        assert (await told(homelab))[1].keys() == {tunnel.name for tunnel in many}
        assert await told(cabin) == (1, {})
        assert office.session.is_open


async def test_the_same_declaration_on_another_session_changes_nothing_and_is_answered(
    tmp_path: Path,
) -> None:
    port = free_listen()
    async with (
        place(tmp_path, may("homelab")) as here,
        hand_driven(here.parts.control, instance="a") as one,
        hand_driven(here.parts.control, instance="a", session=2) as other,
    ):
        assert await ask(one, 1, own("blog", port)) == {"blog": ""}
        turns = here.turns

        assert await ask(other, 7, own("blog", port)) == {"blog": ""}

        assert here.turns == turns


async def test_another_process_of_the_client_hears_what_there_is_and_may_take_it_over_or_back(
    tmp_path: Path,
) -> None:
    port = free_listen()
    async with (
        place(tmp_path, may("homelab")) as here,
        hand_driven(here.parts.control, instance="a") as one,
    ):
        assert await ask(one, 1, own("blog", port)) == {"blog": ""}
        async with hand_driven(here.parts.control, instance="b") as two:
            assert await told(two) == (0, {"blog": ""})
            assert await ask(two, 1, own("blog", port)) == {"blog": ""}
            async with hand_driven(here.parts.control, instance="c") as three:
                assert await told(three) == (0, {"blog": ""})
                assert await ask(three, 1) == {}
                with anyio.fail_after(PATIENCE):
                    await until(lambda: not here.tunnels)


async def test_of_a_flood_of_declarations_the_first_and_the_last_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [free_listen() for _ in range(300)]
    monkeypatch.setattr(client_declarations, "PAUSE", 600.0)
    async with place(tmp_path, may("homelab")) as here, hand_driven(here.parts.control) as homelab:
        assert await ask(homelab, 1, own("blog", ports[0])) == {"blog": ""}
        turns = here.turns

        for number, port in enumerate(ports[1:], 2):
            homelab.session.tell(Declare(number=number, tunnels=(own("blog", port),)))
        with anyio.fail_after(PATIENCE):
            await until(
                lambda: any(message.number == 300 for _, message in here.declarations._pending.values())
            )
        assert here.turns == turns
        assert len(here.declarations._pending) == 1

        monkeypatch.setattr(client_declarations, "PAUSE", 0.0)
        here.declarations._bell.set()
        assert await told(homelab) == (300, {"blog": ""})
        assert here.turns <= turns + 2
        async with visit(ports[-1]) as visitor:
            await homelab.join(visitor)


async def test_what_is_kept_stays_when_the_client_goes_and_when_the_gateway_does(tmp_path: Path) -> None:
    port = free_listen()
    async with place(tmp_path, may("homelab", "kept")) as here:
        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
            with anyio.fail_after(PATIENCE):
                await until(here.kept.path.exists)
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.parts.sessions.connected())
        await here.reconciler.wait_turn(here.reconciler.ring())
        assert here.tunnels == ["homelab/blog"]

    async with place(tmp_path, may("homelab", "kept")) as here:
        assert here.tunnels == ["homelab/blog"]
        async with hand_driven(here.parts.control) as homelab:
            assert await told(homelab) == (0, {"blog": ""})
            assert await ask(homelab, 1) == {}
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.kept.path.exists() and not here.tunnels)


async def test_what_may_be_kept_no_longer_goes_with_the_client(tmp_path: Path) -> None:
    port = free_listen()
    async with place(tmp_path, may("homelab", "kept")) as here:
        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
        await here.declare(clients=[may("homelab", "session")])
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.tunnels)
            await until(lambda: not here.kept.path.exists())


async def test_what_was_kept_and_may_be_so_no_longer_comes_back_with_the_client(tmp_path: Path) -> None:
    port = free_listen()
    async with place(tmp_path, may("homelab", "kept")) as here:
        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.parts.sessions.connected())
        await here.declare(clients=[may("homelab", "session")])
        assert here.tunnels == []

        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
            assert here.tunnels == ["homelab/blog"]


async def test_nothing_is_known_any_more_of_what_may_not_be_kept_of_a_client_that_is_away(
    tmp_path: Path,
) -> None:
    async with place(tmp_path, may("homelab", "kept")) as here:
        async with hand_driven(here.parts.control) as homelab:
            assert await ask(homelab, 1, own("blog", here.parts.control)) != {"blog": ""}
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.parts.sessions.connected())
        assert here.declarations.warnings

        await here.declare(clients=[])

        assert here.declarations.warnings == ()
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.kept.path.exists())


async def test_a_file_of_kept_tunnels_that_is_no_good_is_told_and_stops_nobody(
    tmp_path: Path, journal: Journal
) -> None:
    port = free_listen()
    (tmp_path / "gateway.clients").write_text("hello")
    async with place(tmp_path, may("homelab", "kept")) as here, hand_driven(here.parts.control) as homelab:
        assert journal.find("declarations_not_restored")
        assert "cannot be understood" in here.declarations.warnings[0]
        assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.declarations.warnings)
        assert here.kept.read().keys() == {"homelab"}


async def test_what_cannot_be_kept_is_in_force_and_told_of(tmp_path: Path, journal: Journal) -> None:
    port = free_listen()
    (tmp_path / "gateway.clients" / "x").mkdir(parents=True)
    async with place(tmp_path, may("homelab", "kept")) as here, hand_driven(here.parts.control) as homelab:
        assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
        line = await journal.wait_for("declarations_not_kept")
        assert "cannot be kept beyond a restart" in line["reason"]
        assert here.declarations.warnings == (line["reason"],)


async def test_a_state_without_what_clients_declare_is_the_one_of_the_files(tmp_path: Path) -> None:
    port = free_listen()
    async with place(tmp_path, may("homelab")) as here, hand_driven(here.parts.control) as homelab:
        before = here.reconciler.status
        assert await ask(homelab, 1, own("blog", port)) == {"blog": ""}
        after = here.reconciler.status

        assert here.tunnels == ["homelab/blog"]
        assert here.declarations.written(after.state) is before.state
        assert (after.generation, after.digest) == (before.generation, before.digest)
        considered = await here.declarations.consider([])
        assert isinstance(considered.state, GatewayState)
        assert [tunnel.name for tunnel in considered.state.tunnels] == ["homelab/blog"]


async def test_what_is_not_in_force_is_told_to_the_operator_too(tmp_path: Path) -> None:
    async with place(tmp_path, may("homelab", listen=[])) as here, hand_driven(here.parts.control) as homelab:
        port = free_listen()
        await ask(homelab, 1, own("blog", port), own("shop", port))

        assert here.declarations.warnings == (
            "the file of homelab declares tunnels that are not in force: "
            f"blog: homelab may not listen at {port}; it may at no address, and 1 more",
        )


@pytest.mark.parametrize("broken", ["read_declared", "merge"])
async def test_a_defect_costs_a_client_its_tunnels_and_the_operator_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Journal, broken: str
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("made up")

    port = free_listen()
    async with place(tmp_path, may("homelab")) as here, hand_driven(here.parts.control) as homelab:
        monkeypatch.setattr(client_declarations, broken, fail)

        assert "a defect in Tidegate: RuntimeError" in (await ask(homelab, 1, own("blog", port)))["blog"]

        mail = Tunnel(
            name=TunnelName("mail"),
            listen=(port,),
            client=(ClientId("homelab"),),
            service=ServiceName("web"),
        )
        await here.declare(mail, clients=[may("homelab")])
        assert here.tunnels == ["mail"]
        async with visit(port) as visitor:
            await homelab.join(visitor)
        assert journal.find("room_not_found") or journal.find("declaration_not_read")
