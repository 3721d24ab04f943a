"""What an operator can ask for: the state files of a gateway and of a client, version 1.

Rule: these models are the whole language of the state file; a key that is not a
field here does not exist. They are values: frozen, compared by content, and free
of anything that is only known when the agent runs. How each field is spelled in
a file is decided in ``fields``, and what must hold between entries in ``rules``.
"""

from __future__ import annotations

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from .fields import (
    AdminsField,
    ClientIdField,
    ClientsField,
    DeclaredByField,
    DomainField,
    DurationField,
    FlagField,
    GatewaysField,
    HostnameField,
    ListenField,
    ManagementField,
    NameField,
    PathField,
    ProxyProtocolField,
    ReferenceField,
    ServiceNameField,
    ServicesField,
    SessionsField,
    TunnelNameField,
)
from .names import ListenAddress, ProxyProtocol

DEFAULT_CONTROL = (ListenAddress("0.0.0.0", 9056),)  # noqa: S104 - clients come from anywhere

# The first example of a field is what a message tells an operator to write.


class _Declared(BaseModel):
    # Inputs are hidden because pydantic would otherwise print keys and certificates in its errors. A model is
    # built when it is first used: an agent has use for those of its own role.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class TlsGateway(_Declared):
    """The gateway's certificate and key, and the authority that signs its clients' certificates."""

    cert: ReferenceField = Field(examples=["pki/gateway.crt"])
    key: ReferenceField = Field(examples=["pki/gateway.key"])
    client_ca: ReferenceField = Field(examples=["pki/ca.crt"])


class TlsClient(_Declared):
    """The client's certificate and key, and the authority that signs its gateways' certificates."""

    cert: ReferenceField = Field(examples=["pki/homelab.crt"])
    key: ReferenceField = Field(examples=["pki/homelab.key"])
    ca: ReferenceField = Field(examples=["pki/ca.crt"])


class GatewaySettings(_Declared):
    """The gateway itself. Durations are in seconds; ``socket`` and ``data`` are resolved paths.

    ``data`` is the directory of what Tidegate writes itself: the tunnels declared
    through the API. None means the directory of the state file.
    """

    name: NameField = Field(default=None, examples=["gw1"])
    control: ListenField = Field(default=DEFAULT_CONTROL, examples=["0.0.0.0:9056"])
    management: ManagementField = Field(default=(), examples=["127.0.0.1:9057"])
    socket: PathField = Field(default=None, examples=["run/gateway.sock"])
    data: PathField = Field(default=None, examples=["data"])
    admins: AdminsField = Field(default=(), examples=[["ops"]])
    domain: DomainField = Field(default=None, examples=["example.com"])
    tls: TlsGateway = Field(
        examples=[{"cert": "pki/gateway.crt", "key": "pki/gateway.key", "client_ca": "pki/ca.crt"}]
    )
    peek_timeout: DurationField = Field(default=3.0, examples=["3s"])
    ping_interval: DurationField = Field(default=15.0, examples=["15s"])
    ping_timeout: DurationField = Field(default=10.0, examples=["10s"])
    half_close_timeout: DurationField = Field(default=300.0, examples=["5m"])


class ClientEntry(_Declared):
    """A client that may connect."""

    id: ClientIdField = Field(examples=["homelab"])


class Tunnel(_Declared):
    """One declared entry: where it listens, what it matches, and where that leads.

    No hostname means the default route of its ports. ``client`` is in order of
    preference. ``declared_by`` is who declared it through the API, None for a
    tunnel that an operator wrote; only Tidegate's own fragment may hold it.
    """

    name: TunnelNameField = Field(examples=["blog"])
    listen: ListenField = Field(examples=["0.0.0.0:443"])
    hostname: HostnameField = Field(default=(), examples=["blog.example.com"])
    client: ClientsField = Field(examples=["homelab"])
    service: ServiceNameField = Field(examples=["web"])
    proxy_protocol: ProxyProtocolField = Field(default=ProxyProtocol.OFF, examples=["v2"])
    declared_by: DeclaredByField = Field(default=None, examples=["homelab"])


class GatewayState(_Declared):
    """Everything a gateway is asked to be.

    ``clients`` is None when the file does not list them: then every certificate
    signed by ``client_ca`` may connect.
    """

    gateway: GatewaySettings
    clients: tuple[ClientEntry, ...] | None = None
    tunnels: tuple[Tunnel, ...] = ()
    allow_empty: FlagField = False


class ClientSettings(_Declared):
    """The client itself. Durations are in seconds; ``socket`` is a resolved path.

    ``sessions`` is how many the client keeps to each gateway. Visitors are spread over them, so that one
    TCP connection that loses packets does not hold all of them up.
    """

    id: ClientIdField = Field(examples=["homelab"])
    gateways: GatewaysField = Field(examples=[["gw1.example.com:9056"]])
    sessions: SessionsField = Field(default=1, examples=[3])
    tls: TlsClient = Field(
        examples=[{"cert": "pki/homelab.crt", "key": "pki/homelab.key", "ca": "pki/ca.crt"}]
    )
    socket: PathField = Field(default=None, examples=["run/client.sock"])
    ping_interval: DurationField = Field(default=15.0, examples=["15s"])
    ping_timeout: DurationField = Field(default=10.0, examples=["10s"])
    half_close_timeout: DurationField = Field(default=300.0, examples=["5m"])


class ClientState(_Declared):
    """Everything a client is asked to be. ``services`` is sorted by name."""

    client: ClientSettings
    services: ServicesField = ()
    allow_empty: FlagField = False


State: TypeAlias = GatewayState | ClientState
