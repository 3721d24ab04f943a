"""A declaration comes into force as a whole, or not at all: a real loop, real files, and made-up ports."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.api import proposal
from agent.api.declared import DeclaredTunnels, Stage
from agent.api.identity import Caller
from agent.api.problems import ApiError
from agent.api.threshold import parse_entries
from reconcile import source
from reconcile.actuator import ActionError
from reconcile.declared import DeclaredFile
from reconcile.observed import Observed, Phase
from tests.reconcile.settled import never_settle

from .backend import BLOG, GATEWAY, FakeGateway, entry, port, running

pytestmark = pytest.mark.anyio


async def declare(gateway: FakeGateway, caller: Caller, *entries: dict[str, Any]) -> list[str]:
    tunnels = await gateway.declared.replace(caller, parse_entries(list(entries)))
    return [tunnel.name for tunnel in tunnels]


async def refused(gateway: FakeGateway, caller: Caller, *entries: dict[str, Any]) -> tuple[int, list[str]]:
    with pytest.raises(ApiError) as caught:
        await declare(gateway, caller, *entries)
    assert gateway.declared.stage is Stage.IDLE
    return caught.value.status, [str(problem) for problem in caught.value.problems]


async def test_the_answer_comes_when_the_port_is_open(gateway: FakeGateway, admin: Caller) -> None:
    async with running(gateway):
        in_force = await declare(gateway, admin, entry("homelab", 25))

        assert in_force == ["blog", "homelab-25"]
        assert gateway.open_ports() == {"0.0.0.0:443": ["blog"], "0.0.0.0:25": ["homelab-25"]}


async def test_many_tunnels_are_declared_as_one_is(
    gateway: FakeGateway, admin: Caller, homelab: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are judged in a process of their own."""
    monkeypatch.setattr(proposal, "parse_gateway", None)  # with which nothing could be judged here
    many = [entry("homelab", number) for number in range(1000, 1300)]
    async with running(gateway):
        assert len(await declare(gateway, admin, *many)) == 301

        status, problems = await refused(gateway, homelab, entry("office", 25))

    assert (status, len(problems)) == (HTTPStatus.FORBIDDEN, 1)


async def test_what_was_declared_is_there_after_a_restart(gateway: FakeGateway, admin: Caller) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))

    async with running(FakeGateway(gateway.state_path)) as again:
        assert [tunnel.name for tunnel in again.declared.in_force()] == ["blog", "homelab-25"]
        assert "0.0.0.0:25" in again.open_ports()


async def test_the_whole_list_is_replaced_and_a_port_that_stays_is_not_touched(
    gateway: FakeGateway, admin: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25), entry("homelab", 26))
        before = len(gateway.actuator.performed)

        await declare(gateway, admin, entry("homelab", 26), entry("homelab", 27))

        assert [str(action) for action in gateway.actuator.performed[before:]] == [
            "- listener 0.0.0.0:25",
            "+ listener 0.0.0.0:27",
        ]


async def test_declaring_nothing_removes_the_fragment(gateway: FakeGateway, admin: Caller) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))

        assert await declare(gateway, admin) == ["blog"]
        assert gateway.fragment_text() is None


async def test_the_same_list_again_writes_nothing_and_needs_no_turn(
    gateway: FakeGateway, admin: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))
        turn, written = gateway.loop.status.turn, gateway.fragment.path.stat()

        assert await declare(gateway, admin, entry("homelab", 25)) == ["blog", "homelab-25"]

        assert gateway.loop.status.turn == turn
        assert gateway.fragment.path.stat() == written


async def test_a_tunnel_that_the_file_leaves_no_room_for_is_in_nobodys_way(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, homelab, entry("homelab", 25))
        gateway.write(
            GATEWAY, BLOG.replace("0.0.0.0:443", "0.0.0.0:25").replace("hostname: blog.example.com, ", "")
        )
        await gateway.turn()
        assert [problem.message for problem in gateway.loop.status.problems]  # it is left out, and told

        assert await declare(gateway, office, entry("office", 26)) == ["blog", "office-26"]

        gateway.write(GATEWAY, BLOG)
        await gateway.turn()
        in_force = sorted(tunnel.name for tunnel in gateway.declared.in_force())
        assert in_force == ["blog", "homelab-25", "office-26"]


async def test_a_port_that_is_taken_undoes_all_of_it(gateway: FakeGateway, admin: Caller) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))
        before = gateway.fragment.read()
        for number in (80, 81):
            error = ActionError(f"0.0.0.0:{number} is taken by another program", reason="AddressInUse")
            gateway.actuator.break_key(port(f"0.0.0.0:{number}"), error)

        status, problems = await refused(
            gateway, admin, *(entry("homelab", number) for number in (26, 80, 27, 81))
        )

        assert status == HTTPStatus.CONFLICT
        assert problems == [
            "[1]: 0.0.0.0:80 is taken by another program",
            "[3]: 0.0.0.0:81 is taken by another program",
        ]
        assert gateway.fragment.read() == before
        assert gateway.open_ports() == {"0.0.0.0:443": ["blog"], "0.0.0.0:25": ["homelab-25"]}
        for number in (80, 81):
            gateway.actuator.mend_key(port(f"0.0.0.0:{number}"))
        await gateway.turn()
        assert gateway.loop.status.failed == {}  # nothing of it is tried again


async def test_the_first_declaration_that_fails_leaves_no_fragment(
    gateway: FakeGateway, admin: Caller
) -> None:
    async with running(gateway):
        gateway.actuator.break_key(port("0.0.0.0:80"), ActionError("taken"))

        await refused(gateway, admin, entry("homelab", 80))

        assert gateway.fragment_text() is None


async def test_a_port_of_somebody_else_that_fails_is_not_this_callers_fault(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, office, entry("office", 80))
        gateway.actuator.break_key(port("0.0.0.0:80"), ActionError("lost"))
        gateway.actuator.lose_key(port("0.0.0.0:80"))

        assert "homelab-25" in await declare(gateway, homelab, entry("homelab", 25))


async def test_the_same_list_is_not_said_to_be_in_force_when_its_port_was_lost(
    gateway: FakeGateway, admin: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))
        before = gateway.fragment.read()
        gateway.actuator.break_key(port("0.0.0.0:25"), ActionError("somebody else has it now"))
        gateway.actuator.lose_key(port("0.0.0.0:25"))

        status, problems = await refused(gateway, admin, entry("homelab", 25))

        assert (status, problems) == (HTTPStatus.CONFLICT, ["[0]: somebody else has it now"])
        assert gateway.fragment.read() == before


async def test_an_invalid_declaration_is_not_written_even_for_a_moment(
    gateway: FakeGateway, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(file: DeclaredFile, data: bytes | None) -> None:
        raise AssertionError("written")

    monkeypatch.setattr(DeclaredFile, "replace", replace)
    async with running(gateway):
        status, _ = await refused(
            gateway, admin, entry("homelab", 443, ListenHostnameGlob="blog.example.com")
        )

        assert status == HTTPStatus.CONFLICT


async def test_a_state_that_the_loop_does_not_accept_undoes_it(gateway: FakeGateway, admin: Caller) -> None:
    async with running(gateway):
        gateway.write(GATEWAY)  # valid, and refused by the guard: the file has lost its only tunnel

        status, (problem,) = await refused(gateway, admin, entry("homelab", 25))

        assert status == HTTPStatus.CONFLICT
        assert "removes its only tunnel" in problem
        assert gateway.fragment_text() is None
        assert gateway.open_ports() == {"0.0.0.0:443": ["blog"]}


async def test_one_declaration_at_a_time(gateway: FakeGateway, homelab: Caller, office: Caller) -> None:
    async with running(gateway), anyio.create_task_group() as tasks:
        hold = gateway.actuator.hold_key(port("0.0.0.0:25"))
        tasks.start_soon(declare, gateway, homelab, entry("homelab", 25))
        await hold.reached.wait()
        tasks.start_soon(declare, gateway, office, entry("office", 26))
        await anyio.wait_all_tasks_blocked()
        text = gateway.fragment_text() or ""

        assert gateway.declared.stage is Stage.APPLYING
        assert "office" not in text
        hold.released.set()
    assert "office-26" in (gateway.fragment_text() or "")
    assert "homelab-25" in (gateway.fragment_text() or "")


async def test_a_port_that_is_still_opening_when_its_turn_ends_is_waited_for(
    gateway: FakeGateway, admin: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))
        key = port("0.0.0.0:25")
        opened = gateway.actuator.world[key]
        gateway.actuator.world[key] = Observed(spec=opened.spec, phase=Phase.OPENING)
        answers: list[list[str]] = []

        async def ask() -> None:
            answers.append(await declare(gateway, admin, entry("homelab", 25)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await gateway.turn()
            await anyio.wait_all_tasks_blocked()
            assert answers == []
            gateway.actuator.world[key] = opened
            gateway.loop.ring()

        assert answers == [["blog", "homelab-25"]]


async def test_a_caller_who_goes_away_does_not_stop_it_half_way(gateway: FakeGateway, admin: Caller) -> None:
    async with running(gateway):
        hold = gateway.actuator.hold_key(port("0.0.0.0:25"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(declare, gateway, admin, entry("homelab", 25))
            await hold.reached.wait()
            tasks.cancel_scope.cancel()
            hold.released.set()

        assert gateway.declared.stage is Stage.IDLE
        assert gateway.open_ports()["0.0.0.0:25"] == ["homelab-25"]


async def test_a_caller_who_goes_away_while_another_is_served_changes_nothing(
    gateway: FakeGateway, homelab: Caller, office: Caller
) -> None:
    async with running(gateway), anyio.create_task_group() as tasks:
        hold = gateway.actuator.hold_key(port("0.0.0.0:25"))
        tasks.start_soon(declare, gateway, homelab, entry("homelab", 25))
        await hold.reached.wait()
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(declare, gateway, office, entry("office", 26))
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        hold.released.set()
    assert "office" not in (gateway.fragment_text() or "")


async def test_an_agent_that_is_stopping_changes_nothing_that_is_declared(
    gateway: FakeGateway, admin: Caller
) -> None:
    """It may answer for a while yet, and what it wrote would be in force only after the next start."""
    async with running(gateway):
        pass
    assert gateway.loop.is_stopped

    status, _ = await refused(gateway, admin, entry("homelab", 25))

    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert gateway.fragment_text() is None


async def test_an_agent_that_stops_half_way_leaves_the_fragment_as_it_was(
    gateway: FakeGateway, admin: Caller
) -> None:
    async with running(gateway):
        await declare(gateway, admin, entry("homelab", 25))
    before = gateway.fragment.read()
    again = FakeGateway(gateway.state_path)
    errors: list[ApiError] = []

    async def ask() -> None:
        try:
            await declare(again, admin, entry("homelab", 26))
        except ApiError as error:
            errors.append(error)

    async with anyio.create_task_group() as callers, running(again):
        hold = again.actuator.hold_key(port("0.0.0.0:26"))
        callers.start_soon(ask)
        await hold.reached.wait()
        assert again.fragment.read() != before

    assert [error.status for error in errors] == [HTTPStatus.SERVICE_UNAVAILABLE]
    assert again.fragment.read() == before


async def test_what_takes_too_long_is_undone_and_says_so(tmp_path: Path, admin: Caller) -> None:
    gateway = FakeGateway(tmp_path / "gateway.yaml", patience=0.01)
    gateway.write(GATEWAY, BLOG)
    async with running(gateway):
        hold = gateway.actuator.hold_key(port("0.0.0.0:25"))

        status, (problem,) = await refused(gateway, admin, entry("homelab", 25))

        assert status == HTTPStatus.GATEWAY_TIMEOUT
        assert "within 0.01 s; everything is as before" in problem
        assert gateway.fragment_text() is None
        hold.released.set()


async def test_a_disk_that_takes_nothing_is_told_and_changes_nothing(
    gateway: FakeGateway, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(file: DeclaredFile, data: bytes | None) -> None:
        raise OSError(28, "No space left on device")

    async with running(gateway):
        monkeypatch.setattr(DeclaredFile, "replace", replace)

        status, (problem,) = await refused(gateway, admin, entry("homelab", 25))

        assert status == HTTPStatus.INSUFFICIENT_STORAGE
        assert problem.endswith("No space left on device; nothing was changed")
        assert gateway.open_ports() == {"0.0.0.0:443": ["blog"]}


async def test_a_disk_that_fails_after_the_last_step_is_set_right(
    gateway: FakeGateway, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_replace = DeclaredFile.replace

    def replace(file: DeclaredFile, data: bytes | None) -> None:
        really_replace(file, data)
        if data is not None:
            raise OSError(5, "Input/output error")

    async with running(gateway):
        monkeypatch.setattr(DeclaredFile, "replace", replace)

        status, _ = await refused(gateway, admin, entry("homelab", 25))

        assert status == HTTPStatus.INTERNAL_SERVER_ERROR
        assert gateway.fragment_text() is None
        assert gateway.open_ports() == {"0.0.0.0:443": ["blog"]}


async def test_a_disk_that_cannot_be_set_right_is_not_glossed_over(
    gateway: FakeGateway, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_replace = DeclaredFile.replace

    def replace(file: DeclaredFile, data: bytes | None) -> None:
        if data is None:
            raise OSError(30, "Read-only file system")
        really_replace(file, data)

    async with running(gateway):
        monkeypatch.setattr(DeclaredFile, "replace", replace)
        gateway.actuator.break_key(port("0.0.0.0:25"), ActionError("taken"))

        status, (problem,) = await refused(gateway, admin, entry("homelab", 25))

        assert status == HTTPStatus.INTERNAL_SERVER_ERROR
        assert "cannot be put back as it was: Read-only file system" in problem


async def test_nothing_is_in_force_before_a_state_was_accepted(gateway: FakeGateway) -> None:
    assert isinstance(gateway.declared, DeclaredTunnels)
    assert gateway.declared.in_force() == ()


async def test_who_writes_the_state_file_and_does_not_finish_keeps_no_declaration_waiting(
    gateway: FakeGateway, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(gateway):
        monkeypatch.setattr(source, "settle", never_settle)
        gateway.write(GATEWAY, BLOG, "# and so on")
        gateway.actuator.lose_key(port("0.0.0.0:443"))

        assert await declare(gateway, admin, entry("homelab", 25)) == ["blog", "homelab-25"]

        assert gateway.open_ports() == {"0.0.0.0:443": ["blog"], "0.0.0.0:25": ["homelab-25"]}
        (problem,) = gateway.loop.status.problems
        assert problem.message == "somebody is still writing it"
