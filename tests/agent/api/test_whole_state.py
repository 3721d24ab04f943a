"""What of a whole state is a caller's to change: by Hypothesis, on real files and without a loop."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api.identity import Caller, on_unix_socket
from agent.api.problems import MAX_PROBLEMS, ApiError
from agent.api.proposal import Proposal
from agent.api.threshold import MAX_ENTRIES, MAX_KEYS
from agent.api.whole_state import propose_state
from schemas.errors import Place
from schemas.names import ClientId, TunnelName
from schemas.parse import parse_gateway
from schemas.positions import Path as ValuePath
from schemas.render import Inline, render_state
from schemas.text import Document, Syntax, read_document

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


def test_what_stands_in_front_of_the_gateway_is_an_admins_to_say(tmp_path: Path) -> None:
    """A client could have it said of its visitors that they come from anywhere, in the gateway's log too."""
    (tmp_path / "gateway.yaml").write_text(FILE)
    document = shown(tmp_path)
    own = {"name": "own", "listen": ":2", "client": "homelab", "service": "web"}
    behind = {**own, "accept_proxy_protocol": "0.0.0.0/0"}

    assert propose(tmp_path, HOMELAB, {**document, "tunnels": [*document["tunnels"], own]}).is_change
    assert propose(tmp_path, ADMIN, {**document, "tunnels": [*document["tunnels"], behind]}).is_change
    with pytest.raises(ApiError, match="may not say what stands in front") as caught:
        propose(tmp_path, HOMELAB, {**document, "tunnels": [*document["tunnels"], behind]})

    assert caught.value.status is HTTPStatus.FORBIDDEN
    assert [problem.path for problem in caught.value.problems] == [("tunnels", 1, "accept_proxy_protocol")]


def test_nothing_is_written_by_proposing_it(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)

    propose(tmp_path, ADMIN, shown(tmp_path))

    assert [entry.name for entry in tmp_path.iterdir()] == ["gateway.yaml"]


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch) -> list[ValuePath]:
    """What a place is looked up for, each time that one is."""
    looked_up: list[ValuePath] = []
    locate = Document.locate

    def counting(document: Document, path: ValuePath, *, key: bool = False) -> Place:
        looked_up.append(path)
        return locate(document, path, key=key)

    monkeypatch.setattr(Document, "locate", counting)
    return looked_up


@pytest.mark.parametrize("entry", [1, {}, {"name": 1}, {"name": "a", "listen": 1}])
def test_places_are_found_only_for_what_is_told(
    tmp_path: Path, located: list[ValuePath], entry: object
) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)
    document = shown(tmp_path)

    with pytest.raises(ApiError) as caught:
        propose(tmp_path, ADMIN, {**document, "tunnels": [*document["tunnels"], *[entry] * MAX_ENTRIES]})

    assert caught.value.status == 400
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    # One more shows that there are more, and one entry may have several problems.
    assert MAX_PROBLEMS <= len(located) <= MAX_PROBLEMS + 10


def test_no_place_of_a_file_is_looked_up_for_a_document_that_agrees_with_it(
    tmp_path: Path, located: list[ValuePath]
) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)

    propose(tmp_path, ADMIN, shown(tmp_path))

    assert located == []


def test_a_document_declares_only_so_many_tunnels(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)
    document = shown(tmp_path)
    own = [{"name": "a"}] * (MAX_ENTRIES + 1)

    with pytest.raises(ApiError) as caught:
        propose(tmp_path, ADMIN, {**document, "tunnels": [*document["tunnels"], *own]})

    (problem,) = caught.value.problems
    assert str(problem).startswith("tunnels: it declares 10,001 tunnels")


def test_an_entry_of_too_many_keys_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILE)
    many = {"name": "a", **{f"key{number}": 1 for number in range(MAX_KEYS)}}

    with pytest.raises(ApiError) as caught:
        propose(tmp_path, ADMIN, {**shown(tmp_path), "tunnels": [many]})

    (problem,) = caught.value.problems
    assert str(problem) == "tunnels[0]: it has 51 keys, which is too many for a tunnel"
