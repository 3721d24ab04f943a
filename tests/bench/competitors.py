"""Other tunnels, where they are installed: frp, rathole, chisel and bore.

Rule: each is configured as its own documentation shows, with the best protection that it has, and nothing
that slows it down. The certificates are those that Tidegate's gateway and client would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import PrivateFormat, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from tests.support.site import Site

from .processes import running, wait_listening
from .systems import CLIENT, Running, Services, System, path_of

_TOKEN: Final = "only-for-this-run"  # proves who is there, where a certificate does not
_NAME: Final = "gateway.test"  # which every site's gateway certificate is good for
_BORE_CONTROL: Final = 7835  # bore has no other; the address is this site's own


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@contextmanager
def frp(place: Site, services: Services) -> Iterator[Running]:
    """frps and frpc from 0.52 on, which read TOML: one multiplexed connection, certificates on both sides."""
    place.issue(CLIENT)
    public = {name: place.listen() for name in services}
    host, port = _split(place.control)
    (place.directory / "frps.toml").write_text(
        f"""bindAddr = "{host}"
bindPort = {port}
proxyBindAddr = "{host}"
transport.tls.force = true
transport.tls.certFile = "pki/gateway.crt"
transport.tls.keyFile = "pki/gateway.key"
transport.tls.trustedCaFile = "pki/ca.crt"
"""
    )
    proxies = "".join(
        f"""[[proxies]]
name = "{name}"
type = "tcp"
localIP = "{_split(target)[0]}"
localPort = {_split(target)[1]}
remotePort = {_split(public[name])[1]}
"""
        for name, target in services.items()
    )
    (place.directory / "frpc.toml").write_text(
        f"""serverAddr = "{host}"
serverPort = {port}
transport.tls.certFile = "pki/{CLIENT}.crt"
transport.tls.keyFile = "pki/{CLIENT}.key"
transport.tls.trustedCaFile = "pki/ca.crt"
transport.tls.serverName = "{_NAME}"
{proxies}"""
    )
    with running("frps", [path_of("frps"), "-c", "frps.toml"], place.directory) as one:
        wait_listening(place.control, one)
        with running("frpc", [path_of("frpc"), "-c", "frpc.toml"], place.directory) as other:
            yield Running(public=public, processes={"frps": one, "frpc": other})


@contextmanager
def rathole(place: Site, services: Services) -> Iterator[Running]:
    """TLS with the server's certificate; the client proves itself with a token, which is all that it can."""
    public = {name: place.listen() for name in services}
    _write_pkcs12(place.pki, place.directory / "gateway.pfx")

    def blocks(side: str, key: str, addresses: Services) -> str:
        return "".join(
            f'[{side}.services.{name}]\n{key} = "{address}"\n' for name, address in addresses.items()
        )

    (place.directory / "server.toml").write_text(
        f"""[server]
bind_addr = "{place.control}"
default_token = "{_TOKEN}"
[server.transport]
type = "tls"
[server.transport.tls]
pkcs12 = "gateway.pfx"
pkcs12_password = "{_TOKEN}"
{blocks("server", "bind_addr", public)}"""
    )
    (place.directory / "client.toml").write_text(
        f"""[client]
remote_addr = "{place.control}"
default_token = "{_TOKEN}"
[client.transport]
type = "tls"
[client.transport.tls]
trusted_root = "pki/ca.crt"
hostname = "{_NAME}"
{blocks("client", "local_addr", services)}"""
    )
    program = path_of("rathole")
    with running("server", [program, "--server", "server.toml"], place.directory) as one:
        wait_listening(place.control, one)
        with running("client", [program, "--client", "client.toml"], place.directory) as other:
            yield Running(public=public, processes={"server": one, "client": other})


def _write_pkcs12(pki: Path, file: Path) -> None:
    """The gateway's certificate and key, encrypted as old readers of the format expect it."""
    key = load_pem_private_key((pki / "gateway.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())
        .build(_TOKEN.encode())
    )
    file.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"gateway",
            key,
            load_pem_x509_certificate((pki / "gateway.crt").read_bytes()),
            load_pem_x509_certificates((pki / "ca.crt").read_bytes()),
            encryption,
        )
    )


@contextmanager
def chisel(place: Site, services: Services) -> Iterator[Running]:
    """SSH in a WebSocket in TLS, with certificates on both sides."""
    place.issue(CLIENT)
    public = {name: place.listen() for name in services}
    host, port = _split(place.control)
    program = path_of("chisel")
    server = (
        *(program, "server", "--reverse", "--host", host, "--port", f"{port}"),
        *("--tls-cert", "pki/gateway.crt", "--tls-key", "pki/gateway.key", "--tls-ca", "pki/ca.crt"),
    )
    client = (
        *(program, "client", "--tls-ca", "pki/ca.crt"),
        *("--tls-cert", f"pki/{CLIENT}.crt", "--tls-key", f"pki/{CLIENT}.key"),
        f"https://{place.control}",
        *(f"R:{public[name]}:{target}" for name, target in services.items()),
    )
    with running("server", server, place.directory) as one:
        wait_listening(place.control, one)
        with running("client", client, place.directory) as other:
            yield Running(public=public, processes={"server": one, "client": other})


@contextmanager
def bore(place: Site, services: Services) -> Iterator[Running]:
    """No encryption at all; a client for each service, which proves itself with a secret."""
    public = {name: place.listen() for name in services}
    program = path_of("bore")
    server = (program, "server", "--bind-addr", place.address, "--secret", _TOKEN)
    with ExitStack() as stack:
        processes = {"server": stack.enter_context(running("server", server, place.directory))}
        wait_listening(f"{place.address}:{_BORE_CONTROL}", processes["server"])
        for name, target in services.items():
            host, port = _split(target)
            client = (
                *(program, "local", f"{port}", "--local-host", host, "--to", place.address),
                *("--port", f"{_split(public[name])[1]}", "--secret", _TOKEN),
            )
            role = f"client {name}"
            processes[role] = stack.enter_context(running(f"client-{name}", client, place.directory))
        yield Running(public=public, processes=processes)


COMPETITORS: Final = (
    System(name="frp", secured="mutual TLS", start=frp, needs=("frps", "frpc")),
    System(
        name="rathole", secured="TLS of the server, token of the client", start=rathole, needs=("rathole",)
    ),
    System(name="chisel", secured="SSH in mutual TLS", start=chisel, needs=("chisel",)),
    System(name="bore", secured="not encrypted", start=bore, needs=("bore",)),
)
