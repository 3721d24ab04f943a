"""Names for tunnels that were declared without one.

Rule: pure. The same request against the same state always gives the same names,
and a tunnel that is declared again keeps the name it has, so that its status, its
log lines and its connections go on under it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import count
from typing import Final, TypeAlias

from schemas.names import ClientId, ListenAddress, TunnelName
from schemas.state import Tunnel

_LONGEST: Final = 128  # characters, as schemas.names has it
_DIGEST: Final = 8  # hexadecimal digits that stand for what was cut off

#: What makes a tunnel the same one although its service may have changed.
_Identity: TypeAlias = tuple[tuple[ClientId, ...], tuple[ListenAddress, ...], tuple[str, ...]]


def suggested_name(client: ClientId, port: int, hostnames: Sequence[str]) -> TunnelName:
    """``<client>-<port>``, and the first hostname after another dash, with ``any`` for every ``*``."""
    parts = [client, str(port), *(hostname.replace("*", "any") for hostname in hostnames[:1])]
    return TunnelName(_shortened("-".join(parts)))


def own_name(client: ClientId, name: str) -> TunnelName:
    """The name, at the gateway, of a tunnel that a client's own file declares.

    No other tunnel has it: a slash is in no name that anybody else gives, and no two clients have one id.
    A client chooses what it calls its tunnels, and knows how they are shortened. So what is shortened has a
    second slash, and more digits than anybody tries out.
    """
    whole = f"{client}/{name}"
    if len(whole) > _LONGEST:
        digest = hashlib.sha256(whole.encode()).hexdigest()[: 4 * _DIGEST]
        half = (_LONGEST - len(digest) - 2) // 2
        whole = f"{client[:half]}/{name[:half]}/{digest}"
    return TunnelName(whole)


def is_own_name(name: str) -> bool:
    """Whether that is such a name."""
    return "/" in name


def keep_apart(
    tunnels: Iterable[Tunnel], *, previous: Iterable[Tunnel], taken: Set[TunnelName]
) -> tuple[Tunnel, ...]:
    """The tunnels, each with a name of its own.

    :param previous: the tunnels that these replace; the same one keeps its name.
    :param taken: names that belong to others.
    """
    wanted = tuple(tunnels)
    held = {_identity(tunnel): tunnel.name for tunnel in previous if tunnel.name not in taken}
    # The same entry twice is a clash, and the rules tell it; here only the first one gets the name.
    kept = {held.pop(_identity(tunnel), None): index for index, tunnel in enumerate(wanted)}
    names = {index: name for name, index in kept.items() if name is not None}
    fresh = _Names({*taken, *names.values()})
    return tuple(
        _renamed(tunnel, names[index] if index in names else fresh.like(tunnel.name))
        for index, tunnel in enumerate(wanted)
    )


def _identity(tunnel: Tunnel) -> _Identity:
    """Whom it is for, where it listens, and what it matches."""
    return tunnel.client, tunnel.listen, tunnel.hostname


class _Names:
    """Gives out names that nobody has. It remembers how far it counted, so that many alike cost little."""

    def __init__(self, used: set[TunnelName]) -> None:
        self._used = used
        self._numbers: dict[TunnelName, Iterator[int]] = {}

    def like(self, name: TunnelName) -> TunnelName:
        free = name
        while free in self._used:
            number = next(self._numbers.setdefault(name, count(2)))
            free = TunnelName(_shortened(name, ending=f"-{number}"))
        self._used.add(free)
        return free


def _renamed(tunnel: Tunnel, name: TunnelName) -> Tunnel:
    return tunnel if tunnel.name == name else tunnel.model_copy(update={"name": name})


def _shortened(text: str, *, ending: str = "") -> str:
    if len(text) + len(ending) <= _LONGEST:
        return text + ending
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    return f"{text[: _LONGEST - len(ending) - _DIGEST - 1]}-{digest}{ending}"
