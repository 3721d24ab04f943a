"""Where a tunnel is declared, in a file, a fragment, and what was declared through the API."""

from __future__ import annotations

from pathlib import Path

from agent.gateway.places import tunnel_place
from tests.support.states import write_gateway


def test_a_tunnel_is_found_at_its_entry(tmp_path: Path) -> None:
    state = write_gateway(tmp_path)
    (tmp_path / "gateway.api.toml").write_text(
        'tidegate = 1\n\n[[tunnels]]\nname = "more"\nlisten = "0.0.0.0:25"\nclient = "homelab"\n'
        'service = "web"\ndeclared_by = "homelab"\n'
    )

    assert str(tunnel_place(state, "web")) == f"{state}:9:5"
    assert str(tunnel_place(state, "more")).startswith(f"{tmp_path}/gateway.api.toml:")
    assert tunnel_place(state, "nothing") is None


def test_a_file_that_is_broken_or_gone_has_no_places_and_raises_nothing(tmp_path: Path) -> None:
    assert tunnel_place(tmp_path / "gone.yaml", "web") is None
    broken = tmp_path / "gateway.yaml"
    for text in ("tunnels: [", "tunnels: 7", "tunnels: [7, {name: web}]"):
        broken.write_text(text)
        tunnel_place(broken, "web")
