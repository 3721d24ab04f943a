"""What of a whole state is a caller's to change: by Hypothesis, on real files and without a loop."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api.identity import Caller, on_unix_socket
from agent.api.problems import ApiError
from agent.api.proposal import Proposal
from agent.api.whole_state import propose_state
from schemas.names import ClientId, TunnelName
from schemas.parse import parse_gateway
from schemas.render import Inline, render_state
from schemas.text import Syntax, read_document

ADMIN = on_unix_socket(None)
HOMELAB = Caller(name="homelab", client=ClientId("homelab"), is_admin=False)
FILE = (
    "tidegate: 1\n"
    "gateway: {tls: {cert: gw.crt, key: gw.key, client_ca: ca.crt}}\n"
    'tunnels: [{name: fixed, listen: ":1", client: office, service: web}]\n'
)


def propose(directory: Path, caller: Caller, document: object) -> Proposal:
    return propose_state(
        directory / "gateway.yaml",
        directory / "gateway.api.toml",
        caller,
        json.dumps(document),
        expected=None,
        shown={TunnelName("fixed")},
    )


def shown(directory: Path) -> dict[str, Any]:
    """The document of the files as they are."""
    state = directory / "gateway.yaml"
    fragment = directory / "gateway.api.toml"
    documents = [
        read_document(state.read_bytes(), name=str(state), directory=str(directory), syntax=Syntax.YAML)
    ]
    if fragment.exists():
        documents.append(
            read_document(
                fragment.read_bytes(), name="api", directory=str(directory), syntax=Syntax.TOML, owned=True
            )
        )
    return render_state(parse_gateway(documents), inline=Inline.HIDDEN)


PORTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 40), max_size=4).filter(
    lambda ports: len(set(ports.values())) == len(ports)
)


@settings(max_examples=40)  # each example writes files
@given(before=PORTS, after=PORTS, caller=st.sampled_from([ADMIN, HOMELAB]))
def test_what_is_sent_is_what_is_read_afterwards(
    before: dict[str, int], after: dict[str, int], caller: Caller
) -> None:
    """For whatever was declared before and whatever is declared now."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "gateway.yaml").write_text(FILE)
        for ports in (before, after):
            document = shown(directory)
            fixed = [one for one in document["tunnels"] if one["name"] == "fixed"]
            mine = [
                {"name": name, "listen": f"0.0.0.0:{port}", "client": "homelab", "service": "web"}
                for name, port in ports.items()
            ]
            proposal = propose(directory, caller, {**document, "tunnels": [*fixed, *mine]})
            fragment = directory / "gateway.api.toml"
            if proposal.after is None:
                fragment.unlink(missing_ok=True)
            else:
                fragment.write_bytes(proposal.after)
            now = shown(directory)["tunnels"]
            assert {one["name"]: one["listen"] for one in now[1:]} == {
                name: [f"0.0.0.0:{port}"] for name, port in ports.items()
            }
            assert not propose(directory, caller, shown(directory)).is_change


def test_a_tunnel_that_nobody_was_shown_need_not_be_sent_back(tmp_path: Path) -> None:
    """One that was left out because there was no room for it, for example."""
    (tmp_path / "gateway.yaml").write_text(FILE)
    document = shown(tmp_path)

    with pytest.raises(ApiError, match="declared elsewhere"):
        propose(tmp_path, ADMIN, {**document, "tunnels": []})
    unseen = propose_state(
        tmp_path / "gateway.yaml",
        tmp_path / "gateway.api.toml",
        ADMIN,
        json.dumps({**document, "tunnels": []}),
        expected=None,
        shown=(),
    )
    assert not unseen.is_change


def test_nothing_is_written_by_proposing_it(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)

    propose(tmp_path, ADMIN, shown(tmp_path))

    assert [entry.name for entry in tmp_path.iterdir()] == ["gateway.yaml"]
