"""Where and how often state files are read, which no answer may depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple, Unpack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconcile import state_reader
from reconcile.apart import LostError, NotStartedError
from reconcile.prepared import Prepared
from reconcile.reading import StateText
from reconcile.state_reader import NotReadError, StateReader, Understood
from schemas.roles import Role
from schemas.state import GatewayState
from tests.schemas.test_part import VALUES

from . import jobs
from .test_understanding import by_the_parser, texts_of

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

pytestmark = pytest.mark.anyio

ROUNDS = st.lists(st.tuples(st.lists(VALUES, min_size=1, max_size=4), st.booleans()), min_size=2, max_size=4)


def fragment(number: int, *, service: str = "web") -> StateText:
    """Ten tunnels on one port; number 0 is also the section of the gateway."""
    lines = ["tidegate: 1"]
    if number == 0:
        lines.append("gateway: {tls: {cert: a, key: b, client_ca: c}}")
    lines.append("tunnels:")
    lines += [
        f"  - {{name: t{number}-{index}, listen: ':{1000 + number}', hostname: h{index}, "
        f"client: home, service: {service if index == 5 else 'web'}}}"
        for index in range(10)
    ]
    return StateText(name=f"{number:02}.yaml", directory="/etc", data="\n".join(lines).encode() + b"\n")


def said(understood: Understood) -> tuple[Any, Any, Any]:
    return understood.state, understood.left_out, understood.problems


class Counted:
    """Counts the texts that go through a function of the reader's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.texts: list[str] = []
        self._function: Callable[..., Any] = getattr(state_reader, name)
        monkeypatch.setattr(state_reader, name, self)

    def __call__(self, texts: Sequence[StateText], role: Role) -> Any:
        self.texts += [text.name for text in texts]
        return self._function(texts, role)


@given(rounds=ROUNDS)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
async def test_whatever_was_read_before_the_answer_is_that_of_the_parser(
    rounds: list[tuple[list[dict[str, object]], bool]],
) -> None:
    reader = StateReader(Role.GATEWAY)

    for values, owned in rounds:
        texts = texts_of(*values, owned=owned)
        assert said(await reader.read(texts)) == by_the_parser(texts, Role.GATEWAY)


async def test_a_process_of_its_own_gives_the_same_answers() -> None:
    apart = StateReader(Role.GATEWAY, small=0)
    good = [fragment(number) for number in range(3)]
    clash = [*good, StateText(name="99.yaml", directory="/etc", data=good[1].data)]
    broken = [*good, StateText(name="99.yaml", directory="/etc", data=b"tunnels: {")]

    for texts in (good, clash, broken, [good[0], fragment(1, service="mail"), good[2]], good[:2]):
        assert said(await apart.read(texts)) == by_the_parser(tuple(texts), Role.GATEWAY)


async def test_only_the_fragment_that_changed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, each = Counted(monkeypatch, "understand"), Counted(monkeypatch, "understand_each")
    reader = StateReader(Role.GATEWAY)
    texts = [fragment(number) for number in range(10)]
    before = (await reader.read(texts)).state
    assert (len(whole.texts), each.texts) == (10, [])

    texts[7] = fragment(7, service="mail")
    after = (await reader.read(texts)).state

    assert (len(whole.texts), each.texts) == (10, ["07.yaml"])
    assert isinstance(before, GatewayState)
    assert isinstance(after, GatewayState)
    # Whoever compares the two finds the very same tunnels, but for one.
    kept = [one is other for one, other in zip(before.tunnels, after.tunnels, strict=True)]
    assert kept.count(False) == 1


async def test_what_was_there_before_a_change_is_not_read_again_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = StateReader(Role.GATEWAY)
    before = await reader.read([fragment(0)])
    await reader.read([fragment(0, service="mail")])
    whole, each = Counted(monkeypatch, "understand"), Counted(monkeypatch, "understand_each")

    assert await reader.read([fragment(0)]) == before

    assert (whole.texts, each.texts) == ([], [])


async def test_a_reader_that_is_killed_is_told_of_and_the_next_reading_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = StateReader(Role.GATEWAY, small=0)
    with monkeypatch.context() as patch:
        patch.setattr(state_reader, "understand", jobs.die)
        with pytest.raises(NotReadError) as caught:
            await reader.read([fragment(0)])

    assert str(caught.value) == (
        "00.yaml:1:1: it could not be read: the process that did it was ended by SIGKILL; "
        "it is read again soon"
    )
    assert (await reader.read([fragment(0)])).state is not None


async def test_where_there_is_no_other_process_it_is_read_in_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object) -> None:
        raise NotStartedError("no process could be started")

    monkeypatch.setattr(state_reader, "run_apart", refuse)

    assert (await StateReader(Role.GATEWAY, small=0).read([fragment(0)])).state is not None


class OnePiece(Prepared):
    """One that does its work, or dies of it, in a process that is this one."""

    def __init__(self, *, dies: bool) -> None:
        self.asked = 0
        self._dies = dies

    async def run(self, function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
        self.asked += 1
        if self._dies:
            raise LostError("it died")
        return function(*arguments)


@pytest.mark.parametrize("dies", [False, True])
async def test_a_process_that_was_prepared_reads_first_and_no_answer_depends_on_it(*, dies: bool) -> None:
    prepared = OnePiece(dies=dies)
    reader = StateReader(Role.GATEWAY, prepared=prepared)

    for texts in ([fragment(0)], [fragment(0), fragment(1)]):
        assert said(await reader.read(texts)) == by_the_parser(tuple(texts), Role.GATEWAY)
    assert prepared.asked == 1
