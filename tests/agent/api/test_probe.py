"""Whether ports could be opened, asked before anything is changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http import HTTPStatus

import anyio.lowlevel
import pytest

from agent.api.declared import DeclaredTunnels
from agent.api.identity import Caller
from agent.api.probe import STEP, overflowing, probe_port, unavailable
from agent.api.problems import MAX_PROBLEMS, ApiError
from agent.api.threshold import parse_entries
from reconcile.actuator import ActionError
from reconcile.observed import Phase
from schemas.names import ListenAddress
from schemas.state import Tunnel
from tests.reconcile.samples import listener
from tests.reconcile.samples import running as running_listeners

from .backend import FakeGateway, entry, running


@pytest.fixture
def taken() -> Iterator[ListenAddress]:
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        yield ListenAddress(*somebody.getsockname())


def refuse(address: ListenAddress) -> None:
    raise ActionError(f"{address} is taken")


def test_a_port_that_somebody_has_cannot_be_opened(taken: ListenAddress) -> None:
    with pytest.raises(ActionError, match="is taken by another program"):
        probe_port(taken)


def test_trying_a_port_leaves_it_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        address = ListenAddress(*somebody.getsockname())

    probe_port(address)

    with socket.create_server((address.host, address.port)):
        pass


@pytest.mark.anyio
async def test_every_port_that_cannot_be_opened_is_named_once_with_its_first_entry() -> None:
    asked = parse_entries(
        [entry("a", 25), entry("a", 80, ListenHostnameGlob="x.example"), entry("a", 80), entry("a", 25)]
    )

    problems = await unavailable(asked, {}, refuse)

    assert [str(problem) for problem in problems] == ["[0]: 0.0.0.0:25 is taken", "[1]: 0.0.0.0:80 is taken"]


@pytest.mark.parametrize(
    ("phase", "is_tried"), [(Phase.OPEN, False), (Phase.OPENING, False), (Phase.FAILED, True)]
)
@pytest.mark.anyio
async def test_a_port_number_that_is_ours_is_not_tried(phase: Phase, is_tried: bool) -> None:
    asked = parse_entries([entry("a", 80, ListenAddress="192.0.2.1")])

    problems = await unavailable(asked, running_listeners(listener(80), phase=phase), refuse)

    assert bool(problems) is is_tried


@pytest.mark.anyio
async def test_others_come_in_while_many_ports_are_tried() -> None:
    asked = parse_entries([entry("a", number + 1) for number in range(STEP * 3)])
    tried: list[ListenAddress] = []
    seen: list[int] = []

    async def come_in() -> None:
        while len(tried) < len(asked):
            seen.append(len(tried))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_in)
        assert await unavailable(asked, {}, tried.append) == ()

    assert {0, STEP, STEP * 2} <= set(seen)


@pytest.mark.anyio
async def test_no_more_ports_are_tried_once_enough_cannot_be_opened() -> None:
    asked = parse_entries([entry("a", number + 1) for number in range(MAX_PROBLEMS * 2)])

    assert len(await unavailable(asked, {}, refuse)) == MAX_PROBLEMS + 1


def ports(*numbers: int) -> list[Tunnel]:
    return list(parse_entries([entry("a", number) for number in numbers]))


def test_the_first_port_that_finds_no_room_is_named_with_how_many_there_may_be() -> None:
    (problem,) = overflowing(ports(80, 25, 26, 27), ports(22), running_listeners(listener(80)), lambda: 2)

    assert problem.path == (3,)
    assert "room for 2 more ports, and 3 are asked for: raise the limit (LimitNOFILE" in problem.message


@pytest.mark.parametrize("room", [None, 2])
def test_ports_for_which_there_is_room_are_no_problem(room: int | None) -> None:
    assert overflowing(ports(80, 25, 26), [], running_listeners(listener(80)), lambda: room) == ()


def test_what_is_asked_for_no_more_makes_room_unless_somebody_else_needs_it() -> None:
    observed = running_listeners(listener(80), listener(443))

    assert overflowing(ports(25), [], observed, lambda: 0) == ()
    assert overflowing(ports(25), ports(80), observed, lambda: 0) == ()
    assert overflowing(ports(25), ports(80, 443), observed, lambda: 0) != ()
    assert overflowing(ports(80), ports(443), observed, lambda: 0) == ()


def test_a_port_that_could_not_be_opened_takes_no_room_yet_and_makes_none() -> None:
    observed = running_listeners(listener(80), phase=Phase.FAILED)

    assert overflowing(ports(80), [], observed, lambda: 0) != ()
    assert overflowing(ports(25), [], observed, lambda: 0) != ()


@pytest.mark.anyio
async def test_a_declaration_with_a_port_that_is_taken_touches_nothing(
    gateway: FakeGateway, admin: Caller, taken: ListenAddress
) -> None:
    declared = DeclaredTunnels(gateway.state_path, gateway.fragment, gateway.loop, gateway.actuator.observe)
    async with running(gateway):
        performed = list(gateway.actuator.performed)
        wanted = entry("homelab", taken.port, ListenAddress=taken.host)

        with pytest.raises(ApiError, match="nothing was changed") as caught:
            await declared.replace(admin, parse_entries([wanted]))

        await gateway.turn()
        assert caught.value.status == HTTPStatus.CONFLICT
        assert "is taken by another program" in str(caught.value.problems[0])
        assert gateway.actuator.performed == performed
        assert gateway.fragment_text() is None
