"""Where an agent keeps what it makes: its admin socket, what was declared through its API, its history.

Rule: all of these places follow from the path of the state file and what the state says,
so that a command given the same state file finds them without asking anybody.
Nothing here looks at the disk, and no symbolic link is followed: a state file that
is a link has its socket beside the link.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from schemas.state import ClientSettings, GatewaySettings

# Any other name is that of a directory of fragments, and is kept whole: "sites.d" gives "sites.d.sock".
_FILE_SUFFIXES: Final = (".yaml", ".yml", ".toml", ".json")


def admin_socket_path(state_path: Path, settings: GatewaySettings | ClientSettings) -> Path:
    """The unix socket of the admin API: what ``socket`` says, or ``gateway.sock`` beside ``gateway.yaml``."""
    return default_socket_path(state_path) if settings.socket is None else Path(settings.socket)


def default_socket_path(state_path: Path) -> Path:
    """The unix socket of an agent whose state does not name one."""
    return _beside(state_path, ".sock")


def declared_path(state_path: Path, settings: GatewaySettings) -> Path:
    """The fragment of the tunnels declared through the API: ``gateway.api.toml`` for ``gateway.yaml``.

    It is in the directory that ``data`` names, or else beside the state file. A
    directory of fragments has it beside itself, so that what Git owns and what
    Tidegate writes are never in one directory unless ``data`` says so.
    """
    beside = _beside(state_path, ".api.toml")
    return beside if settings.data is None else Path(settings.data) / beside.name


def kept_path(state_path: Path, settings: GatewaySettings) -> Path:
    """Where is kept what clients declare in their own files: ``gateway.clients``, beside that fragment."""
    return declared_path(state_path, settings).with_name(_beside(state_path, ".clients").name)


def owned_name(state_path: Path) -> str:
    """The name of that fragment, wherever it is."""
    return _beside(state_path, ".api.toml").name


def history_path(state_path: Path, settings: GatewaySettings | ClientSettings) -> Path:
    """The directory of the last good states: ``gateway.history`` for ``gateway.yaml``, or in ``data``."""
    beside = default_history_path(state_path)
    return beside if settings.data is None else Path(settings.data) / beside.name


def default_history_path(state_path: Path) -> Path:
    """The same of an agent whose state does not say where its data is."""
    return _beside(state_path, ".history")


def _beside(state_path: Path, ending: str) -> Path:
    # Path.absolute keeps "." and "..", which have no name to put an ending on.
    path = Path(os.path.abspath(state_path))  # noqa: PTH100 - Path.resolve would follow links
    stem = path.stem if path.suffix.lower() in _FILE_SUFFIXES else path.name
    return path.parent / f"{stem}{ending}"
