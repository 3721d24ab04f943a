"""Each way a handshake fails, made to fail: in memory, and some over sockets with the link's own TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from agent.keys.certificates import Credentials, create_authority, sign_client
from tests.support import pki
from tests.support.handshake import end, shake_hands
from transport.pump.sockets import accept_link, dial_link
from transport.tls import client_context, server_context
from transport.tls_errors import explain_outer_error, explain_tls_error

CA = pki.authority()
OTHER = create_authority(name="Other CA")
NAMESAKE = create_authority(name="Test authority")  # another key under the name of CA
LONG_AGO = datetime.now(UTC) - timedelta(days=900)
LATER = datetime.now(UTC) + timedelta(days=30)


def server(credentials: Credentials | None = None, *, ca: Credentials = CA) -> ssl.SSLContext:
    credentials = credentials or pki.gateway()
    return server_context(cert=credentials.certificate, key=credentials.key, ca=ca.certificate)


def client(credentials: Credentials | None = None, *, ca: Credentials = CA) -> ssl.SSLContext:
    credentials = credentials or pki.client()
    return client_context(cert=credentials.certificate, key=credentials.key, ca=ca.certificate)


def without_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=CA.certificate.decode())
    return context


def altered(credentials: Credentials) -> Credentials:
    """The same, with one bit of the signature turned over."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(credentials.certificate.decode()))
    der[-1] ^= 1
    return Credentials(certificate=ssl.DER_cert_to_PEM_cert(bytes(der)).encode(), key=credentials.key)


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = version
    return context


def with_ciphers(ciphers: str, context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers(ciphers)
    return only(ssl.TLSVersion.TLSv1_2, context)


NOT_OURS = "not signed by the authority this side trusts"
NOT_THEIRS = "does not know the authority that signed this side's certificate"

# contexts of client and server, the name dialed, what the client is told, what the gateway is told
FAILURES: dict[str, tuple[Callable[[], tuple[ssl.SSLContext, ssl.SSLContext]], str, str, str]] = {
    "the gateway's certificate is of another authority": (
        lambda: (client(ca=OTHER), server()),
        *("localhost", NOT_OURS, NOT_THEIRS),
    ),
    "the client's certificate is of another authority": (
        lambda: (client(sign_client(OTHER, client_id="homelab")), server()),
        *("localhost", NOT_THEIRS, NOT_OURS),
    ),
    "the client's certificate is of another authority of the same name": (
        lambda: (client(sign_client(NAMESAKE, client_id="homelab")), server()),
        *("localhost", NOT_THEIRS, NOT_OURS),
    ),
    "the client's certificate was altered": (
        lambda: (client(altered(pki.client())), server()),
        *("localhost", "this side's signature wrong", "certificate is wrong, so it was altered"),
    ),
    "the gateway's certificate has expired": (
        lambda: (client(), server(pki.gateway(now=LONG_AGO))),
        *("localhost", "has expired: issue a new one", "finds this side's certificate expired"),
    ),
    "the client's certificate has expired": (
        lambda: (client(pki.client(now=LONG_AGO)), server()),
        *("localhost", "finds this side's certificate expired", "has expired: issue a new one"),
    ),
    "the client's certificate is not valid yet": (
        lambda: (client(pki.client(now=LATER)), server()),
        *("localhost", "refuses this side's certificate", "not valid yet: set the clocks"),
    ),
    "the gateway is dialed by a name it does not have": (
        lambda: (client(), server()),
        "gw9.example.com",
        "not for the name or address that was dialed (gw9.example.com): dial it by a name",
        "refuses this side's certificate",
    ),
    "the gateway is dialed by an address it does not have": (
        lambda: (client(), server()),
        "192.0.2.9",
        "not for the name or address that was dialed (192.0.2.9): dial it by a name",
        "refuses this side's certificate",
    ),
    "a client's certificate poses as a gateway": (
        lambda: (client(), server(pki.client())),
        *(
            "localhost",
            "made for another purpose: a client needs",
            "refuses this side's certificate as made for",
        ),
    ),
    "a gateway's certificate poses as a client": (
        lambda: (client(pki.gateway()), server()),
        *(
            "localhost",
            "refuses this side's certificate as made for",
            "made for another purpose: a client needs",
        ),
    ),
    "the client has no certificate, TLS 1.3": (
        lambda: (without_certificate(), server()),
        *("localhost", "asks for a certificate and this side has none", "showed no certificate"),
    ),
    "the client has no certificate, TLS 1.2": (
        lambda: (only(ssl.TLSVersion.TLSv1_2, without_certificate()), server()),
        *("localhost", "it wants a certificate", "showed no certificate"),
    ),
    "no TLS version in common": (
        lambda: (only(ssl.TLSVersion.TLSv1_2, client()), only(ssl.TLSVersion.TLSv1_3, server())),
        *("localhost", "refuses TLS 1.2 and 1.3", "no TLS version or cipher in common"),
    ),
    "no cipher in common": (
        lambda: (
            with_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256", client()),
            with_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384", server()),
        ),
        *("localhost", "has no cipher of this side's", "no TLS version or cipher in common"),
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_each_side_is_told_what_is_wrong_and_what_to_do(case: str) -> None:
    contexts, dialed, client_is_told, gateway_is_told = FAILURES[case]

    result = shake_hands(*contexts(), dialed=dialed)

    assert result.client.error is not None, (
        "also where the refusal comes only with the first read, as in TLS 1.3"
    )
    assert result.server.error is not None
    assert client_is_told in explain_tls_error(result.client.error)
    assert gateway_is_told in explain_tls_error(result.server.error)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "speaks plain HTTP on a port that wants TLS"),
        (b"CONNECT x:443 HTTP/1.1\r\n\r\n", "takes this port for an HTTP proxy"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak TLS"),
        (b"\x16\x03\x01\x00\x05garbage", "does not speak TLS"),
        (b"\x00" * 64, "does not speak TLS"),
        (b"", "closed the connection during the TLS handshake"),
    ],
)
def test_a_gateway_says_what_came_instead_of_a_handshake(sent: bytes, said: str) -> None:
    side = end(server(), server_side=True)

    side.feed(sent)

    assert side.error is not None
    assert said in explain_tls_error(side.error)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS: check the address and port"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak TLS: check the address and port"),
        (b"220 mail.example.com ESMTP\r\n", "does not speak TLS: check the address and port"),
        (b"", "closed the connection during the TLS handshake"),
        # fatal alerts that our own gateway never sends
        (b"\x15\x03\x03\x00\x02\x02\x70", "does not answer to the name that was dialed"),
        (b"\x15\x03\x03\x00\x02\x02\x78", "speaks another protocol"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "failed inside: look into its log"),
    ],
)
def test_a_client_says_what_came_instead_of_a_gateway(sent: bytes, said: str) -> None:
    side = end(client(), server_side=False, server_hostname="localhost")
    side.step()

    side.feed(sent)

    assert side.error is not None
    assert said in explain_tls_error(side.error)


def test_every_sentence_is_one_line_and_names_no_library() -> None:
    for contexts, dialed, _, _ in FAILURES.values():
        result = shake_hands(*contexts(), dialed=dialed)
        for side in (result.client, result.server):
            assert side.error is not None
            said = explain_tls_error(side.error)
            assert said.isprintable()
            assert ": " in said, "what is wrong, then what to do"
            assert not {"_ssl.c", "SSLV3", "ALERT"} & set(said.replace(":", " ").split())


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            "the gateway's certificate is of another authority",
            " is signed by no authority that this system or",
        ),
        ("the gateway's certificate has expired", " has expired: issue a new one"),
        (
            "the gateway is dialed by a name it does not have",
            " is not for the name or address that was dialed (gw9.example.com): dial it by a name in the",
        ),
        ("a client's certificate poses as a gateway", " was made for another purpose: "),
    ],
)
def test_the_certificate_of_a_web_server_in_between_is_not_called_a_gateways(case: str, said: str) -> None:
    contexts, dialed, _, _ = FAILURES[case]
    result = shake_hands(*contexts(), dialed=dialed)
    assert result.client.error is not None

    told = explain_outer_error(result.client.error, "the web server at www.example.com:443")

    assert told.startswith(f"the certificate of the web server at www.example.com:443{said}")
    assert "pki" not in told
    assert told.isprintable()


def test_what_a_web_server_says_of_anything_else_is_told_as_of_others() -> None:
    contexts, dialed, client_is_told, _ = FAILURES["no TLS version in common"]
    result = shake_hands(*contexts(), dialed=dialed)
    assert result.client.error is not None

    assert client_is_told in explain_outer_error(result.client.error, "the web server at www.example.com:443")


def test_what_another_library_wrapped_is_found() -> None:
    result = shake_hands(client(ca=OTHER), server())
    assert result.client.error is not None

    wrapped = anyio.BrokenResourceError()
    wrapped.__cause__ = result.client.error
    assert NOT_OURS in explain_tls_error(wrapped)


def test_a_port_where_nothing_listens_is_said_to_be_one() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening
        with pytest.raises(ConnectionRefusedError) as raised, socket.create_connection(bound.getsockname()):
            pass

    assert explain_tls_error(raised.value).startswith("nothing listens there")


def test_a_name_that_nobody_has_is_said_to_be_unknown() -> None:
    with pytest.raises(socket.gaierror) as raised:
        socket.getaddrinfo("no-such-host.invalid", 443, flags=socket.AI_NUMERICHOST)

    assert explain_tls_error(raised.value).startswith("the name is not known")


# A link may run on a TLS library that spells the reasons in its own way. What the one side finds wrong it
# says over sockets too; whether the other still gets to hear it depends on who hangs up first.


@pytest.mark.anyio
@pytest.mark.parametrize(
    "case",
    [
        "the client's certificate is of another authority",
        "the client's certificate has expired",
        "a gateway's certificate poses as a client",
        "the client has no certificate, TLS 1.3",
        "no TLS version in common",
    ],
)
async def test_a_gateway_says_the_same_with_the_links_own_tls(case: str) -> None:
    contexts, dialed, _, gateway_is_told = FAILURES[case]
    dialing, accepting = contexts()

    def dial(address: tuple[str, int]) -> None:
        with (
            suppress(OSError),
            socket.create_connection(address) as connection,
            dialing.wrap_socket(connection, server_hostname=dialed) as tls,
        ):
            tls.read()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, dial, listening.getsockname())
            await anyio.wait_readable(listening)
            connection, _ = listening.accept()
            connection.setblocking(False)
            with pytest.raises(ssl.SSLError) as raised:
                await accept_link(connection, accepting, handshake_timeout=10)
            connection.close()

    assert gateway_is_told in explain_tls_error(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "case",
    [
        "the gateway's certificate is of another authority",
        "the gateway's certificate has expired",
        "a client's certificate poses as a gateway",
        "the gateway is dialed by an address it does not have",
    ],
)
async def test_a_client_says_the_same_with_the_links_own_tls(case: str) -> None:
    contexts, dialed, client_is_told, _ = FAILURES[case]
    dialing, accepting = contexts()
    if dialed != "localhost":  # what is dialed here is loopback
        accepting = server(pki.gateway("gw1.example.com"))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def accept() -> None:
            with (
                suppress(OSError),
                listening.accept()[0] as connection,
                accepting.wrap_socket(connection, server_side=True) as tls,
            ):
                tls.read()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, accept)
            with pytest.raises(ssl.SSLError) as raised:
                await dial_link("127.0.0.1", port, dialing, handshake_timeout=10)

    assert client_is_told.partition(" (")[0] in explain_tls_error(raised.value)
