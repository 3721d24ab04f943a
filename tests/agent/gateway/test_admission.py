"""The rules about who may connect, as a resource."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.actuator import ResourceActuator
from agent.gateway.admission import Admissions
from agent.gateway.sessions import Sessions
from reconcile.desired import AdmissionSpec, Kind, key_of
from reconcile.observed import Observed, Phase
from reconcile.plan import Action, Verb
from tests.support.gateway_parts import admission

pytestmark = pytest.mark.anyio


async def test_the_rules_are_in_force_once_opened_and_change_in_place() -> None:
    sessions = Sessions("gw1", lambda: datetime.now(UTC), lambda: None)
    actuator = ResourceActuator({Kind.ADMISSION: Admissions(sessions)}, lambda: None)

    for verb, spec in [(Verb.OPEN, admission("homelab")), (Verb.UPDATE, admission("homelab", "office"))]:
        await actuator.perform(Action(verb=verb, key=key_of(spec), spec=spec))

        assert sessions.admission == spec
        assert actuator.observe() == {key_of(spec): Observed(spec=spec, phase=Phase.OPEN)}


async def test_before_there_are_rules_nobody_may_connect() -> None:
    sessions = Sessions("gw1", lambda: datetime.now(UTC), lambda: None)

    assert sessions.admission == AdmissionSpec(clients=frozenset(), domain=None, admins=frozenset())


async def test_giving_the_rules_up_disconnects_nobody() -> None:
    sessions = Sessions("gw1", lambda: datetime.now(UTC), lambda: None)
    spec = admission("homelab")
    opened = await Admissions(sessions)(spec, lambda error: None)

    await opened.close()

    assert opened.is_alive
    assert sessions.admission == spec
