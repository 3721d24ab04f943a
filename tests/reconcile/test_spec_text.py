"""Specifications in the words of the state file."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from reconcile.desired import AdmissionSpec, ControlSpec, DeclarationSpec, LinkSpec, ServicesSpec, Spec
from reconcile.spec_text import Setting, changed_settings
from schemas.names import (
    ClientId,
    HostPort,
    ListenAddress,
    ProxyProtocol,
    ServiceEntry,
    ServiceName,
    TcpTarget,
    TunnelName,
    parse_listen,
)
from schemas.references import EnvRef, InlinePem
from schemas.state import OwnTunnel

from .samples import CLIENT_TLS, GATEWAY_TLS, TIMING, listener, specs

CONTROL = ControlSpec(address=ListenAddress("0.0.0.0", 9056), tls=GATEWAY_TLS, timing=TIMING)


@given(specs)
def test_equal_specifications_differ_in_nothing(spec: Spec) -> None:
    assert changed_settings(spec, spec) == ()
    assert changed_settings(None, None) == ()


@given(specs)
def test_what_is_new_has_no_before_and_what_goes_no_after(spec: Spec) -> None:
    new, gone = changed_settings(None, spec), changed_settings(spec, None)

    assert all(setting.before is None and setting.after is not None for setting in new)
    assert gone == tuple(Setting(name=one.name, before=one.after, after=None) for one in new)


def test_only_what_differs_is_told() -> None:
    slower = replace(CONTROL, timing=replace(TIMING, ping_interval=90.0))

    assert changed_settings(CONTROL, slower) == (Setting(name="ping_interval", before="15s", after="90s"),)


def test_an_inline_key_that_changed_is_told_of_and_not_shown() -> None:
    before = replace(CONTROL, tls=GATEWAY_TLS.model_copy(update={"key": InlinePem("one secret")}))
    after = replace(CONTROL, tls=GATEWAY_TLS.model_copy(update={"key": InlinePem("another secret")}))

    (setting,) = changed_settings(before, after)

    assert setting == Setting(name="tls.key", before="PEM in the file", after="PEM in the file")


def test_a_reference_is_told_by_where_it_leads() -> None:
    after = replace(CONTROL, tls=GATEWAY_TLS.model_copy(update={"key": EnvRef("GATEWAY_KEY")}))

    (setting,) = changed_settings(CONTROL, after)

    assert (setting.before, setting.after) == ("gw.key", "the environment variable GATEWAY_KEY")


ADMISSION = AdmissionSpec(clients=frozenset({ClientId("home")}), domain=None, admins=frozenset())


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (
            replace(ADMISSION, clients=None),
            {
                "client home": ("may connect", None),
                "clients": (None, "every client that client_ca signed"),
            },
        ),
        (replace(ADMISSION, domain="example.com"), {"domain": (None, "example.com")}),
        (
            replace(ADMISSION, admins=frozenset({ClientId("ops")})),
            {"admin ops": (None, "may change everything")},
        ),
    ],
)
def test_each_client_and_admin_is_told_by_itself(
    after: AdmissionSpec, told: dict[str, tuple[str | None, str | None]]
) -> None:
    found = {one.name: (one.before, one.after) for one in changed_settings(ADMISSION, after)}

    assert found == told


def test_a_service_is_told_with_its_address() -> None:
    before = ServicesSpec(targets=((ServiceName("web"), ServiceEntry(TcpTarget("::1", 80))),))
    after = ServicesSpec(targets=((ServiceName("web"), ServiceEntry(TcpTarget("::1", 81))),))

    assert changed_settings(before, after) == (
        Setting(name="service web", before="[::1]:80", after="[::1]:81"),
    )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "web on 0.0.0.0:80 [::]:80"),
        ({"hostname": ("a.test",)}, "web on 0.0.0.0:80 [::]:80 for a.test"),
        ({"proxy_protocol": ProxyProtocol.V2}, "web on 0.0.0.0:80 [::]:80 (PROXY v2)"),
    ],
)
def test_an_own_tunnel_is_told_without_an_arrow_which_stands_between_before_and_after(
    more: dict[str, object], told: str
) -> None:
    own = OwnTunnel(name=TunnelName("out"), listen=parse_listen(":80"), service=ServiceName("web"))
    after = DeclarationSpec(tunnels=(own.model_copy(update=more),))

    assert changed_settings(None, after) == (Setting(name="tunnel out", before=None, after=told),)


def test_a_link_is_told_with_its_id_and_a_listener_with_its_patience() -> None:
    link = LinkSpec(
        gateway=HostPort("gw1", 9056), session=1, client_id=ClientId("a"), tls=CLIENT_TLS, timing=TIMING
    )

    (renamed,) = changed_settings(link, replace(link, client_id=ClientId("b")))
    (patient,) = changed_settings(listener(80), replace(listener(80), peek_timeout=0.5))

    assert (renamed.name, renamed.before, renamed.after) == ("id", "a", "b")
    assert (patient.name, patient.before, patient.after) == ("peek_timeout", "3s", "500ms")
