"""Which route of a port a host name leads to.

Rule: this file alone decides the precedence of hostnames. A table is built once from the routes of a
port and never changes; a lookup takes the same time for ten hostnames and for ten thousand, as long as
they are exact or begin with their only star ("*.example.com").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from reconcile.desired import RouteSpec
from schemas.globs import compile_glob


@dataclass(frozen=True, slots=True)
class _Glob:
    """One pattern with a `*`. They sort as they are tried: longest first, then by their text."""

    rank: tuple[int, str]
    matches: re.Pattern[str]
    route: RouteSpec


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The routes of one port. Immutable: a changed port gets another table.

    Exact names beat globs and a longer glob beats a shorter one; of two equally long the alphabetically first
    wins, and if two tunnels have the same hostname (which the rules of the state file exclude), the
    alphabetically first tunnel. `*` stands for any characters, dots too, and for none at all.

    The hostname "*" is the shortest glob: it takes every visitor who gives a name that no other
    hostname takes, before the default route does. Who gives no name is the default route's alone.
    """

    routes: Sequence[RouteSpec]
    default: RouteSpec | None = field(init=False, compare=False, repr=False)
    peeks: bool = field(init=False, compare=False, repr=False)  # False: the first bytes do not matter
    _exact: Mapping[str, RouteSpec] = field(init=False, compare=False, repr=False)
    _suffixes: Mapping[str, RouteSpec] = field(init=False, compare=False, repr=False)  # "*.x" as ".x"
    _globs: tuple[_Glob, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        routes = sorted(self.routes, key=lambda route: route.tunnel)
        by_hostname: dict[str, RouteSpec] = {}
        for route in routes:
            for hostname in route.hostnames:
                by_hostname.setdefault(_normalized(hostname), route)
        exact, suffixes, globs = {}, {}, []
        for hostname, route in by_hostname.items():
            if "*" not in hostname:
                exact[hostname] = route
            elif hostname.startswith("*.") and "*" not in hostname[1:]:
                suffixes[hostname[1:]] = route
            else:
                globs.append(_Glob(_rank(hostname), compile_glob(hostname), route))
        values = {
            "routes": tuple(self.routes),
            "default": next((route for route in routes if not route.hostnames), None),
            "peeks": bool(by_hostname),
            "_exact": MappingProxyType(exact),
            "_suffixes": MappingProxyType(suffixes),
            "_globs": tuple(sorted(globs, key=lambda glob: glob.rank)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def match(self, name: str) -> RouteSpec | None:
        """The route whose hostnames match `name` best, in any case; never the default route."""
        name = _normalized(name)
        found = self._exact.get(name)
        if found is not None:
            return found
        rank: tuple[int, str] | None = None
        dot = name.find(".")
        while dot >= 0:
            suffix = name[dot:]
            found = self._suffixes.get(suffix)
            if found is not None:
                rank = _rank("*" + suffix)
                break  # the first is the longest
            dot = name.find(".", dot + 1)
        for glob in self._globs:
            if rank is not None and glob.rank > rank:
                break
            if glob.matches.fullmatch(name):
                return glob.route
        return found

    def ranking(self, name: str) -> tuple[tuple[str, RouteSpec], ...]:
        """Every hostname that `name` matches, with its route, best first.

        For whoever wants to know why: the first is what `match` finds, and finds sooner.
        """
        name = _normalized(name)
        globs = [(glob.rank, glob.route) for glob in self._globs if glob.matches.fullmatch(name)]
        dots = (at for at, character in enumerate(name) if character == ".")
        for suffix in (name[dot:] for dot in dots):
            if suffix in self._suffixes:
                globs.append((_rank("*" + suffix), self._suffixes[suffix]))
        exact = [(name, self._exact[name])] if name in self._exact else []
        return (*exact, *((rank[1], route) for rank, route in sorted(globs, key=lambda glob: glob[0])))


def _normalized(name: str) -> str:
    return name.lower().removesuffix(".")


def _rank(hostname: str) -> tuple[int, str]:
    return -len(hostname), hostname
