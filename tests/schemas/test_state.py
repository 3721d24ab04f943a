from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.log_level import LogLevel
from schemas.messages import MAX_SESSIONS
from schemas.names import (
    ClientId,
    HostPort,
    ListenAddress,
    ProxyProtocol,
    ServiceEntry,
    ServiceName,
    TcpTarget,
    TunnelName,
)
from schemas.references import FileRef, InlinePem
from schemas.state import (
    ClientEntry,
    ClientSettings,
    ClientState,
    GatewaySettings,
    GatewayState,
    TlsClient,
    TlsGateway,
    Tunnel,
)

from .reading import CLIENT, GATEWAY, client_of, gateway_of, problems_of

PEM = InlinePem("-----BEGIN PRIVATE KEY-----\nmade up\n")
TLS = TlsGateway(cert=FileRef("a"), key=PEM, client_ca=FileRef("c"))
WEB = Tunnel(
    name=TunnelName("web"),
    listen=(ListenAddress("127.0.0.1", 0),),
    client=(ClientId("homelab"),),
    service=ServiceName("web"),
)


def test_code_builds_a_state_from_values_that_are_parsed_already() -> None:
    state = GatewayState(
        gateway=GatewaySettings(
            name=None, tls=TLS, socket="run/x", domain=None, peek_timeout=0.05, management=(), admins=()
        ),
        clients=(ClientEntry(id=ClientId("homelab")),),
        tunnels=(WEB,),
    )
    assert state.tunnels[0].listen == (ListenAddress("127.0.0.1", 0),)
    assert state.gateway.socket == "run/x"
    assert state.gateway.peek_timeout == 0.05


def test_what_is_left_out_has_the_defaults_of_the_design() -> None:
    gateway = GatewaySettings(tls=TLS)
    assert gateway.control == (ListenAddress("0.0.0.0", 9056),)
    assert (gateway.name, gateway.management, gateway.socket, gateway.admins) == (None, (), None, ())
    assert (gateway.peek_timeout, gateway.ping_interval, gateway.ping_timeout) == (3.0, 15.0, 10.0)
    assert (WEB.hostname, WEB.proxy_protocol, WEB.declared_by) == ((), ProxyProtocol.OFF, None)
    state = GatewayState(gateway=gateway)
    assert (state.clients, state.tunnels, state.allow_empty) == (None, (), False)


def test_a_client_state_is_built_the_same_way() -> None:
    state = ClientState(
        client=ClientSettings(
            id=ClientId("homelab"),
            gateways=(HostPort("gw1", 9056),),
            tls=TlsClient(cert=FileRef("a"), key=FileRef("b"), ca=FileRef("c")),
        ),
        services=((ServiceName("web"), ServiceEntry(TcpTarget("127.0.0.1", 80))),),
    )
    assert state.client.gateways == (HostPort("gw1", 9056),)
    assert dict(state.services) == {"web": ServiceEntry(TcpTarget("127.0.0.1", 80))}


@pytest.mark.parametrize("sessions", [1, 3, MAX_SESSIONS])
def test_a_client_may_keep_as_many_sessions_to_a_gateway_as_one_takes(sessions: int) -> None:
    state = client_of(CLIENT + f"  sessions: {sessions}\n")
    assert state.client.sessions == sessions
    assert state != client_of(CLIENT + f"  sessions: {sessions % MAX_SESSIONS + 1}\n")


def test_a_client_that_says_nothing_of_sessions_keeps_one() -> None:
    assert client_of(CLIENT).client.sessions == 1


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0", "the number 0"),
        ("-1", "the number -1"),
        (f"{MAX_SESSIONS + 1}", f"the number {MAX_SESSIONS + 1}"),
        ("2.0", "the number 2.0"),
        ('"3"', 'the text "3"'),
        ("true", "true"),
        ("[3]", "a list"),
        ("", "no value"),
    ],
)
def test_any_other_number_of_sessions_is_refused_with_one_that_would_do(written: str, told: str) -> None:
    (problem,) = problems_of(CLIENT + f"  sessions: {written}\n")
    assert problem.endswith(
        f": sessions: {told} stands where a whole number from 1 to 16 belongs; write, for example, 3"
    )


@pytest.mark.parametrize(("written", "seconds"), [("0s", 0.0), ("90s", 90.0), ("1.5m", 90.0)])
def test_a_stop_waits_as_long_as_is_written_or_not_at_all(written: str, seconds: float) -> None:
    assert gateway_of(GATEWAY + f"  drain: {written}\n").gateway.drain == seconds
    assert client_of(CLIENT + f"  drain: {written}\n").client.drain == seconds


def test_a_stop_waits_for_half_a_minute_where_nothing_is_written() -> None:
    assert (gateway_of(GATEWAY).gateway.drain, client_of(CLIENT).client.drain) == (30.0, 30.0)


def test_a_drain_without_a_unit_is_refused() -> None:
    (problem,) = problems_of(CLIENT + '  drain: "30"\n')
    assert problem.endswith(': drain: "30" has no unit; write "30s" for seconds (ms, s, m and h are known)')


def test_states_are_values() -> None:
    state = GatewayState(gateway=GatewaySettings(tls=TLS), tunnels=(WEB,))
    same = GatewayState(gateway=GatewaySettings(tls=TLS), tunnels=(WEB,))
    assert state == same
    assert hash(state) == hash(same)
    assert state != GatewayState(gateway=GatewaySettings(tls=TLS))
    with pytest.raises(ValidationError):
        state.allow_empty = True


def test_a_state_shows_its_names_and_not_its_keys() -> None:
    shown = repr(GatewayState(gateway=GatewaySettings(tls=TLS), tunnels=(WEB,)))
    assert "homelab" in shown
    assert "made up" not in shown


def test_even_an_error_of_pydantic_hides_what_it_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        TlsGateway.model_validate({"cert": ["made up"], "key": {"x": "made up"}, "made": "made up"})
    assert "made up" not in str(caught.value)


@pytest.mark.parametrize("level", LogLevel)
def test_a_state_may_say_what_is_logged(level: LogLevel) -> None:
    assert gateway_of(GATEWAY + f"  log_level: {level.value}\n").gateway.log_level is level
    assert client_of(CLIENT + f"  log_level: {level.value}\n").client.log_level is level


def test_a_log_level_that_does_not_exist_is_refused() -> None:
    (problem,) = problems_of(CLIENT + "  log_level: loud\n")
    assert problem.endswith(
        ': log_level: "loud" is not a log level; write "debug", "info", "warning" or "error"'
    )
