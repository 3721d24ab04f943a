"""What is remembered of clients that are away, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.gateway import absentees
from agent.gateway.absentees import Absentees, Departure, Refused
from agent.gateway.revocation import ShownCertificate
from schemas.names import ClientId

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
CERTIFICATE = ShownCertificate(serial="4f:2a", fingerprint="5e" * 32)
LAPTOP = ClientId("laptop")
NOBODY: frozenset[ClientId] = frozenset()


def refused(reason: str = "its certificate has been revoked") -> Refused:
    return Refused(at=NOON, reason=reason, address="192.0.2.1:5", certificate=CERTIFICATE)


def test_why_a_client_was_refused_is_forgotten_when_it_comes_and_not_when_it_went() -> None:
    memory = Absentees()
    memory.refused(LAPTOP, refused(), declared=NOBODY)
    memory.went(LAPTOP, Departure(at=NOON, certificate=CERTIFICATE), declared=NOBODY)
    assert memory.refusals == {LAPTOP: refused()}

    memory.came(LAPTOP)
    memory.came(LAPTOP)

    assert memory.refusals == {}
    assert memory.departures[LAPTOP].certificate == CERTIFICATE


def test_only_another_reason_is_news() -> None:
    memory = Absentees()

    assert memory.refused(LAPTOP, refused(), declared=NOBODY)
    assert not memory.refused(LAPTOP, refused(), declared=NOBODY)
    assert memory.refused(LAPTOP, refused("it calls itself office"), declared=NOBODY)


def test_of_the_refused_too_those_that_are_declared_are_remembered_and_of_others_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(absentees, "_MOST_REMEMBERED", 2)
    memory, declared = Absentees(), frozenset({LAPTOP})
    for name in ("laptop", "a", "b", "a", "c"):
        memory.refused(ClientId(name), refused(), declared=declared)
        memory.went(ClientId(name), Departure(at=NOON, certificate=CERTIFICATE), declared=declared)

    assert list(memory.refusals) == list(memory.departures) == ["laptop", "a", "c"]
