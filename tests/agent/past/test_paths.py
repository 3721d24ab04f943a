"""Where the admin socket and the declared tunnels are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.past.paths import admin_socket_path, declared_path, history_path, kept_path, owned_name
from reconcile.journal import is_state_name
from schemas.names import ClientId, HostPort
from schemas.references import FileRef
from schemas.state import ClientSettings, GatewaySettings, TlsClient, TlsGateway

TLS = TlsGateway(cert=FileRef("gw.crt"), key=FileRef("gw.key"), client_ca=FileRef("ca.crt"))
PLAIN = GatewaySettings(tls=TLS)
MOVED = GatewaySettings(tls=TLS, socket="/run/tidegate.sock", data="/var/lib/tidegate")


@pytest.mark.parametrize(
    ("state", "socket", "declared"),
    [
        ("/etc/tidegate/gateway.yaml", "/etc/tidegate/gateway.sock", "/etc/tidegate/gateway.api.toml"),
        ("/etc/tidegate/gateway.TOML", "/etc/tidegate/gateway.sock", "/etc/tidegate/gateway.api.toml"),
        ("/etc/tidegate/sites.d", "/etc/tidegate/sites.d.sock", "/etc/tidegate/sites.d.api.toml"),
        ("/etc/tidegate/sites/", "/etc/tidegate/sites.sock", "/etc/tidegate/sites.api.toml"),
        ("/etc/tidegate/gw.old.yml", "/etc/tidegate/gw.old.sock", "/etc/tidegate/gw.old.api.toml"),
    ],
)
def test_both_are_beside_the_state_and_carry_its_name(state: str, socket: str, declared: str) -> None:
    assert admin_socket_path(Path(state), PLAIN) == Path(socket)
    assert declared_path(Path(state), PLAIN) == Path(declared)


def test_the_state_may_move_both_and_the_fragment_keeps_its_name() -> None:
    state = Path("/etc/tidegate/gateway.yaml")

    assert admin_socket_path(state, MOVED) == Path("/run/tidegate.sock")
    assert declared_path(state, MOVED) == Path("/var/lib/tidegate/gateway.api.toml")


def test_a_client_has_a_socket_too() -> None:
    settings = ClientSettings(
        id=ClientId("homelab"),
        gateways=(HostPort("gw1", 9056),),
        tls=TlsClient(cert=FileRef("c.crt"), key=FileRef("c.key"), ca=FileRef("ca.crt")),
    )

    assert admin_socket_path(Path("/srv/client.yaml"), settings) == Path("/srv/client.sock")


def test_the_history_is_beside_the_state_or_where_its_data_is() -> None:
    state = Path("/etc/tidegate/gateway.yaml")

    assert history_path(state, PLAIN) == Path("/etc/tidegate/gateway.history")
    assert history_path(state, MOVED) == Path("/var/lib/tidegate/gateway.history")
    assert history_path(Path("/etc/tidegate/sites.d"), PLAIN) == Path("/etc/tidegate/sites.d.history")


def test_what_clients_declare_is_kept_beside_that_fragment_and_is_no_state_file() -> None:
    state = Path("/etc/tidegate/gateway.yaml")

    assert kept_path(state, PLAIN) == Path("/etc/tidegate/gateway.clients")
    assert kept_path(state, MOVED) == Path("/var/lib/tidegate/gateway.clients")
    assert kept_path(Path("/etc/tidegate/sites.d"), PLAIN) == Path("/etc/tidegate/sites.d.clients")
    assert not is_state_name(kept_path(state, MOVED).name)


def test_the_fragment_has_one_name_wherever_it_is() -> None:
    assert owned_name(Path("/etc/tidegate/gateway.yaml")) == "gateway.api.toml"
    assert owned_name(Path("/etc/tidegate/sites.d")) == "sites.d.api.toml"


def test_a_relative_path_means_the_same_file_as_the_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.chdir(state)

    assert admin_socket_path(Path("gateway.yaml"), PLAIN) == state / "gateway.sock"
    assert admin_socket_path(Path(), PLAIN) == tmp_path / "state.sock"
    assert admin_socket_path(Path("../state"), PLAIN) == tmp_path / "state.sock"


def test_a_state_file_that_is_a_link_has_its_socket_beside_the_link(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "gateway.yaml").symlink_to("..data/gateway.yaml")

    assert admin_socket_path(tmp_path / "gateway.yaml", PLAIN) == tmp_path / "gateway.sock"
