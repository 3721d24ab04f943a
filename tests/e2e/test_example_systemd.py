"""The units of examples/systemd and examples/gitops: systemd takes them, and they fit their state files."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.names import parse_listen
from schemas.state import ClientState, GatewayState
from tests.support.examples import state_of
from tests.support.listening import listening_inodes
from tests.support.real_software import Programs
from tests.support.site import Agent, Site, connect, read_all, site
from tests.support.source import ROOT

EXAMPLE = ROOT / "examples" / "systemd"
UNITS = sorted(
    path
    for directory in (EXAMPLE, ROOT / "examples" / "gitops")
    for path in directory.iterdir()
    if path.suffix in {".service", ".socket", ".timer"}
)


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names of settings have capitals
    parser.read_string((EXAMPLE / name).read_text())
    return parser


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Path]:
    """Copies of the units by name, with programs that are on this machine."""
    copies = {}
    for path in UNITS:
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", path.read_text(), flags=re.MULTILINE)
        copies[path.name] = tmp_path / path.name
        copies[path.name].write_text(text)
    return copies


@pytest.mark.real_software("systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_units(installed: dict[str, Path], programs: Programs) -> None:
    command = [programs["systemd-analyze"], "verify", "--man=no", *map(str, installed.values())]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.real_software("systemd-analyze")
@pytest.mark.parametrize("name", ["tidegate-gateway.service", "tidegate-client.service"])
def test_the_services_may_do_little_else_than_serve(
    installed: dict[str, Path], programs: Programs, name: str
) -> None:
    """systemd's own figure is 0 for a service that may do nothing, and 10 for one without any limits."""
    command = [programs["systemd-analyze"], "security", "--offline=yes", "--threshold=20", "--no-pager"]
    done = subprocess.run([*command, str(installed[name])], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_socket_unit_has_the_ports_of_the_state_file_to_the_letter() -> None:
    state = state_of(EXAMPLE / "gateway.yaml")
    assert isinstance(state, GatewayState)
    text = (EXAMPLE / "tidegate-gateway.socket").read_text()

    listed = [
        address
        for found in re.findall(r"^ListenStream=(\S+)", text, re.MULTILINE)
        for address in parse_listen(found)
    ]

    assert listed == [
        *state.gateway.control,
        *(address for tunnel in state.tunnels for address in tunnel.listen),
    ]


@pytest.mark.parametrize("role", ["gateway", "client"])
def test_the_service_makes_the_directories_that_the_state_file_names_and_waits_for_the_drain(
    role: str,
) -> None:
    state = state_of(EXAMPLE / f"{role}.yaml")
    service = unit(f"tidegate-{role}.service")["Service"]
    settings = state.client if isinstance(state, ClientState) else state.gateway

    assert service["ExecStart"].split()[1:3] == [role, f"/etc/tidegate/{role}.yaml"]
    assert settings.socket == f"/run/{service['RuntimeDirectory']}/admin.sock"
    assert settings.data == f"/var/lib/{service['StateDirectory']}"
    assert service["TimeoutStopSec"] == "1min"
    assert settings.drain < 60


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as found:
        yield found


@pytest.mark.real_software("systemd-socket-activate")
def test_the_gateway_takes_the_ports_that_systemd_holds(place: Site, programs: Programs) -> None:
    """The sockets are the very same, and who came before the gateway is answered by it."""
    tunnel = place.listen()
    state = place.gateway_file([{"name": "t", "listen": tunnel, "client": "homelab", "service": "web"}])
    listens = [f"--listen={listen}" for listen in (place.control, tunnel)]
    gateway = Agent("gateway", state, inside=[programs["systemd-socket-activate"], *listens])
    place.agents.append(gateway)
    while len(before := listening_inodes(place.address)) < len(listens):
        assert gateway.process.poll() is None, gateway.log

    with connect(tunnel) as visitor:
        gateway.wait_for("gateway_started")
        assert read_all(visitor) == b""  # its client is away

    assert listening_inodes(place.address) == before


def test_every_file_is_installed_by_what_the_readme_says() -> None:
    page = (EXAMPLE / "README.md").read_text()

    assert [path.name for path in EXAMPLE.iterdir() if path.name not in f"{page} README.md"] == []
