"""The files of examples/docker fit together: paths, users, ports, and what the image is made of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.version import VERSION
from schemas.state import ClientState, GatewayState
from tests.support.examples import state_of
from tests.support.source import ROOMS, ROOT

EXAMPLE = ROOT / "examples" / "docker"
DOCKERFILE = (EXAMPLE / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())


def test_what_the_image_copies_is_there_and_is_all_of_the_program() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    allowed = re.findall(r"^!(\S+)$", (EXAMPLE / "Dockerfile.dockerignore").read_text(), re.MULTILINE)

    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert set(ROOMS) < set(copied)
    assert copied == allowed


def test_every_image_is_of_this_version_and_of_a_python_that_is_supported() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    pythons = set(re.findall(r"^FROM python:([\d.]+)", DOCKERFILE, re.MULTILINE))
    images = {service["image"] for service in COMPOSE["services"].values() if "tidegate" in service["image"]}

    assert [
        python for python in pythons if f"Programming Language :: Python :: {python}" not in classifiers
    ] == []
    assert images == {f"tidegate:{VERSION}"}
    assert f"--tag tidegate:{VERSION}" in DOCKERFILE


@pytest.mark.parametrize("role", ["gateway", "client"])
def test_the_container_has_what_its_state_names(role: str) -> None:
    service = COMPOSE["services"][role]
    state = state_of(EXAMPLE / role / f"{role}.yaml")
    settings = state.client if isinstance(state, ClientState) else state.gateway
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])

    assert service["command"][:2] == [role, f"/etc/tidegate/{role}.yaml"]
    assert mounted[f"./{role}"] == "/etc/tidegate"
    assert str(Path(settings.socket or "").parent) in {path.partition(":")[0] for path in service["tmpfs"]}
    assert settings.socket in service["healthcheck"]["test"]
    assert settings.data in mounted.values()
    assert service["stop_grace_period"] == "1m"
    assert settings.drain < 60
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert f"--uid {user}" in DOCKERFILE
    assert all(f"uid={user},gid={user}" in path for path in service["tmpfs"])


def test_every_port_of_the_gateway_is_published_as_it_is() -> None:
    state = state_of(EXAMPLE / "gateway" / "gateway.yaml")
    assert isinstance(state, GatewayState)
    published = set()
    for line in COMPOSE["services"]["gateway"]["ports"]:
        outside, _, inside = line.partition(":")
        assert outside == inside
        first, _, last = inside.partition("-")
        published |= set(range(int(first), int(last or first) + 1))

    wanted = [*state.gateway.control, *(address for tunnel in state.tunnels for address in tunnel.listen)]
    assert [address for address in wanted if address.port not in published] == []


def test_what_the_client_dials_are_services_of_the_file() -> None:
    state = state_of(EXAMPLE / "client" / "client.yaml")
    assert isinstance(state, ClientState)
    dialed = {str(target).partition(":")[0] for _, target in state.services}
    dialed |= {gateway.host for gateway in state.client.gateways}

    assert dialed <= COMPOSE["services"].keys()
