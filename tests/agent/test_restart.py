"""The settings that a running agent cannot change."""

from __future__ import annotations

import pytest

from agent.restart import log_needed_restart, needs_restart
from schemas.state import GatewaySettings
from tests.reconcile.samples import GATEWAY_TLS, client_state
from tests.support.journal import Journal

GATEWAY = GatewaySettings(tls=GATEWAY_TLS)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ()),
        ({"name": "gw2", "peek_timeout": 9.0, "admins": ("ops",)}, ()),
        ({"socket": "other.sock"}, ("socket",)),
        ({"socket": "other.sock", "data": "elsewhere"}, ("socket", "data")),
    ],
)
def test_only_what_cannot_change_while_it_runs_needs_a_restart(
    changed: dict[str, object], told: tuple[str, ...], journal: Journal
) -> None:
    wanted = GATEWAY.model_copy(update=changed)

    assert needs_restart(GATEWAY, wanted) == told
    log_needed_restart(GATEWAY, wanted)
    assert [tuple(line["settings"]) for line in journal.find("restart_needed")] == [told] * bool(told)


def test_a_client_has_a_socket_and_no_data() -> None:
    before = client_state("web").client

    assert needs_restart(before, before.model_copy(update={"socket": "other.sock"})) == ("socket",)
