"""Whose rights are whose."""

from __future__ import annotations

from agent.gateway.rights import Rights, allowed
from schemas.names import ClientId, ServiceName
from schemas.state import ClientEntry

WEB, MAIL = ServiceName("web"), ServiceName("mail")
HOMELAB = ClientEntry(id=ClientId("homelab"), services=("w*",))


def test_a_client_has_the_rights_of_its_own_entry_and_an_unlisted_one_has_none_written() -> None:
    rights = Rights([HOMELAB, ClientEntry(id=ClientId("office"))])

    assert rights.of(ClientId("homelab")) is HOMELAB
    assert rights.of(ClientId("laptop")) is None


def test_of_what_is_offered_there_remains_what_is_allowed() -> None:
    offered = frozenset({WEB, MAIL})

    assert allowed(HOMELAB, offered) == {WEB}
    assert allowed(ClientEntry(id=ClientId("office")), offered) == offered
    assert allowed(None, offered) == offered
