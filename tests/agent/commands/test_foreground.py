"""An agent in the foreground: where its log goes, what is on the terminal, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskStatus
from rich.console import Console

from agent.commands.foreground import Screen, run_in_foreground
from agent.process.lifetime import Lifetime
from schemas.errors import TidegateError
from schemas.status import AgentStatus
from tests.support import statuses
from tests.support.agents import TIDEGATE, environment, running, tidegate, wait_for
from tests.support.site import local_ports
from tests.support.states import write_gateway, write_keys
from tests.support.terminal import CTRL_C, ENTER_SCREEN, on_terminal


class FakeAgent:
    """An agent that does nothing, and then whatever the test says."""

    drain_limit = 0.0

    def __init__(self, then: Callable[[], None]) -> None:
        self.lifetime = Lifetime()
        self.reloaded = anyio.Event()
        self.ended = False
        self.drained = False
        self._then = then

    def summary(self) -> str:
        return "fine"

    async def reload_and_report(self) -> None:
        """Nothing is looked at."""

    async def catch_up(self) -> None:
        pass

    def status(self) -> AgentStatus:
        return statuses.three()

    def reload(self) -> None:
        self.reloaded.set()
        os.kill(os.getpid(), signal.SIGTERM)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await anyio.lowlevel.checkpoint()
        self._then()
        try:
            await self.lifetime.wait_asked()
            self.lifetime.drain()
            await anyio.lowlevel.checkpoint()
            self.drained = True
        finally:
            self.ended = True


def send(received: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), received)


def screen() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24)
    return Screen(console=console, tail=None, hint="Ctrl-C stops it."), out


@pytest.mark.anyio
async def test_a_hangup_asks_for_another_look_at_the_state() -> None:
    agent = FakeAgent(send(signal.SIGHUP))

    assert await run_in_foreground(agent, None) == 0
    assert agent.reloaded.is_set()
    assert agent.drained


@pytest.mark.anyio
async def test_with_a_table_a_hangup_means_that_the_terminal_has_gone() -> None:
    agent = FakeAgent(send(signal.SIGHUP))

    assert await run_in_foreground(agent, screen()[0]) == 129
    assert not agent.reloaded.is_set()
    assert agent.drained


@pytest.mark.anyio
async def test_what_an_agent_raises_ends_the_program() -> None:
    def fail() -> None:
        raise TidegateError("no")

    with pytest.raises(ExceptionGroup) as raised:
        await run_in_foreground(FakeAgent(fail), screen()[0])

    assert raised.group_contains(TidegateError, match="no")


@pytest.mark.anyio
async def test_a_terminal_that_has_gone_is_an_error_that_says_what_to_do() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            if "gw1" in text:
                raise OSError(5, "Input/output error")
            return super().write(text)

    console = Console(file=Gone(), force_terminal=True, width=80, height=24)
    agent = FakeAgent(lambda: None)

    with pytest.raises(ExceptionGroup) as raised:
        await run_in_foreground(agent, Screen(console=console, tail=None, hint=""))

    assert raised.group_contains(TidegateError, match="--no-live")
    assert agent.ended


@pytest.mark.anyio
async def test_a_terminal_that_goes_while_the_agent_drains_does_not_cut_the_drain() -> None:
    class Going(io.StringIO):
        def write(self, text: str) -> int:
            if "gw1" in text and not agent.lifetime.is_running:
                gone.set()
                raise OSError(5, "Input/output error")
            return super().write(text)

    class Draining(FakeAgent):
        async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            self.lifetime.drain()
            await anyio.to_thread.run_sync(gone.wait)
            for _ in range(10):  # whatever the table does about it
                await anyio.lowlevel.checkpoint()
            self.drained = True

    gone = threading.Event()
    agent = Draining(lambda: None)
    console = Console(file=Going(), force_terminal=True, width=80, height=24)

    assert await run_in_foreground(agent, Screen(console=console, tail=None, hint="")) == 0
    assert agent.drained


@pytest.mark.anyio
async def test_an_agent_that_starts_has_nothing_to_drain() -> None:
    class Starting(FakeAgent):
        async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
            self._then()
            try:
                await anyio.sleep_forever()
            finally:
                self.ended = True

    agent = Starting(send(signal.SIGTERM))

    assert await run_in_foreground(agent, None) == 0
    assert agent.ended


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state file of a gateway that can run."""
    write_keys(tmp_path)
    control, public = local_ports(2)
    return write_gateway(tmp_path, control=control, public=public)


def test_on_a_terminal_there_is_a_table_and_ctrl_c_leaves_it_as_it_was(state: Path) -> None:
    with on_terminal(
        [*TIDEGATE, "gateway", state.name], directory=state.parent, environment=environment()
    ) as terminal:
        terminal.read_until("Client away")
        terminal.read_until("gateway_started")  # the log is shown below the table
        terminal.type(CTRL_C)

        assert terminal.wait() == 130
        assert ENTER_SCREEN in terminal.written
        assert terminal.is_clean


@pytest.fixture
def state_with_names(state: Path) -> Path:
    """That of a gateway whose visitors may take their time."""
    text = state.read_text().replace("service: web", "service: web\n    hostname: a.example")
    state.write_text(text.replace("gateway:\n", "gateway:\n  peek_timeout: 1h\n", 1))
    return state


def test_the_table_stays_while_the_agent_drains_and_a_second_ctrl_c_leaves_the_terminal_as_it_was(
    state_with_names: Path,
) -> None:
    state = state_with_names
    with (
        on_terminal(
            [*TIDEGATE, "gateway", state.name], directory=state.parent, environment=environment()
        ) as terminal,
        ExitStack() as stack,
    ):
        terminal.read_until("gateway_started")
        public = int(re.findall(r"127\.0\.0\.1:(\d+)", state.read_text())[1])
        stack.enter_context(socket.create_connection(("127.0.0.1", public)))
        terminal.type(CTRL_C)
        terminal.read_until("Draining")
        terminal.read_until("Ctrl-C now drops them")
        assert not terminal.is_clean
        terminal.type(CTRL_C)

        assert terminal.wait() == -signal.SIGINT
        assert terminal.is_clean


def test_a_terminal_that_is_resized_gets_a_table_of_its_size(state: Path) -> None:
    with on_terminal(
        [*TIDEGATE, "gateway", state.name], directory=state.parent, width=60, environment=environment()
    ) as terminal:
        terminal.read_until("Client away")
        assert "VISITORS" not in terminal.written
        terminal.resize(160, 24)
        terminal.read_until("VISITORS")


def test_without_a_table_the_log_is_on_the_terminal(state: Path) -> None:
    command = [*TIDEGATE, "gateway", state.name, "--no-live"]
    with on_terminal(command, directory=state.parent, environment=environment(NO_COLOR="1")) as terminal:
        terminal.read_until("gateway_started")
        terminal.type(CTRL_C)

        assert terminal.wait() == 130
        assert ENTER_SCREEN not in terminal.written
        assert not terminal.written.startswith("{")


def test_a_log_file_takes_the_log_whatever_the_terminal_shows(state: Path) -> None:
    log = state.parent / "gateway.log"
    command = [*TIDEGATE, "gateway", state.name, "--log-file", log.name]
    with on_terminal(command, directory=state.parent, environment=environment()) as terminal:
        terminal.read_until("Client away")
        terminal.type(CTRL_C)

        assert terminal.wait() == 130
        assert "gateway_started" not in terminal.written
    assert "gateway_started" in {json.loads(line)["event"] for line in log.read_text().splitlines()}


@pytest.mark.parametrize("option", [[], ["--stock-loop"]])
def test_without_a_terminal_the_log_is_json_and_sigterm_is_no_failure(state: Path, option: list[str]) -> None:
    with running("gateway", state, *option) as process:
        process.terminate()

        assert process.wait() == 0


def test_forced_colors_make_no_terminal(state: Path) -> None:
    refused = subprocess.run(
        [*TIDEGATE, "gateway", state.name, "--live"],
        cwd=state.parent,
        env=environment(FORCE_COLOR="1"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert "--live needs a terminal" in refused.stderr


@pytest.mark.parametrize(("option", "loop"), [([], "uvloop"), (["--stock-loop"], "asyncio")])
def test_the_log_says_which_loop_runs_the_agent(state: Path, option: list[str], loop: str) -> None:
    with subprocess.Popen(
        [*TIDEGATE, "gateway", state.name, *option],
        cwd=state.parent,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert wait_for(process, "loop_chosen")["loop"] == loop
        finally:
            process.kill()


def test_sigint_is_told_from_sigterm_by_the_exit_status(state: Path) -> None:
    with running("gateway", state) as process:
        process.send_signal(signal.SIGINT)

        assert process.wait() == 130


def test_a_file_that_nobody_can_read_is_for_no_other_role(tmp_path: Path) -> None:
    (tmp_path / "client.yaml").write_text("client: {")

    refused = tidegate("client", "client.yaml", directory=tmp_path)

    assert refused.stderr.endswith("the state has 1 problem and is not used: mend it, then try again\n")


def test_a_start_on_a_bad_file_shows_the_way_back_to_the_last_good_one(state: Path) -> None:
    good = state.read_text()
    with running("gateway", state):
        pass
    state.write_text(good.replace("listen:", "lisen:"))

    refused = tidegate("gateway", state.name, directory=state.parent)
    other = tidegate("client", state.name, directory=state.parent)
    back = tidegate("rollback", "--state", state.name, "--offline", directory=state.parent)

    assert refused.returncode == 1
    assert refused.stderr.endswith(
        "mend it, then try again, or return to the last good one with: "
        "tidegate rollback --state gateway.yaml --offline\n"
    )
    assert other.stderr.endswith(
        "the state has 1 problem and is not used: run tidegate gateway gateway.yaml\n"
    )
    assert (back.returncode, state.read_text()) == (0, good)
