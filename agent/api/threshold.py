"""threshold's JSON for tunnels, to and from ours.

Rule: pure, and the only file that knows threshold's words. One of its entries is
one tunnel of one client on one port:

======================  =============================================================
``ClientId``            the client
``ListenAddress``       an IP address of the gateway; ``""`` is every address, as ``:443``
``ListenPort``          1 to 65535
``ListenHostnameGlob``  the hostname; ``""`` and ``"*"`` are none: the port's default route
``BackEndService``      the service
``HaProxyProxyProtocol``  ``true`` is PROXY v1, which is what threshold sends, ``false`` off
======================  =============================================================

An entry may leave out, or set to null, whatever has a default: all but the client,
the port and the service.

Decision: ``HaProxyProxyProtocol`` may also be ``"off"``, ``"v1"`` or ``"v2"``. What we
answer stays a boolean, true for both versions, because a program written for
threshold cannot read anything else there. Whoever needs to know the version reads
``GET /v1/status``, and whoever sends back what it got asks for v1.

Decision: no hostname is answered as ``"*"``, as threshold's example has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final

from schemas.names import (
    ClientId,
    ListenAddress,
    ProxyProtocol,
    ServiceName,
    check_client_id,
    check_name,
    parse_hostname,
    parse_listen,
)
from schemas.quoting import describe, quote
from schemas.state import Tunnel
from schemas.suggest import suggest

from .naming import suggested_name
from .problems import MAX_PROBLEMS, RequestProblem

_CLIENT: Final = "ClientId"
_ADDRESS: Final = "ListenAddress"
_PORT: Final = "ListenPort"
_HOSTNAME: Final = "ListenHostnameGlob"
_SERVICE: Final = "BackEndService"
_PROXY: Final = "HaProxyProxyProtocol"
_KEYS: Final = (_CLIENT, _ADDRESS, _PORT, _HOSTNAME, _SERVICE, _PROXY)

#: An entry as JSON Schema. What it takes is refused all the same if it is no address, no name or no port.
ENTRY_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        _CLIENT: {"type": "string"},
        _ADDRESS: {"type": ["string", "null"]},
        _PORT: {"type": "integer", "minimum": 1, "maximum": 65535},
        _HOSTNAME: {"type": ["string", "null"]},
        _SERVICE: {"type": "string"},
        _PROXY: {"enum": [True, False, None, *(member.value for member in ProxyProtocol)]},
    },
    "required": [_CLIENT, _PORT, _SERVICE],
    "additionalProperties": False,
}

#: As many as any gateway has ports for visitors to find; it bounds what one request can cost.
MAX_ENTRIES: Final = 10_000

#: Keys of an entry. Each that is not known takes a guess at what was meant.
MAX_KEYS: Final = 50

_EXAMPLE: Final = f'[{{"{_CLIENT}": "homelab", "{_PORT}": 443, "{_SERVICE}": "web"}}]'


class InvalidEntriesError(ValueError):
    """The entries cannot be understood. ``problems`` is what is wrong with them, as much as is told."""

    def __init__(self, problems: Iterable[RequestProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def parse_entries(value: object) -> tuple[Tunnel, ...]:
    """One tunnel an entry, in their order. Their names are suggestions, and may be alike.

    :raises InvalidEntriesError: with every problem of every entry, as far as they are told.
    """
    if not isinstance(value, list):
        message = f"{describe(value)} stands where a list of tunnels belongs; send, for example, {_EXAMPLE}"
        raise InvalidEntriesError([RequestProblem(path=(), message=message)])
    if len(value) > MAX_ENTRIES:
        message = f"{len(value):,} tunnels are too many; send at most {MAX_ENTRIES:,}"
        raise InvalidEntriesError([RequestProblem(path=(), message=message)])
    tunnels: list[Tunnel] = []
    problems: list[RequestProblem] = []
    for index, entry in enumerate(value):
        try:
            tunnels.append(_Entry(entry).tunnel())
        except InvalidEntriesError as error:
            problems.extend(_inside(index, error.problems))
            if len(problems) > MAX_PROBLEMS:
                break
    if problems:
        raise InvalidEntriesError(problems)
    return tuple(tunnels)


def to_entries(tunnels: Iterable[Tunnel]) -> list[dict[str, Any]]:
    """One entry for every address and hostname of every tunnel. Of several clients, the first is named."""
    # The keys are in the order in which threshold writes them.
    return [
        {
            _PROXY: tunnel.proxy_protocol is not ProxyProtocol.OFF,
            _ADDRESS: address.host,
            _HOSTNAME: hostname,
            _PORT: address.port,
            _SERVICE: tunnel.service,
            _CLIENT: tunnel.client[0],
        }
        for tunnel in tunnels
        for address in tunnel.listen
        for hostname in tunnel.hostname or ("*",)
    ]


def _inside(index: int, problems: Iterable[RequestProblem]) -> Iterator[RequestProblem]:
    for problem in problems:
        yield RequestProblem(message=problem.message, path=(index, *(problem.path or ())))


class _Entry:
    """One entry while it is read. A field that is wrong is noted, and the next one is read."""

    def __init__(self, value: object) -> None:
        self._problems: list[RequestProblem] = []
        self._values: Mapping[str, object] = {}
        if isinstance(value, dict) and len(value) > MAX_KEYS:
            self._note((), f"it has {len(value):,} keys; the keys of a tunnel are {', '.join(_KEYS)}")
            raise InvalidEntriesError(self._problems)
        if isinstance(value, dict):
            self._values = {key: inner for key, inner in value.items() if inner is not None}
            self._note_unknown_keys(value)
        else:
            self._note((), f"{describe(value)} stands where a tunnel belongs; send, for example, {_EXAMPLE}")
            raise InvalidEntriesError(self._problems)

    def tunnel(self) -> Tunnel:
        client = self._client()
        listen = self._listen()
        hostname = self._hostname()
        service = self._service()
        proxy_protocol = self._proxy_protocol()
        if client is None or service is None or self._problems:
            raise InvalidEntriesError(self._problems)
        return Tunnel(
            name=suggested_name(client, listen[0].port, hostname),
            listen=listen,
            hostname=hostname,
            client=(client,),
            service=service,
            proxy_protocol=proxy_protocol,
        )

    def _note(self, path: tuple[str, ...], message: str) -> None:
        self._problems.append(RequestProblem(path=path, message=message))

    def _note_unknown_keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key not in _KEYS:
                guess = suggest(key, _KEYS)
                advice = f"did you mean {guess}?" if guess else f"the keys of a tunnel are {', '.join(_KEYS)}"
                self._note((), f"unknown key {quote(key)}; {advice}")

    def _text(self, key: str, *, example: str) -> str | None:
        """The text at a key, "" if there is none. None: the problem is noted."""
        value = self._values.get(key, "")
        if isinstance(value, str):
            return value
        self._note((key,), f'{describe(value)} is not a text; write, for example, "{example}"')
        return None

    def _needed(self, key: str, *, example: str) -> str | None:
        text = self._text(key, example=example)
        if text == "":
            self._note((key,), f'it is missing; write, for example, "{example}"')
            return None
        return text

    def _client(self) -> ClientId | None:
        text = self._needed(_CLIENT, example="homelab")
        try:
            return None if text is None else check_client_id(text)
        except ValueError as error:
            self._note((_CLIENT,), str(error))
            return None

    def _service(self) -> ServiceName | None:
        text = self._needed(_SERVICE, example="web")
        try:
            return None if text is None else ServiceName(check_name(text))
        except ValueError as error:
            self._note((_SERVICE,), str(error))
            return None

    def _listen(self) -> tuple[ListenAddress, ...]:
        """The addresses; empty if a problem is noted."""
        host = self._host()
        port = self._values.get(_PORT)
        if port is None:
            self._note((_PORT,), "it is missing; write, for example, 443")
        elif isinstance(port, bool) or not isinstance(port, int):
            self._note((_PORT,), f"{describe(port)} is not a port; write, for example, 443")
        elif not 1 <= port <= 65535:
            self._note((_PORT,), f"{describe(port)} is not a port; write a number from 1 to 65535")
        elif host is not None:
            try:
                return parse_listen(f"{host}:{port}")
            except ValueError as error:
                self._note((_ADDRESS,), str(error))
        return ()

    def _host(self) -> str | None:
        """The address as it stands before the colon and the port. None: the problem is noted."""
        text = self._text(_ADDRESS, example="192.0.2.1")
        if not text:
            return text
        try:
            address = ip_address(text.removeprefix("[").removesuffix("]"))
        except ValueError:
            advice = f'write, for example, "192.0.2.1", or "" for every address; the port belongs in {_PORT}'
            self._note((_ADDRESS,), f"{quote(text)} is not an IP address; {advice}")
            return None
        return f"[{address}]" if address.version == 6 else str(address)

    def _hostname(self) -> tuple[str, ...]:
        text = self._text(_HOSTNAME, example="blog.example.com")
        if not text or text == "*":
            return ()
        try:
            return (parse_hostname(text),)
        except ValueError as error:
            self._note((_HOSTNAME,), str(error))
            return ()

    def _proxy_protocol(self) -> ProxyProtocol:
        match self._values.get(_PROXY, False):
            case True:
                return ProxyProtocol.V1
            case False:
                return ProxyProtocol.OFF
            case str() as text if text in {member.value for member in ProxyProtocol}:
                return ProxyProtocol(text)
            case value:
                advice = 'write true for PROXY v1, "v2" for v2, or false for none'
                self._note((_PROXY,), f"{describe(value)} is not a version of the PROXY protocol; {advice}")
                return ProxyProtocol.OFF
