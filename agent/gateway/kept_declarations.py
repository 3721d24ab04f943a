"""The declarations that outlive their clients' sessions, on disk.

Rule: this file alone writes them, whole and in one step, beside what was declared through
the API. They are read once, when the gateway starts. What cannot be read is nobody's but
the clients' to say again: it is told, and the gateway starts without it.

Its name is not that of a state file, so that nobody reads it as a part of the state: what
is in it counts only as far as the gateway's file lets each client declare it.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeAlias

from reconcile.placing import PRIVATE, place, remove
from reconcile.reading import UnreadableError, read_regular
from schemas.errors import TidegateError
from schemas.messages import DeclaredTunnel
from schemas.names import ClientId, check_client_id

Kept: TypeAlias = Mapping[ClientId, Sequence[DeclaredTunnel]]
"""What each client has declared."""

# Bytes: of a thousand clients, each with as much as fits into a message. Nobody may write what is not read.
_LARGEST: Final = 256 * 1024 * 1024

_NOTE: Final = "Written by Tidegate: tunnels that clients declare in their own files. Do not edit."


class KeptDeclarations:
    """The file at that path. At most one process writes it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[ClientId, tuple[DeclaredTunnel, ...]]:
        """What was written last; nothing if there is no file.

        :raises TidegateError: if it cannot be read.
        """
        try:
            data, _ = read_regular(self.path, name=str(self.path), limit=_LARGEST)
        except FileNotFoundError:
            return {}
        except UnreadableError as error:
            raise TidegateError(f"{self.path}: {error.problem.message}") from error
        try:
            clients = json.loads(data)["clients"]
            return {check_client_id(client): _tunnels(entries) for client, entries in clients.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TidegateError(
                f"{self.path} cannot be understood: remove it; the clients declare their tunnels again when "
                "they connect"
            ) from error

    def write(self, kept: Kept) -> None:
        """Let these be all of them.

        :raises TidegateError: if the disk does not take it.
        :raises OSError: the same.
        """
        if not kept:
            if self.path.exists():
                remove(self.path)
            return
        clients = {client: [asdict(entry) for entry in entries] for client, entries in sorted(kept.items())}
        text = json.dumps({"note": _NOTE, "clients": clients}, indent=1)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place(self.path, text.encode() + b"\n", mode=PRIVATE)


def _tunnels(entries: object) -> tuple[DeclaredTunnel, ...]:
    """:raises ValueError: if they are none."""
    if not isinstance(entries, list):
        raise ValueError("the tunnels of a client are no list")
    return tuple(map(DeclaredTunnel.read, entries))
