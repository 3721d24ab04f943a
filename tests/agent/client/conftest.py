"""Fixtures for the client's links: how long an attempt waits for the next one, and which way it goes."""

from __future__ import annotations

import random

import pytest

from agent.client import address_link


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy the machine of the test has, a test has none that it did not ask for."""
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance has it that no attempt waits for long."""
    monkeypatch.setattr(random, "random", lambda: 0.01)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance has it that every attempt waits as long as it may; no test lives to see the second."""
    monkeypatch.setattr(random, "random", lambda: 0.999)
    monkeypatch.setattr(address_link, "backoff", lambda attempt, unit: 600.0 + attempt)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The attempts for which a delay was asked; there is none."""
    attempts: list[int] = []

    def at_once(attempt: int, unit: float) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr(address_link, "backoff", at_once)
    return attempts
