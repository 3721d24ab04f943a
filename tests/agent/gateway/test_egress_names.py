"""Names are looked up in threads of which there are few, and nobody waits for those of another client."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import Counter
from ipaddress import ip_address

import anyio
import pytest

from agent.gateway import egress_names
from agent.gateway.egress_names import OF_ONE_CLIENT, Names, look_up
from agent.gateway.special_addresses import Address
from agent.process import own_thread
from tests.support.peers import until
from tests.support.site import PATIENCE

pytestmark = pytest.mark.anyio


class Slow:
    """A resolver that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Semaphore(0)

    def __call__(self, name: str) -> list[Address]:
        self.asked.append(name)
        assert self.answers.acquire(timeout=20)
        return [ip_address("192.0.2.1")]


def test_the_system_is_asked_and_each_address_is_told_once() -> None:
    assert ip_address("127.0.0.1") in look_up("localhost")
    assert len(look_up("localhost")) == len(set(look_up("localhost")))
    with pytest.raises(socket.gaierror):
        look_up("nobody.invalid")


async def test_whoever_asks_hears_the_answer_or_the_error() -> None:
    def answer(name: str) -> list[Address]:
        if name == "none":
            raise socket.gaierror(socket.EAI_NONAME, "none")
        if name == "odd":
            raise ValueError("a label of 64 letters")
        return [ip_address("192.0.2.1")]

    asked = Names(answer)
    assert await asked.addresses("a", "homelab") == [ip_address("192.0.2.1")]
    with pytest.raises(socket.gaierror):
        await asked.addresses("none", "homelab")
    with pytest.raises(OSError, match="64 letters"):
        await asked.addresses("odd", "homelab")
    assert asked._shares == {}


async def test_a_client_with_slow_names_keeps_nobody_else_waiting() -> None:
    slow = Slow()
    asked = Names(slow)
    async with anyio.create_task_group() as tasks:
        for number in range(OF_ONE_CLIENT + 5):
            tasks.start_soon(asked.addresses, f"slow{number}", "homelab")
        await until(lambda: len(slow.asked) == OF_ONE_CLIENT)
        tasks.start_soon(asked.addresses, "quick", "office")
        await until(lambda: "quick" in slow.asked)

        assert len(slow.asked) == OF_ONE_CLIENT + 1
        for _ in range(OF_ONE_CLIENT + 6):
            slow.answers.release()
    assert asked._shares == {}


async def test_all_clients_together_have_no_more_threads_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress_names, "AT_ONCE", 3)
    slow = Slow()
    asked = Names(slow)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(asked.addresses, "slow", f"client{number}")
        await until(lambda: len(slow.asked) == 3)
        slow.answers.release()
        await until(lambda: len(slow.asked) == 4)
        for _ in range(4):
            slow.answers.release()


async def test_a_thread_that_nobody_waits_for_any_more_still_counts() -> None:
    """A client that asks and leaves, again and again, would otherwise have as many as it likes."""
    slow = Slow()
    asked = Names(slow)
    for number in range(3):
        async with anyio.create_task_group() as tasks:
            for name in range(OF_ONE_CLIENT):
                tasks.start_soon(asked.addresses, f"{number}-{name}", "homelab")
            await until(lambda: len(slow.asked) == OF_ONE_CLIENT)
            tasks.cancel_scope.cancel()
    assert Counter(name[0] for name in slow.asked) == {"0": OF_ONE_CLIENT}
    for _ in range(OF_ONE_CLIENT):
        slow.answers.release()
    await until(lambda: asked._shares == {})


async def test_a_system_without_another_thread_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(own_thread, "Thread", Refused)
    asked = Names()
    for _ in range(egress_names.AT_ONCE + 1):
        with pytest.raises(OSError, match="can't start new thread"):
            await asked.addresses("a", "homelab")


def test_a_program_that_ends_waits_for_no_resolver() -> None:
    """A name server that does not answer could hold up the restart of a gateway for half a minute."""
    program = """
import threading, anyio
from agent.gateway.egress_names import Names

async def main():
    names = Names(lambda name: threading.Event().wait())
    with anyio.move_on_after(0.01):
        await names.addresses("slow", "homelab")
    print("done")

anyio.run(main)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_an_answer_that_comes_after_the_end_is_nobodys_error() -> None:
    slow = Slow()
    before = threading.active_count()

    async def ask() -> None:
        with anyio.move_on_after(0.01):
            await Names(slow).addresses("slow", "homelab")

    anyio.run(ask)
    slow.answers.release()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.endswith("(_run)"):
            thread.join()
    assert threading.active_count() == before
