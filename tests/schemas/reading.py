"""Short ways to read a text in a test."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

from schemas.errors import StateError
from schemas.parse import parse_state
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, State
from schemas.text import Document, Syntax, read_document
from tests.support.json_schemas import refusals

GATEWAY = """\
tidegate: 1
gateway:
  tls: {cert: gateway.crt, key: gateway.key, client_ca: ca.crt}
"""

CLIENT = """\
tidegate: 1
client:
  id: homelab
  gateways: gw1.example.com:9056
  tls: {cert: homelab.crt, key: homelab.key, ca: ca.crt}
"""


def refusal(parse: Callable[[str], object], text: str) -> str | None:
    """What ``parse`` says when it refuses the text, None if it takes it. Any other exception is a bug."""
    try:
        parse(text)
    except UnicodeError:
        raise
    except ValueError as error:
        return str(error)
    return None


def document(
    text: str,
    *,
    name: str = "a.yaml",
    syntax: Syntax = Syntax.YAML,
    directory: str = "/etc/tidegate",
    owned: bool = False,
) -> Document:
    return read_document(dedent(text).encode(), name=name, directory=directory, syntax=syntax, owned=owned)


def state_of(*documents: Document | str) -> State:
    read = [document(item) if isinstance(item, str) else item for item in documents]
    state = parse_state(read)
    # So every state that some test reads also shows that its schema, which is one of whole files, takes it.
    if len(read) == 1 and not read[0].owned:
        role = Role.GATEWAY if isinstance(state, GatewayState) else Role.CLIENT
        assert refusals(role, read[0].value) == []
    return state


def gateway_of(*documents: Document | str) -> GatewayState:
    state = state_of(*documents)
    assert isinstance(state, GatewayState)
    return state


def client_of(*documents: Document | str) -> ClientState:
    state = state_of(*documents)
    assert isinstance(state, ClientState)
    return state


def problems_of(*documents: Document | str) -> list[str]:
    """What is said about the documents, a line a problem; nothing if they are a state."""
    try:
        state_of(*documents)
    except StateError as error:
        return str(error).split("\n")
    return []
