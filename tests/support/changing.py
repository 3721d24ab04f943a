"""A gateway whose state file is changed under it, and what it makes of that.

A test says after each change which tunnels there should be. The helper waits until the gateway says that
this is in force, and then asks the kernel: exactly these ports listen, and those that stay are the sockets
they were. Generations are counted, so nothing else may have been in force in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .listening import listening_inodes
from .site import Agent, Site, site


class Changing:
    """A place for state files, and a gateway that looks at ``state``: what is there, the test decides."""

    def __init__(self, place: Site, state: Path) -> None:
        self.place = place
        self.state = state
        self.gateway: Agent
        self._generation = 0
        self._mark = 0
        self._listen: dict[str, str] = {}
        self._inodes: dict[int, int] = {}

    @property
    def directory(self) -> Path:
        return self.place.directory

    def text(self, *tunnels: str) -> str:
        """A state file with these tunnels, whole. Its paths are absolute, so it may be anywhere."""
        pki = self.place.pki
        tls = {
            "cert": f"{pki}/gateway.crt",
            "key": f"{pki}/gateway.key",
            "client_ca": f"{pki}/ca.crt",
        }
        return (
            "tidegate: 1\n"
            "gateway:\n"
            f'  control: "{self.place.control}"\n'
            f"  tls: {json.dumps(tls)}\n"
            f"{self._tunnels(tunnels)}"
        )

    def fragment(self, *tunnels: str) -> str:
        """A state file that holds nothing but these tunnels."""
        return f"tidegate: 1\n{self._tunnels(tunnels)}"

    def listen(self, tunnel: str) -> str:
        """Where the tunnel of that name is to listen, in every text."""
        if tunnel not in self._listen:
            self._listen[tunnel] = self.place.listen()
        return self._listen[tunnel]

    def start(self, *tunnels: str, inside: Sequence[str] = ()) -> None:
        """Start the gateway on what is there: these tunnels."""
        self.gateway = self.place.start("gateway", self.state, inside=inside)
        self.becomes(*tunnels)

    def becomes(self, *tunnels: str) -> None:
        """The next state that is in force has exactly these tunnels."""
        self._generation += 1
        self._wait_for("state_in_force", generation=self._generation)
        self._see(*tunnels)

    def refuses(self, words: str) -> None:
        """What is there now is refused in these words, among others, and everything stays as it is."""
        refused = self._wait_for("state_refused")
        said = " ".join(refused["problems"])
        assert words in said, said
        assert refused["generation_in_force"] == self._generation
        assert listening_inodes(self.place.address) == self._inodes

    def mends(self) -> None:
        """What is there now is what has been in force all along."""
        self._wait_for("state_mended", generation=self._generation)
        assert listening_inodes(self.place.address) == self._inodes

    def _see(self, *tunnels: str) -> None:
        wanted = {self.place.control, *(self.listen(tunnel) for tunnel in tunnels)}
        found = listening_inodes(self.place.address)
        assert {f"{self.place.address}:{port}" for port in found} == wanted
        assert all(found[port] == inode for port, inode in self._inodes.items() if port in found)
        self._inodes = found

    def _wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        found = self.gateway.wait_for(event, after=self._mark, **fields)
        self._mark = self.gateway.lines.index(found, self._mark) + 1
        return found

    def _tunnels(self, names: Sequence[str]) -> str:
        entries = (
            f'  - name: {name}\n    listen: "{self.listen(name)}"\n    client: homelab\n    service: web\n'
            for name in names
        )
        return "tunnels:\n" + "".join(entries) if names else "tunnels: []\n"


@contextmanager
def changing(directory: Path, state: str = "etc/gateway.yaml") -> Iterator[Changing]:
    """A gateway that has yet to be started, with its state at that place below the directory."""
    with site(directory) as place:
        path = directory / state
        path.parent.mkdir(parents=True, exist_ok=True)
        yield Changing(place, path)
