"""What an operator can ask for: the state files of a gateway and of a client, version 1.

Rule: these models are the whole language of the state file; a key that is not a
field here does not exist. They are values: frozen, compared by content, and free
of anything that is only known when the agent runs. How each field is spelled in
a file is decided in ``fields``, and what must hold between entries in ``rules``.
"""

from __future__ import annotations

from typing import Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .fields import (
    AdminsField,
    BalanceField,
    BindField,
    ClientIdField,
    ClientsField,
    DeclaredByField,
    DeclaresField,
    DestinationsField,
    DomainField,
    DrainField,
    DurationField,
    EgressClientsField,
    FingerprintField,
    FlagField,
    GatewaysField,
    HostnameField,
    ListenField,
    ListenPatternsField,
    LogLevelField,
    ManagementField,
    MaxPortsField,
    NameField,
    NetworksField,
    OptionalReferenceField,
    PasswordField,
    PathField,
    PortRangeField,
    PortsField,
    ProxyField,
    ProxyProtocolField,
    ReferenceField,
    SerialField,
    ServiceGlobsField,
    ServiceNameField,
    ServicesField,
    SessionsField,
    Socks5ListenField,
    SocksUserField,
    TunnelNameField,
)
from .names import Balance, ListenAddress, ProxyProtocol
from .validating import Fault, faulty

DEFAULT_CONTROL = (ListenAddress("0.0.0.0", 9056),)  # noqa: S104 - clients come from anywhere

# Said of both roles.
_CERT: Final = "The certificate, followed by those between it and its authority, if there are any."
_KEY: Final = "The private key of the certificate."
_SOCKET: Final = (
    "The unix socket of the HTTP API, over which commands such as tidegate status ask. "
    "Default: beside the state file, under its name with the end .sock."
)
_PING_INTERVAL: Final = "How often the other end of a session is asked whether it is still there."
_PING_TIMEOUT: Final = "How long the answer to that may take before the session is given up."
_HALF_CLOSE_TIMEOUT: Final = (
    "How long a connection that has ended in one direction may stand still in the other before it is dropped."
)
_DRAIN: Final = (
    "How long connections that are open may take to finish when {} With 0s they are dropped at once."
)
_LOG_LEVEL: Final = (
    "The least that is logged. Default: what --log-level says, or else info. A change takes effect at once."
)
_ALLOW_EMPTY: Final = (
    "Whether to accept what is otherwise taken for an accident: a state that offers nothing where the one "
    "before did, or a file that stops in the middle of a line."
)

# The first example of a field is what a message tells an operator to write. Its description is what an editor
# shows, as it shows the first paragraph of a docstring; a default that a file cannot say is told there.


class _Declared(BaseModel):
    # Inputs are hidden because pydantic would otherwise print keys and certificates in its errors. A model is
    # built when it is first used: an agent has use for those of its own role.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class TlsGateway(_Declared):
    """The gateway's certificate and key, and the authority that signs its clients' certificates."""

    cert: ReferenceField = Field(description=_CERT, examples=["pki/gateway.crt"])
    key: ReferenceField = Field(description=_KEY, examples=["pki/gateway.key"])
    client_ca: ReferenceField = Field(
        description="The certificates of the authorities whose clients may connect.", examples=["pki/ca.crt"]
    )
    crl: OptionalReferenceField = Field(
        default=None,
        description="The certificates that these authorities have revoked: one list (CRL) or several, in PEM "
        "or DER. Default: none but those under revoked.",
        examples=["pki/crl.pem"],
    )


class TlsClient(_Declared):
    """The client's certificate and key, and the authority that signs its gateways' certificates."""

    cert: ReferenceField = Field(description=_CERT, examples=["pki/homelab.crt"])
    key: ReferenceField = Field(description=_KEY, examples=["pki/homelab.key"])
    ca: ReferenceField = Field(
        description="The certificates of the authorities whose gateways are trusted.", examples=["pki/ca.crt"]
    )


class GatewaySettings(_Declared):
    """The gateway itself: its addresses, its certificate, and how long it waits for others.

    Durations are in seconds; ``socket`` and ``data`` are resolved paths. ``data`` is None for the
    directory of the state file.
    """

    name: NameField = Field(
        default=None,
        description="What the gateway calls itself, in its status and to its clients. "
        "Default: the host name of the machine.",
        examples=["gw1"],
    )
    control: ListenField = Field(
        default=DEFAULT_CONTROL,
        description="Where clients connect, over mutual TLS.",
        examples=["0.0.0.0:9056"],
    )
    accept_proxy_protocol: NetworksField = Field(
        default=(),
        description="The load balancers in front of the control ports: what comes from them must begin "
        "with a PROXY protocol header, which says who the client is. A reverse proxy that brings WebSockets "
        "may say it by X-Forwarded-For instead. Default: none.",
        examples=[["10.0.0.5", "10.1.0.0/16"]],
    )
    management: ManagementField = Field(
        default=(),
        description="Where the HTTP API answers those who show a client certificate. "
        "Default: nowhere, which leaves the unix socket.",
        examples=["127.0.0.1:9057"],
    )
    socket: PathField = Field(default=None, description=_SOCKET, examples=["run/gateway.sock"])
    data: PathField = Field(
        default=None,
        description="The directory of what Tidegate itself writes: the tunnels declared through its API, and "
        "the last good states. Default: that of the state file.",
        examples=["data"],
    )
    admins: AdminsField = Field(
        default=(),
        description="The ids of the clients whose certificates may change everything through the API. "
        "Default: nobody, which leaves the unix socket.",
        examples=[["ops"]],
    )
    domain: DomainField = Field(
        default=None,
        description="The domain behind the id in the common name of every client's certificate: ID@DOMAIN. "
        "Default: none, and the common name is the id alone.",
        examples=["example.com"],
    )
    tls: TlsGateway = Field(
        examples=[{"cert": "pki/gateway.crt", "key": "pki/gateway.key", "client_ca": "pki/ca.crt"}]
    )
    peek_timeout: DurationField = Field(
        default=3.0,
        description="How long a visitor of a port with hostnames may take to name one, before the tunnel "
        "without a hostname takes it or, if there is none, it is turned away.",
        examples=["3s"],
    )
    ping_interval: DurationField = Field(default=15.0, description=_PING_INTERVAL, examples=["15s"])
    ping_timeout: DurationField = Field(default=10.0, description=_PING_TIMEOUT, examples=["10s"])
    half_close_timeout: DurationField = Field(default=300.0, description=_HALF_CLOSE_TIMEOUT, examples=["5m"])
    drain: DrainField = Field(
        default=30.0, description=_DRAIN.format("the gateway is stopped."), examples=["30s"]
    )
    log_level: LogLevelField = Field(default=None, description=_LOG_LEVEL, examples=["debug"])


class ClientEntry(_Declared):
    """A client that may connect, and what else it may."""

    id: ClientIdField = Field(
        description="The id of the client, which its certificate names; no two clients have the same.",
        examples=["homelab"],
    )
    services: ServiceGlobsField = Field(
        default=None,
        description="The services that it may offer, by name or by a pattern in which * stands for anything. "
        "Default: whichever it likes.",
        examples=[["web", "smtp-*"]],
    )
    listen: ListenPatternsField = Field(
        default=None,
        description="Where tunnels may listen that it declares itself. "
        "Default: wherever no other client does.",
        examples=[["0.0.0.0:8000-8999"]],
    )
    declares: DeclaresField = Field(
        default=None,
        description="Whether the tunnels in its own file are taken, and what becomes of them when its last "
        "session ends: with session they end with it, with kept they stay; none also forbids those that it "
        "declares through the API. Default: through the API alone.",
        examples=["session"],
    )
    max_ports: MaxPortsField = Field(
        default=100, description="How many listen addresses its own tunnels may have.", examples=[20]
    )


class Revocation(_Declared):
    """A certificate that is refused, whoever signed it."""

    serial: SerialField = Field(
        default=None,
        description="Its serial number, as in 4f:2a:09, 0x4f2a09 or decimal. Every authority counts by "
        "itself: this is the number of a certificate of any of those under client_ca. Default: whichever.",
        examples=["4f:2a:09"],
    )
    fingerprint: FingerprintField = Field(
        default=None,
        description="Its SHA-256 fingerprint, as openssl x509 -fingerprint -sha256 prints it. "
        "Default: whichever.",
        examples=["sha256:" + "5e" * 32],
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.serial is None and self.fingerprint is None:
            raise faulty([Fault("this names no certificate; write its serial or its fingerprint")])
        return self


class EgressRule(_Declared):
    """What some clients may reach through the gateway."""

    client: EgressClientsField = Field(description="Whom this is for.", examples=["homelab"])
    to: DestinationsField = Field(
        description="Names (in which * stands for anything, dots too), addresses and networks. Addresses "
        "that are not of the public internet are only reached where a network names them.",
        examples=[["*.example.com", "198.51.100.0/24"]],
    )
    ports: PortsField = Field(description="The ports there.", examples=[[25, 587]])


class Egress(_Declared):
    """What clients may reach through the gateway by SOCKS5: nothing but what is listed here."""

    bind: BindField = Field(
        default=(),
        description="The addresses of this machine to dial from, of each family one at most. "
        "Default: as the system chooses.",
        examples=["203.0.113.5"],
    )
    allow: tuple[EgressRule, ...] = Field(
        default=(), description="Who may reach what. Default: nobody, nothing."
    )


class Tunnel(_Declared):
    """One tunnel: where it listens, which visitors it takes, and where it leads them.

    No hostname means the default route of its ports. ``client`` is in order of
    preference. ``declared_by`` is who declared it through the API, None for a
    tunnel that an operator wrote; only Tidegate's own fragment may hold it.
    """

    name: TunnelNameField = Field(
        description="What the tunnel is called; no two tunnels have the same name.", examples=["blog"]
    )
    listen: ListenField = Field(
        description="The public addresses that visitors connect to.", examples=["0.0.0.0:443"]
    )
    hostname: HostnameField = Field(
        default=(),
        description="The TLS server names or HTTP hosts of the visitors to take; the most exact one wins. "
        "Default: whoever no other tunnel on the same addresses takes.",
        examples=["blog.example.com"],
    )
    client: ClientsField = Field(
        description="The client to lead visitors to; or several, in the order of preference.",
        examples=["homelab"],
    )
    balance: BalanceField = Field(
        default=Balance.PREFERENCE,
        description="Which of several clients takes a visitor, of those that are connected and offer "
        "the service.",
        examples=["round_robin"],
    )
    service: ServiceNameField = Field(
        description="The service to lead visitors to, as the client's state file names it.", examples=["web"]
    )
    proxy_protocol: ProxyProtocolField = Field(
        default=ProxyProtocol.OFF,
        description="The version of the PROXY protocol in which the service is told who the visitor is.",
        examples=["v2"],
    )
    accept_proxy_protocol: NetworksField = Field(
        default=(),
        description="The load balancers in front of these addresses: what comes from them must begin with a "
        "PROXY protocol header, which says who the visitor is. All tunnels of one address say the same. "
        "Default: none.",
        examples=[["10.0.0.5", "10.1.0.0/16"]],
    )
    declared_by: DeclaredByField = Field(default=None, examples=["homelab"])


class GatewayState(_Declared):
    """Everything a gateway is asked to be.

    ``clients`` is None when the file does not list them: then every certificate
    signed by ``client_ca`` may connect.
    """

    gateway: GatewaySettings
    clients: tuple[ClientEntry, ...] | None = Field(
        default=None,
        description="The clients that may connect; with an empty list, none may. "
        "Default: every client whose certificate client_ca has signed.",
    )
    tunnels: tuple[Tunnel, ...] = Field(
        default=(), description="Which public ports are open and where they lead. Default: none."
    )
    revoked: tuple[Revocation, ...] = Field(
        default=(),
        description="Certificates of clients that are refused, beside those in gateway.tls.crl. "
        "Default: none.",
    )
    egress: Egress | None = Field(
        default=None, description="What clients may reach through this gateway. Default: nothing."
    )
    allow_empty: FlagField = Field(default=False, description=_ALLOW_EMPTY)


class ClientSettings(_Declared):
    """The client itself: its gateways, its certificate, and how long it waits for others.

    Durations are in seconds; ``socket`` and ``data`` are resolved paths. ``data`` is None for the
    directory of the state file.
    """

    id: ClientIdField = Field(
        description="The id of the client, as its certificate and the tunnels of its gateways name it.",
        examples=["homelab"],
    )
    gateways: GatewaysField = Field(
        description="The gateways to connect to, each over a session of its own; a name with several "
        "addresses is several gateways, and one that leaves the name is kept for five minutes while it "
        "works. Where only HTTPS passes, wss://HOST/PATH leads to one over a WebSocket; PATH ends in "
        "/tunnel, unless a reverse proxy in between rewrites it. After a failed attempt the next one follows "
        "within 30 s.",
        examples=[["gw1.example.com:9056"]],
    )
    proxy: ProxyField = Field(
        default=None,
        description="The proxy to reach the gateways through: http://USER:PASSWORD@HOST:PORT, https://… "
        "or socks5://…, or where its URL is found; the host gateway is the router of the default route. "
        "With none, there is none. Default: what https_proxy and no_proxy in the environment say.",
        examples=["http://proxy.example.com:3128"],
    )
    local_ports: PortRangeField = Field(
        default=None,
        description="The ports of this machine to dial from. Default: as the system chooses.",
        examples=["40000-40010"],
    )
    sessions: SessionsField = Field(
        default=1,
        description="How many sessions to keep to each gateway. Visitors are spread over them, so that one "
        "TCP connection that loses packets does not hold all of them up.",
        examples=[3],
    )
    tls: TlsClient = Field(
        examples=[{"cert": "pki/homelab.crt", "key": "pki/homelab.key", "ca": "pki/ca.crt"}]
    )
    socket: PathField = Field(default=None, description=_SOCKET, examples=["run/client.sock"])
    data: PathField = Field(
        default=None,
        description="The directory of what Tidegate itself writes: the last good states. "
        "Default: that of the state file.",
        examples=["data"],
    )
    ping_interval: DurationField = Field(default=15.0, description=_PING_INTERVAL, examples=["15s"])
    ping_timeout: DurationField = Field(default=10.0, description=_PING_TIMEOUT, examples=["10s"])
    half_close_timeout: DurationField = Field(default=300.0, description=_HALF_CLOSE_TIMEOUT, examples=["5m"])
    drain: DrainField = Field(
        default=30.0,
        description=_DRAIN.format("the client is stopped, or a session is given up or replaced."),
        examples=["30s"],
    )
    log_level: LogLevelField = Field(default=None, description=_LOG_LEVEL, examples=["debug"])


class Socks5(_Declared):
    """A SOCKS5 port for programs beside the client, through which they reach what a gateway lets them."""

    listen: Socks5ListenField = Field(
        description="Where it listens: an address with its port, or unix:PATH. One that other machines can "
        "reach needs a user.",
        examples=["127.0.0.1:1080"],
    )
    user: SocksUserField = Field(
        default=None, description="Who may use it. Default: whoever can connect.", examples=["mail"]
    )
    password: PasswordField = Field(
        default=None,
        description="Where the password of that user stands. Default: nowhere, and there is no user.",
        examples=[{"file": "socks5.password"}],
    )

    @model_validator(mode="after")
    def _user_has_a_password(self) -> Self:
        if self.user is not None and self.password is None:
            raise faulty(
                [Fault('user: it has no password; add password, for example {"file": "socks5.password"}')]
            )
        if self.password is not None and self.user is None:
            raise faulty([Fault("password: there is no user whose it is; add user")])
        return self

    @model_validator(mode="after")
    def _is_not_open_to_strangers(self) -> Self:
        listen = self.listen
        if self.user is None and isinstance(listen, ListenAddress) and not listen.is_loopback:
            raise faulty(
                [
                    Fault(
                        f'whoever reaches "{listen}" could leave through the gateway; '
                        'add user and password, or listen on "127.0.0.1:1080"',
                        ("listen",),
                    )
                ]
            )
        return self


class OwnTunnel(_Declared):
    """A tunnel that a client asks its gateways for; it leads to the client itself."""

    name: TunnelNameField = Field(
        description="What the tunnel is called; no two tunnels of a client have the same name.",
        examples=["blog"],
    )
    listen: ListenField = Field(
        description="The addresses of the gateway that visitors connect to.", examples=["0.0.0.0:443"]
    )
    hostname: HostnameField = Field(
        default=(),
        description="The TLS server names or HTTP hosts of the visitors to take. "
        "Default: whoever no other tunnel on the same addresses takes.",
        examples=["blog.example.com"],
    )
    service: ServiceNameField = Field(description="The service to lead visitors to.", examples=["web"])
    proxy_protocol: ProxyProtocolField = Field(
        default=ProxyProtocol.OFF,
        description="The version of the PROXY protocol in which the service is told who the visitor is.",
        examples=["v2"],
    )


class ClientState(_Declared):
    """Everything a client is asked to be.

    ``services`` is sorted by name.
    """

    client: ClientSettings
    services: ServicesField = Field(
        default=(),
        description="The services on offer: for each the name that tunnels know it by, and its address. "
        "Default: none.",
        examples=[{"web": "127.0.0.1:8443"}],
    )
    socks5: Socks5 | None = Field(default=None, description="A SOCKS5 port. Default: none.")
    tunnels: tuple[OwnTunnel, ...] = Field(
        default=(),
        description="Tunnels to ask the gateways for, which must allow it in the entry of this client. "
        "Default: none.",
    )
    allow_empty: FlagField = Field(default=False, description=_ALLOW_EMPTY)


State: TypeAlias = GatewayState | ClientState
