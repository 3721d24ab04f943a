"""Values as a file may hold them, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

# What stands in a file as itself in all three syntaxes: no control characters and no line breaks.
PRINTABLE = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PRINTABLE
)

JSON_LIKE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=20,
)

_KEYS = st.sampled_from(
    [
        "tidegate", "gateway", "client", "clients", "tunnels", "services", "allow_empty", "socks5", "name",
        "listen", "hostname", "service", "proxy_protocol", "declared_by", "id", "control", "management",
        "socket", "data", "admins", "domain", "tls", "cert", "key", "client_ca", "ca", "file", "env",
        "gateways", "sessions", "peek_timeout", "ping_interval", "lisen",
    ]
)  # fmt: skip
_TEXTS = PRINTABLE | st.sampled_from(
    [
        "web",
        ":443",
        "0.0.0.0:443",
        "[::]:443",
        "*.example.com",
        "30s",
        "v1",
        "unix:a",
        "gw1:9056",
        "~",
        "\ud800",
        "a\0",
    ]
)

#: Nearly state files: the right keys with the wrong things behind them, and the other way round.
STATE_LIKE = st.dictionaries(
    _KEYS | PRINTABLE,
    st.recursive(
        SCALARS | _TEXTS | st.just(1),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | PRINTABLE, inner, max_size=6),
        max_leaves=25,
    ),
    max_size=6,
)
