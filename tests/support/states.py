"""State files with real keys, for whatever reads or runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.keys.pki import init_authority, issue_client, issue_gateway

GATEWAY: Final = """\
tidegate: 1
gateway:
  name: gw1
  control: "127.0.0.1:{control}"
  tls: {{cert: pki/gateway.crt, key: pki/gateway.key, client_ca: pki/ca.crt}}
clients:
  - id: homelab
tunnels:
  - name: web
    listen: "127.0.0.1:{public}"
    client: homelab
    service: web
"""

CLIENT: Final = """\
tidegate: 1
client:
  id: homelab
  gateways: "127.0.0.1:{control}"
  tls: {{cert: pki/homelab.crt, key: pki/homelab.key, ca: pki/ca.crt}}
services:
  web: "127.0.0.1:{service}"
"""


def write_keys(directory: Path) -> None:
    """``pki/`` with an authority, a gateway at 127.0.0.1 and the client homelab."""
    init_authority(directory / "pki")
    issue_gateway(directory / "pki", hosts=["127.0.0.1"])
    issue_client(directory / "pki", client_id="homelab")


def write_gateway(directory: Path, *, control: int = 9056, public: int = 8080) -> Path:
    path = directory / "gateway.yaml"
    path.write_text(GATEWAY.format(control=control, public=public), encoding="utf-8")
    return path


def write_client(directory: Path, *, control: int = 9056, service: int = 8000) -> Path:
    path = directory / "client.yaml"
    path.write_text(CLIENT.format(control=control, service=service), encoding="utf-8")
    return path
