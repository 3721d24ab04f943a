"""What is rendered and read again is the same state, and no key that stands in a file is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.parse import parse_state
from schemas.render import HIDDEN, Inline, render_section, render_state
from schemas.state import GatewayState, State
from schemas.text import Syntax, read_document, syntax_for

VALID = sorted((Path(__file__).parents[1] / "states" / "valid").iterdir())
PEM = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def read(document: dict[str, Any]) -> State:
    """The state of a document, as from the fragment that may say who declared a tunnel."""
    data = json.dumps(document).encode()
    return parse_state([read_document(data, name="state", directory="", syntax=Syntax.JSON, owned=True)])


NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
PATHS = st.sampled_from(["pki/x.pem", "/etc/tidegate/x.pem", "x", "../x y.pem"])
REFERENCES = st.one_of(
    PATHS, st.builds(lambda path: {"file": path}, PATHS), st.just({"env": "KEY"}), st.just(PEM)
)
DURATIONS = st.one_of(
    st.sampled_from(["30s", "1.5m", "200ms", "2h", "0.1s", "1.001s", "33.3ms", "0.000001s", "0.1ms", "1.1m"]),
    st.floats(min_value=1e-6, max_value=1e6).map(lambda seconds: f"{seconds:.9f}s"),
).filter(lambda text: float(text.rstrip("mhs")) > 0)
LISTENS = st.tuples(
    st.sampled_from(["0.0.0.0", "127.0.0.1", "[::]", "[2001:db8::1]", ""]), st.integers(1, 65535)
).map(lambda address: f"{address[0]}:{address[1]}")
HOSTNAMES = st.lists(
    st.sampled_from(["a.test", "*.a.test", "*", "b.*.test", "bücher.example"]), min_size=1, unique=True
)


def some(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


TUNNELS = st.builds(
    lambda needed, more: {**needed, **more},
    st.fixed_dictionaries(
        {"listen": LISTENS, "client": st.lists(NAMES, min_size=1, max_size=3, unique=True), "service": NAMES}
    ),
    some(
        hostname=HOSTNAMES,
        proxy_protocol=st.sampled_from(["off", "v1", "v2"]),
        declared_by=st.sampled_from(["homelab", "unix socket"]),
    ),
)
SETTINGS = some(
    name=NAMES,
    control=LISTENS,
    management=LISTENS,
    socket=PATHS,
    data=PATHS,
    admins=st.lists(NAMES, unique=True, max_size=3),
    domain=st.just("example.com"),
    peek_timeout=DURATIONS,
    ping_interval=DURATIONS,
    ping_timeout=DURATIONS,
    half_close_timeout=DURATIONS,
    drain=st.one_of(DURATIONS, st.just("0s")),
    log_level=st.sampled_from(["debug", "info", "warning", "error"]),
)


@st.composite
def gateways(draw: st.DrawFn) -> GatewayState:
    """States of gateways, of which those are left out that the rules refuse."""
    tls = draw(st.fixed_dictionaries({"cert": REFERENCES, "key": REFERENCES, "client_ca": REFERENCES}))
    tunnels = draw(st.lists(TUNNELS, max_size=4))
    document: dict[str, Any] = {
        "tidegate": 1,
        "gateway": {"tls": tls, **draw(SETTINGS)},
        "tunnels": [{"name": f"t{number}", **tunnel} for number, tunnel in enumerate(tunnels)],
    }
    if draw(st.booleans()):
        ids = sorted({client for tunnel in tunnels for client in tunnel["client"]})
        document["clients"] = [{"id": client} for client in ids]
    if draw(st.booleans()):
        document["allow_empty"] = draw(st.booleans())
    try:
        state = read(document)
    except StateError:
        # Ports and names that clash; what is left is a state all the same.
        state = read({**document, "tunnels": document["tunnels"][:1], "gateway": {"tls": tls}})
    assert isinstance(state, GatewayState)
    return state


@given(state=gateways())
def test_a_gateways_state_that_is_rendered_and_read_again_is_the_same(state: GatewayState) -> None:
    assert read(render_state(state, inline=Inline.SHOWN)) == state


@given(
    needed=st.fixed_dictionaries({"cert": REFERENCES, "key": REFERENCES, "ca": REFERENCES}),
    more=some(
        sessions=st.integers(1, 16),
        socket=PATHS,
        ping_interval=DURATIONS,
        drain=DURATIONS,
        log_level=st.sampled_from(["debug", "error"]),
    ),
    services=st.dictionaries(
        NAMES, st.sampled_from(["127.0.0.1:80", "[::1]:22", "name.test:80", "unix:/run/x.sock", "unix:@x"])
    ),
    gateways=st.lists(st.sampled_from(["gw1.test:9056", "192.0.2.1:1", "[::1]:2"]), min_size=1, unique=True),
)
def test_a_clients_state_that_is_rendered_and_read_again_is_the_same(
    needed: dict[str, Any], more: dict[str, Any], services: dict[str, str], gateways: list[str]
) -> None:
    state = read(
        {
            "tidegate": 1,
            "client": {"id": "homelab", "gateways": gateways, "tls": needed, **more},
            "services": services,
        }
    )

    assert read(render_state(state, inline=Inline.SHOWN)) == state


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.name)
def test_every_state_file_of_ours_comes_back(file: Path) -> None:
    document = read_document(file.read_bytes(), name=file.name, directory="", syntax=syntax_for(file.name))
    state = parse_state([document])

    assert read(render_state(state, inline=Inline.SHOWN)) == state


def test_what_has_its_default_is_left_out_and_an_empty_list_of_clients_is_not() -> None:
    tls = {"cert": "gw.crt", "key": {"env": "KEY"}, "client_ca": "ca.crt"}
    state = read(
        {"tidegate": 1, "gateway": {"tls": tls, "peek_timeout": "3s", "drain": "1.5m"}, "clients": []}
    )

    assert render_state(state, inline=Inline.SHOWN) == {
        "tidegate": 1,
        "gateway": {
            "tls": {"cert": {"file": "gw.crt"}, "key": {"env": "KEY"}, "client_ca": {"file": "ca.crt"}},
            "drain": "90s",
        },
        "clients": [],
    }


@given(state=gateways())
def test_pem_text_is_not_shown_where_it_is_hidden(state: GatewayState) -> None:
    shown = json.dumps(render_state(state, inline=Inline.HIDDEN))

    assert "c2VjcmV0" not in shown
    assert ("hidden" in shown) == ("c2VjcmV0" in json.dumps(render_state(state, inline=Inline.SHOWN)))


def test_the_password_of_a_proxy_is_not_shown_where_it_is_hidden() -> None:
    tls = {"cert": "a", "key": "b", "ca": "c"}
    client = {"id": "homelab", "gateways": ["gw1:1"], "tls": tls}
    secret = read({"tidegate": 1, "client": {**client, "proxy": "http://me:hunter2@proxy:3128"}})
    open_to_all = read({"tidegate": 1, "client": {**client, "proxy": "socks5://proxy"}})

    assert render_state(secret, inline=Inline.HIDDEN)["client"]["proxy"] == HIDDEN
    assert render_state(secret, inline=Inline.SHOWN)["client"]["proxy"] == "http://me:hunter2@proxy:3128"
    assert render_state(open_to_all, inline=Inline.HIDDEN)["client"]["proxy"] == "socks5://proxy:1080"
    assert "hunter2" not in repr(secret)


def test_what_stands_for_hidden_text_is_not_taken_for_a_reference() -> None:
    tls = {"cert": "gw.crt", "key": HIDDEN, "client_ca": "ca.crt"}
    with pytest.raises(StateError, match="is not a reference"):
        read({"tidegate": 1, "gateway": {"tls": tls}})


def test_a_tunnel_is_rendered_as_it_would_be_written() -> None:
    tls = {"cert": "gw.crt", "key": "gw.key", "client_ca": "ca.crt"}
    entry = {"name": "a", "listen": ":443", "hostname": "A.test", "client": "homelab", "service": "web"}
    state = read({"tidegate": 1, "gateway": {"tls": tls}, "tunnels": [{**entry, "declared_by": "ops"}]})
    assert isinstance(state, GatewayState)

    assert render_section(state.tunnels[0], inline=Inline.HIDDEN) == {
        "name": "a",
        "listen": ["0.0.0.0:443", "[::]:443"],
        "hostname": ["a.test"],
        "client": ["homelab"],
        "service": "web",
        "declared_by": "ops",
    }
