"""The way on which a client leaves its network: straight, or through a proxy.

Rule: which way it is for a gateway is decided here, and what a proxy is called in messages. The file counts;
where it says nothing, the environment does, as for curl: ``https_proxy``, or ``all_proxy``, but not for
``no_proxy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final, TypeAlias, assert_never

from agent.keys.references import UnreadableReferenceError, describe, resolve
from reconcile.desired import WayOut
from schemas.errors import TidegateError
from schemas.gateway_address import GatewayAddress
from schemas.proxy_url import NoProxy, ProxyUrl, parse_proxy_url
from schemas.references import EnvRef, FileRef

from .no_proxy import is_exempt

IN_FILE: Final = "client.proxy"


class ProxyError(TidegateError):
    """There is no way through the proxy; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Straight:
    """No proxy."""


@dataclass(frozen=True, slots=True)
class InFile:
    """The proxy that the state file names, or refers to."""

    proxy: ProxyUrl | FileRef | EnvRef


@dataclass(frozen=True, slots=True)
class InEnvironment:
    """The proxy that a variable of the environment names."""

    variable: str
    text: str

    def __repr__(self) -> str:
        return f"InEnvironment({self.variable!r})"  # the text may hold a password


Way: TypeAlias = Straight | InFile | InEnvironment


def choose(way_out: WayOut, gateway: GatewayAddress, environment: Mapping[str, str]) -> Way:
    """The way to a gateway."""
    match way_out.proxy:
        case None:
            return _in_environment(gateway, environment)
        case NoProxy.NONE:
            return Straight()
        case ProxyUrl() | FileRef() | EnvRef() as proxy:
            return InFile(proxy)
    assert_never(way_out.proxy)


def spell(way: Way) -> str:
    """How a status shows the way, without any secret; empty if it is straight."""
    if isinstance(way, Straight):
        return ""
    if isinstance(way, InEnvironment):
        return f"the proxy in ${way.variable}"
    if isinstance(way.proxy, ProxyUrl):
        return str(replace(way.proxy, user=None, password=None))
    return f"the proxy in {describe(way.proxy)}"


def resolves_here(way_out: WayOut, gateway: GatewayAddress, environment: Mapping[str, str]) -> bool:
    """Whether the gateway's name is looked up by this machine. Behind a proxy it is the proxy that does."""
    return not is_address(gateway.host) and choose(way_out, gateway, environment) == Straight()


def read(way: InFile | InEnvironment) -> tuple[ProxyUrl, str]:
    """The proxy, and where it is named. Blocks on the disk.

    :raises ProxyError: if it cannot be read, or makes no sense.
    """
    if isinstance(way, InEnvironment):
        return _parse(way.text if "://" in way.text else f"http://{way.text}", way.variable), way.variable
    if isinstance(way.proxy, ProxyUrl):
        return way.proxy, IN_FILE
    try:
        return follow(way.proxy), IN_FILE
    except ProxyError as error:
        raise ProxyError(f"{IN_FILE}: {error}") from error


def follow(reference: FileRef | EnvRef) -> ProxyUrl:
    """The proxy that stands where a state file refers to. Blocks on the disk.

    :raises ProxyError: if there is none. Nothing of what is there is told.
    """
    try:
        text = resolve(reference, kind="the URL of a proxy").decode().strip()
    except UnreadableReferenceError as error:
        raise ProxyError(str(error)) from error
    except UnicodeDecodeError:
        raise ProxyError(f"{describe(reference)} holds no text: write a proxy's URL there") from None
    return _parse(text, describe(reference))


def is_address(host: str) -> bool:
    """Whether this is an IP address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _in_environment(gateway: GatewayAddress, environment: Mapping[str, str]) -> Way:
    if is_exempt(gateway.host, gateway.port, _variable("no_proxy", environment)[1]):
        return Straight()
    for name in ("https_proxy", "all_proxy"):
        variable, text = _variable(name, environment)
        if text:
            return InEnvironment(variable, text)
    return Straight()


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """A variable is known by its name in small letters and in capitals; in small ones it counts first."""
    for variable in (name, name.upper()):
        text = environment.get(variable, "").strip()
        if text:
            return variable, text
    return name, ""


def _parse(text: str, said_in: str) -> ProxyUrl:
    try:
        return parse_proxy_url(text)
    except ValueError as error:
        raise ProxyError(f"{said_in}: {error}") from None
