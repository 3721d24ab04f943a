"""What other files would change, asked of agents that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.client.role import Client
from agent.gateway.role import Gateway
from agent.planning import ProposedFile
from schemas.errors import StateError
from schemas.names import ListenAddress
from schemas.plan_report import PlannedChange, PlannedVerb, PlanReport
from tests.support.journal import Journal
from tests.support.peers import free_listen, service, visit
from tests.support.roles import CLIENT, Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def proposed(path: Path, *changes: tuple[str, str]) -> list[ProposedFile]:
    """The file with some text replaced, as somebody edits it in another place."""
    text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return [ProposedFile(name="new.yaml", text=text)]


def change(report: PlanReport, kind: str) -> PlannedChange:
    (found,) = [one for one in report.changes if one.kind == kind]
    return found


def port(address: ListenAddress) -> str:
    return f'"{address}"'


async def test_the_file_that_is_in_force_changes_nothing(files: Files) -> None:
    gateway = Gateway(path := files.gateway(free_listen()))
    async with running(gateway):
        report = await gateway.plan(proposed(path))
    assert report.is_empty
    assert (report.role, report.base, report.generation) == ("gateway", "the running agent (generation 1)", 1)


async def test_an_address_to_dial_from_that_is_not_this_machines_is_told_before_egress_stops(
    files: Files,
) -> None:
    gateway = Gateway(path := files.gateway(free_listen()))
    rules = "egress: {bind: %s, allow: [{client: homelab, to: '*', ports: 25}]}\n"
    path.write_text(path.read_text() + rules % '"127.0.0.1"')
    async with running(gateway):
        fine = await gateway.plan(proposed(path))
        stopped = await gateway.plan(proposed(path, ('"127.0.0.1", allow', '"198.51.100.77", allow')))

    assert fine.warnings == ()
    assert change(stopped, "egress").verb is PlannedVerb.UPDATE
    assert stopped.warnings == (
        "egress.bind: 198.51.100.77 is not an address of this machine; write one that ip addr shows",
    )


async def test_it_tells_ports_routes_and_who_is_connected_and_changes_nothing(
    files: Files, journal: Journal
) -> None:
    first, second = free_listen(), free_listen()
    gateway = Gateway(path := files.gateway(first))
    with service() as web:
        async with running(gateway), running(Client(files.client(web.target))):
            await journal.wait_for("client_connected", client=CLIENT)
            async with visit(first) as visitor:
                await visitor.send(b"hello")
                answering = await web.accept()
                assert await answering.receive_exactly(5) == b"hello"

                moved = await gateway.plan(proposed(path, (port(first), port(second))))
                led = await gateway.plan(proposed(path, ("service: web", "service: other")))

                await answering.send(b"still here")
                answering.close()
                assert await visitor.receive_all() == b"still here"
        assert gateway.status().source.generation == 1

    closed, opened = moved.changes if moved.changes[0].verb is PlannedVerb.CLOSE else moved.changes[::-1]
    assert (closed.name, closed.verb, closed.finishing) == (str(first), PlannedVerb.CLOSE, 1)
    assert (opened.name, opened.verb, opened.finishing) == (str(second), PlannedVerb.OPEN, 0)
    (route,) = change(led, "listener").routes
    assert (route.verb, route.finishing) == (PlannedVerb.UPDATE, 1)
    assert route.before is not None
    assert route.after is not None
    assert (route.before.service, route.after.service) == ("web", "other")


async def test_a_client_that_would_be_shut_out_is_named_with_its_visitors(
    files: Files, journal: Journal
) -> None:
    listen = free_listen()
    gateway = Gateway(path := files.gateway(listen, end=f"clients:\n- id: {CLIENT}\n- id: office\n"))
    with service() as web:
        async with running(gateway), running(Client(files.client(web.target))):
            await journal.wait_for("client_connected", client=CLIENT)
            async with visit(listen) as visitor:
                await visitor.send(b"hello")
                (await web.accept()).close()
                without = (f"- id: {CLIENT}\n", ""), (f"client: {CLIENT},", "client: office,")
                report = await gateway.plan(proposed(path, *without))
    admission = change(report, "admission")
    assert [(lost.id, lost.dropped) for lost in admission.lost] == [(CLIENT, 1)]
    assert admission.dropped == 1
    assert change(report, "listener").finishing == 0  # nobody is counted twice


async def test_files_that_would_be_refused_are_refused_with_every_problem(files: Files) -> None:
    gateway = Gateway(path := files.gateway(free_listen()))
    async with running(gateway):
        with pytest.raises(StateError, match=r"new\.yaml:") as raised:
            await gateway.plan(proposed(path, ("service:", "servise:"), ("listen:", "lisen:")))
        assert len(raised.value.problems) == 2
        assert gateway.status().ready


async def test_settings_of_the_agent_itself_are_told(files: Files) -> None:
    gateway = Gateway(path := files.gateway(free_listen()))
    more = "gateway:\n  drain: 9s\n  log_level: debug\n"
    async with running(gateway):
        report = await gateway.plan(proposed(path, ("gateway:\n", more), ("gw1", "gw2")))
    assert [(one.name, one.before, one.after) for one in report.settings] == [
        ("name", "gw1", "gw2"),
        ("drain", "30s", "9s"),
        ("log_level", None, "debug"),
    ]
    assert report.changes == ()
    assert not report.is_empty


async def test_what_waits_for_a_restart_is_told(files: Files) -> None:
    gateway = Gateway(path := files.gateway(free_listen()))
    async with running(gateway):
        report = await gateway.plan(proposed(path, ("gateway:\n", "gateway:\n  data: elsewhere\n")))
    (setting,) = report.restart
    assert (setting.name, setting.before) == ("data", None)
    assert setting.after == str(path.parent / "elsewhere")
    assert not report.is_empty


async def test_a_client_plans_its_services_and_links(files: Files, journal: Journal) -> None:
    with service() as web:
        client = Client(path := files.client(web.target))
        async with running(Gateway(files.gateway(free_listen()))), running(client):
            await journal.wait_for("link_up")
            report = await client.plan(proposed(path, ("  web:", "  other:")))
    assert report.role == "client"
    settings = {setting.name: setting.after for setting in change(report, "services").settings}
    assert settings == {"service web": None, "service other": web.target}
