"""How a program in the foreground is told to stop, or to look again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from signal import Signals

import anyio
import pytest

from agent.process.signals import run_until_stopped

pytestmark = pytest.mark.anyio

STUBBORN = """
import signal, sys, time
import anyio
from agent.process.signals import run_until_stopped

async def main():
    try:
        print("ready", flush=True)
        await anyio.sleep_forever()
    finally:
        print("stopping", flush=True)
        while True:
            time.sleep(1)  # a loop that hangs, so that nobody but the kernel can end it

sys.exit(anyio.run(lambda: run_until_stopped(main, on_hangup=None)))
"""


@pytest.mark.parametrize(
    ("sent", "status"), [(Signals.SIGTERM, 0), (Signals.SIGINT, 130), (Signals.SIGHUP, 129)]
)
async def test_a_signal_ends_the_program_in_order_with_a_status_that_says_which(
    sent: Signals, status: int
) -> None:
    ended = False

    async def main() -> None:
        nonlocal ended
        os.kill(os.getpid(), sent)
        try:
            await anyio.sleep_forever()
        finally:
            ended = True

    assert await run_until_stopped(main, on_hangup=None) == status
    assert ended


async def test_a_hangup_may_mean_something_else() -> None:
    heard = anyio.Event()

    async def main() -> None:
        os.kill(os.getpid(), Signals.SIGHUP)
        await heard.wait()

    assert await run_until_stopped(main, on_hangup=heard.set) == 0


async def test_a_program_that_ends_by_itself_when_it_is_told_to_is_not_cancelled() -> None:
    told = anyio.Event()
    finished = False

    def stop() -> bool:
        told.set()
        return True

    async def main() -> None:
        nonlocal finished
        os.kill(os.getpid(), Signals.SIGTERM)
        await told.wait()
        await anyio.lowlevel.checkpoint()
        finished = True

    assert await run_until_stopped(main, on_hangup=None, on_stop=stop) == 0
    assert finished


async def test_a_hangup_means_nothing_to_a_program_that_is_stopping() -> None:
    told = anyio.Event()
    hung_up: list[None] = []

    def stop() -> bool:
        os.kill(os.getpid(), Signals.SIGHUP)
        told.set()
        return True

    async def main() -> None:
        os.kill(os.getpid(), Signals.SIGINT)
        await told.wait()
        await anyio.wait_all_tasks_blocked()

    status = await run_until_stopped(main, on_hangup=lambda: hung_up.append(None), on_stop=stop)

    assert status == 130
    assert not hung_up


async def test_a_program_that_is_done_ends_by_itself() -> None:
    async def main() -> None:
        return

    assert await run_until_stopped(main, on_hangup=None) == 0


def test_a_second_signal_right_behind_the_first_ends_the_process_too() -> None:
    program = STUBBORN.replace(
        "        await anyio.sleep_forever()",
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        await anyio.sleep_forever()",
    ).replace("on_hangup=None", "on_hangup=None, on_stop=lambda: True")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.wait() == -signal.SIGINT


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_cannot_be_left_as_it_is_is_seen_to_before_a_second_signal_ends_the_process(
    sent: Signals,
) -> None:
    program = STUBBORN.replace(
        "on_hangup=None", 'on_hangup=None, before_death=lambda: print("tidied up", flush=True)'
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(sent)

        assert process.stdout.readline() == "tidied up\n"
        assert process.wait() == -sent


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(sent: Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(sent)

        assert process.wait() == -sent
