"""``GET /v1/events``, by readers that come back, that stall, and that may not read any more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from agent import events as hub
from agent.api import event_stream
from agent.api.app import create_app
from agent.events import EventKind
from reconcile.actuator import ActionError
from tests.support import pki

from .backend import BLOG, GATEWAY, FakeGateway, port, running
from .serving import PATIENCE, calling, calling_tls, on_tls, on_unix, problem

pytestmark = pytest.mark.anyio

STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class Told:
    name: str
    number: str
    data: dict[str, Any]


class Stream:
    """A reader of server-sent events, as the standard has it."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.comments = 0
        self.retry = ""
        self.last_id = ""

    async def next(self) -> Told | None:
        """The next event, None at the end of the stream."""
        name, data = "", ""
        with anyio.fail_after(PATIENCE):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                match field:
                    case "" if not value and not line:
                        if data:
                            return Told(name, self.last_id, json.loads(data))
                        name = ""
                    case "":
                        self.comments += 1
                    case "event":
                        name = value
                    case "id":
                        self.last_id = value
                    case "data":
                        data = value
                    case "retry":
                        self.retry = value
        return None

    async def names(self, count: int) -> list[str]:
        found = [await self.next() for _ in range(count)]
        return [one.name for one in found if one is not None]


@asynccontextmanager
async def reading(http: httpx2.AsyncClient, *, after: str | None = None) -> AsyncIterator[Stream]:
    headers = {} if after is None else {"Last-Event-ID": after}
    async with http.stream("GET", "/v1/events", headers=headers) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        yield Stream(answer.aiter_lines())


def more(gateway: FakeGateway, number: int) -> None:
    entry = f'{{name: t{number}, listen: "0.0.0.0:{number}", client: homelab, service: s}}'
    gateway.write(GATEWAY, f"{BLOG}      - {entry}\n")


async def test_what_happens_arrives_by_name_with_its_id_and_its_data(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    async with reading(http) as stream:
        more(gateway, 25)
        await gateway.turn()
        accepted, opened, in_force = [await stream.next() for _ in range(3)]

    assert accepted is not None
    assert opened is not None
    assert in_force is not None
    assert (accepted.name, accepted.data["generation"]) == ("state_accepted", 2)
    assert accepted.data["at"] == "2026-05-17T12:00:00Z"
    assert (opened.name, opened.data["resource"]) == ("resource_opened", "listener 0.0.0.0:25")
    assert in_force.name == "state_in_force"
    ids = [one.number.partition("-") for one in (accepted, opened, in_force)]
    assert [run for run, _, _ in ids] == ["run"] * 3
    assert [int(number) - int(ids[0][2]) for _, _, number in ids] == [0, 1, 2]
    assert stream.retry == "2000"


async def test_a_refused_state_and_a_failed_port_are_told_with_every_problem(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    async with reading(http) as stream:
        gateway.write(GATEWAY, BLOG.replace("web", "web web"))
        await gateway.turn()
        refused = await stream.next()
        gateway.actuator.break_key(port("0.0.0.0:25"), ActionError("0.0.0.0:25 is taken"))
        more(gateway, 25)
        await gateway.turn()
        names = await stream.names(2)
        failed = await stream.next()

    assert refused is not None
    assert refused.name == "state_refused"
    assert [(one["line"], one["file"]) for one in refused.data["problems"]] == [(6, str(gateway.state_path))]
    assert names == ["state_mended", "state_accepted"]
    assert failed is not None
    assert (failed.name, failed.data["reason"]) == ("resource_failed", "0.0.0.0:25 is taken")


async def test_a_reader_that_comes_back_misses_nothing(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    async with reading(http) as stream:
        more(gateway, 25)
        await gateway.turn()
        first = await stream.next()
    assert first is not None
    more(gateway, 26)
    await gateway.turn()

    async with reading(http, after=first.number) as stream:
        assert (await stream.names(6)) == [
            "resource_opened",
            "state_in_force",
            "state_accepted",
            "resource_closed",
            "resource_opened",
            "state_in_force",
        ]


async def test_a_reader_knows_its_place_before_anything_has_happened(
    gateway: FakeGateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.001)
    latest = gateway.events.latest
    async with reading(http) as stream, anyio.create_task_group() as tasks:

        async def publish_later() -> None:
            while stream.comments < 2:
                await anyio.lowlevel.checkpoint()
            assert stream.last_id == latest
            gateway.events.publish(EventKind.STATE_MENDED, generation=1)

        tasks.start_soon(publish_later)
        assert await stream.names(1) == ["state_mended"]


@pytest.mark.parametrize("after", ["run-0", "elsewhere-3", "x" * 5_000, "run-1\x7f", "-"])
async def test_a_reader_whose_place_is_not_kept_is_told_and_goes_on(
    gateway: FakeGateway, http: httpx2.AsyncClient, after: str
) -> None:
    for _ in range(hub.KEPT):
        gateway.events.publish(EventKind.STATE_MENDED, generation=1)

    async with reading(http, after=after) as stream:
        missed = await stream.next()
        gateway.events.publish(EventKind.STATE_MENDED, generation=2)
        after_it = await stream.next()

    assert missed is not None
    assert (missed.name, missed.number) == ("events_missed", f"run-{hub.KEPT + gateway_events(gateway)}")
    assert after_it is not None
    assert after_it.data["generation"] == 2


def gateway_events(gateway: FakeGateway) -> int:
    """How many events the gateway had by itself."""
    return gateway.events.last - hub.KEPT - 1


async def test_readers_are_limited_and_a_place_is_free_again_when_one_has_gone(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_READERS_OF_ONE", 1)
    async with reading(http):
        refused = await http.get("/v1/events")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert "end one of these" in problem(refused)["detail"]
    with anyio.fail_after(PATIENCE):
        while True:  # the end of a connection is noticed at the other end a little later
            async with http.stream("GET", "/v1/events") as answer:
                if answer.status_code == 200:
                    break
    monkeypatch.setattr(hub, "MAX_READERS", 0)
    assert (await http.get("/v1/events")).status_code in (429, 503)


async def test_the_end_of_the_agent_is_the_end_of_the_stream_and_says_so(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    async with reading(http) as stream:
        gateway.events.publish(EventKind.DRAIN_ENDED, dropped=0)
        gateway.events.close()
        last, end = await stream.next(), await stream.next()
        assert await stream.next() is None
    refused = await http.get("/v1/events")

    assert last is not None
    assert last.name == "drain_ended"
    assert end is not None
    assert (end.name, end.data) == ("stream_ended", {"reason": "the agent is stopping"})
    assert refused.status_code == 503


async def test_a_reader_that_may_not_read_any_more_is_told_and_cut_off(gateway: FakeGateway) -> None:
    """By the very change that takes its right away."""
    gateway.write(GATEWAY, "clients: [{id: homelab}]\n", BLOG)
    async with (
        running(gateway),
        on_tls(gateway) as tls,
        calling_tls(tls, pki.client("homelab")) as http,
        reading(http) as stream,
    ):
        gateway.write(GATEWAY, "clients: [{id: office}]\n", BLOG.replace("homelab", "office"))
        await gateway.turn()
        told = await stream.next()
        assert await stream.next() is None

    assert told is not None
    assert told.name == "stream_ended"
    assert 'does not list "homelab"' in told.data["reason"]


async def test_a_reader_that_does_not_read_is_cut_off(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds neither a place nor a connection, and what happens goes on."""
    monkeypatch.setattr(event_stream, "STALLED", 0.05)
    path = tmp_path / "s"
    async with (
        running(gateway),
        on_unix(create_app(gateway), path),
        await anyio.connect_unix(path) as stalled,
        calling(path) as http,
    ):
        await stalled.send(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in await stalled.receive(100)
        with anyio.fail_after(PATIENCE):
            while gateway.events.reader_count:
                gateway.events.publish(EventKind.RESOURCE_FAILED, reason="x" * 10_000)
                await anyio.lowlevel.checkpoint()
        assert (await http.get("/ping")).text == "pong"


async def test_head_says_what_there_is_and_ends(http: httpx2.AsyncClient) -> None:
    answer = await http.head("/v1/events")

    assert (answer.status_code, answer.headers["content-type"]) == (200, STREAM)
