"""What callers ask for holds up neither the agent nor other callers, however much it is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from queue import SimpleQueue

import anyio
import anyio.abc
import httpx2
import pytest
from anyio import to_thread

from agent.api import tunnels as module
from agent.api.identity import Caller
from agent.api.problems import BODY, ApiError
from agent.api.working import THREADS, room, turn_of, work
from agent.api.working import judge as judge_of
from reconcile.state_reader import SMALL
from tests.support import pki

from .backend import FakeGateway, running
from .serving import PATIENCE, calling_tls, on_tls

pytestmark = pytest.mark.anyio

MANY = 60  # more than anyio has threads for everybody


class Judge:
    """Takes bodies, and does not come to an end with any before it may."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[str] = SimpleQueue()
        self._may_end = threading.Event()

    def __call__(self, text: str) -> object:
        self.begun.put(text)
        assert self._may_end.wait(PATIENCE * 3)
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the {BODY} is bad")

    async def next(self) -> str:
        """The next body that is begun with."""
        return await to_thread.run_sync(lambda: self.begun.get(timeout=PATIENCE))

    def end(self) -> None:
        self._may_end.set()


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    """Who judges the bodies of PUT /tunnels."""
    judge = Judge()
    monkeypatch.setattr(module, "parse_json", judge)
    yield judge
    judge.end()


@asynccontextmanager
async def sending(judge: Judge) -> AsyncIterator[anyio.abc.TaskGroup]:
    """Requests that are answered at the end."""
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        finally:
            judge.end()


async def put(http: httpx2.AsyncClient, body: str) -> None:
    answer = await http.put("/tunnels", content=body, timeout=PATIENCE * 3)
    assert answer.status_code == 400


async def test_a_reload_is_answered_while_many_bodies_are_judged(
    http: httpx2.AsyncClient, judge: Judge
) -> None:
    async with sending(judge) as tasks:
        for number in range(MANY):
            tasks.start_soon(put, http, str(number))
        for _ in range(THREADS):
            await judge.next()

        assert (await http.post("/v1/reload")).json()["accepted"]

        assert judge.begun.empty()  # no other thread was used


async def test_work_is_done_in_so_many_threads_and_no_more(judge: Judge) -> None:
    async def one() -> None:
        with pytest.raises(ApiError):
            await work(judge, "")

    async with sending(judge) as tasks:
        for _ in range(MANY):
            tasks.start_soon(one)
        for _ in range(THREADS):
            await judge.next()
        assert room().available_tokens == 0

        assert await to_thread.run_sync(lambda: "the agent's own") == "the agent's own"
        assert judge.begun.empty()
    assert judge.begun.qsize() == MANY - THREADS  # and yet all of it is done


async def test_a_client_waits_for_itself_and_others_do_not(gateway: FakeGateway, judge: Judge) -> None:
    async with (
        running(gateway),
        on_tls(gateway) as tls,
        calling_tls(tls, pki.client("homelab")) as homelab,
        calling_tls(tls, pki.client("office")) as office,
        sending(judge) as tasks,
    ):
        for _ in range(MANY):
            tasks.start_soon(put, homelab, "homelab's")
        assert await judge.next() == "homelab's"
        assert (await homelab.get("/healthz")).status_code == 200  # and not behind a change of its own

        tasks.start_soon(put, office, "office's")
        assert await judge.next() == "office's"


def _process(refuse: bool) -> int:
    if refuse:
        raise ApiError(HTTPStatus.CONFLICT, "refused", headers={"ETag": '"a"'})
    return os.getpid()


async def test_what_reads_much_is_judged_in_a_process_of_its_own() -> None:
    assert await judge_of(_process, False, size=SMALL) == os.getpid()
    assert await judge_of(_process, False, size=SMALL + 1) != os.getpid()
    with pytest.raises(ApiError, match="refused") as caught:
        await judge_of(_process, True, size=SMALL + 1)
    assert (caught.value.status, caught.value.headers) == (HTTPStatus.CONFLICT, {"ETag": '"a"'})


async def test_a_judgment_that_does_not_come_changes_nothing() -> None:
    with pytest.raises(ApiError, match="nothing was changed, try again"):
        await judge_of(os._exit, 3, size=SMALL + 1)


async def test_without_another_process_a_judgment_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert await judge_of(_process, False, size=SMALL + 1) == os.getpid()


async def test_an_admin_waits_for_nobody(admin: Caller) -> None:
    async with turn_of(admin, "PUT"), turn_of(admin, "PUT"):
        pass
