"""Both roles are what the API needs."""

from __future__ import annotations

from pathlib import Path

from agent.api.app import create_app
from agent.api.backend import Backend
from agent.client.role import Client
from agent.gateway.role import Gateway


def test_the_api_speaks_for_either_role(tmp_path: Path) -> None:
    # That each is a Backend is what mypy checks here; nothing has to run for that.
    backends: list[Backend] = [Gateway(tmp_path / "gateway.yaml"), Client(tmp_path / "client.yaml")]

    paths = [[getattr(route, "path", None) for route in create_app(backend).routes] for backend in backends]

    assert paths[0] == paths[1]
