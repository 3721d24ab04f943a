"""Where in the state files a tunnel is declared.

Rule: this looks at the files as they are now, which need not be what is in force; it
is for a person who wants to open them. Whatever cannot be found is left out.
"""

from __future__ import annotations

from pathlib import Path

from agent.offline import read_offline
from schemas.errors import Place, TidegateError


def tunnel_place(state: Path, tunnel: str) -> Place | None:
    """The entry of the tunnel in the state at that path, None if it cannot be found. Blocks on the disk."""
    try:
        documents = read_offline(state).documents
    except TidegateError:
        return None
    for document in documents:
        entries = document.value.get("tunnels")
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict) and entry.get("name") == tunnel:
                return document.locate(("tunnels", index))
    return None
