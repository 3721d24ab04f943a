"""The manifests of examples/kubernetes fit together, and a gateway follows their ConfigMap in its volume."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.commands.check import run_check
from schemas.references import FileRef
from schemas.state import ClientState, GatewayState, TlsClient, TlsGateway
from tests.support.changing import Changing, changing
from tests.support.examples import state_of
from tests.support.kubelet import Volume
from tests.support.source import ROOT

EXAMPLE = ROOT / "examples" / "kubernetes"
PAGE = (EXAMPLE / "README.md").read_text()
ROLES = ("gateway", "client")


def manifests(role: str) -> dict[str, Any]:
    """By kind; there is one of each."""
    found = list(yaml.safe_load_all((EXAMPLE / f"{role}.yaml").read_text()))
    by_kind = {manifest["kind"]: manifest for manifest in found}
    assert len(by_kind) == len(found)
    return by_kind


def state_text(role: str) -> str:
    text: str = manifests(role)["ConfigMap"]["data"][f"{role}.yaml"]
    return text


def pod(role: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifests(role)["Deployment"]["spec"]["template"]["spec"]
    return spec


def mounts(role: str) -> dict[str, dict[str, Any]]:
    """The volume at each path of the container."""
    (container,) = pod(role)["containers"]
    volumes = {volume["name"]: volume for volume in pod(role)["volumes"]}
    assert not any("subPath" in mount for mount in container["volumeMounts"])
    return {mount["mountPath"]: volumes.pop(mount["name"]) for mount in container["volumeMounts"]}


@pytest.mark.parametrize("role", ROLES)
def test_tidegate_takes_the_state_in_the_config_map(role: str, tmp_path: Path) -> None:
    path = tmp_path / f"{role}.yaml"
    path.write_text(state_text(role))

    assert run_check(path, files=False, syntax="YAML") == 0
    assert state_text(role).startswith(f"# yaml-language-server: $schema=../../schemas/{role}.schema.json\n")


@pytest.mark.parametrize("role", ROLES)
def test_the_pod_mounts_what_the_state_names(role: str) -> None:
    state = state_of(EXAMPLE / f"{role}.yaml", text=state_text(role))
    mounted = mounts(role)
    (container,) = pod(role)["containers"]

    named = manifests(role)["ConfigMap"]["metadata"]["name"]
    assert mounted["/etc/tidegate/state"]["configMap"]["name"] == named
    assert container["args"][:2] == [role, f"/etc/tidegate/state/{role}.yaml"]
    settings = state.client if isinstance(state, ClientState) else state.gateway
    assert str(Path(settings.socket or "").parent) in mounted
    assert settings.socket in container["readinessProbe"]["exec"]["command"]
    assert settings.data in mounted
    assert pod(role)["terminationGracePeriodSeconds"] > settings.drain

    secret = mounted["/etc/tidegate/keys"]["secret"]["secretName"]
    (created,) = re.findall(rf"create secret generic {secret} \\\n(.*?)\n(?=kubectl|```)", PAGE, re.DOTALL)
    files = {Path(file).name for file in re.findall(r"--from-file=(\S+)", created)}
    assert {f"/etc/tidegate/keys/{file}" for file in files} == paths(settings.tls)


def paths(tls: TlsGateway | TlsClient) -> set[str]:
    """The files that it names, all of them."""
    authority = tls.client_ca if isinstance(tls, TlsGateway) else tls.ca
    references = (tls.cert, tls.key, authority)
    return {reference.path for reference in references if isinstance(reference, FileRef)}


def test_the_service_leads_to_every_port_of_the_state() -> None:
    state = state_of(EXAMPLE / "gateway.yaml", text=state_text("gateway"))
    assert isinstance(state, GatewayState)
    (container,) = pod("gateway")["containers"]
    opened = {port["containerPort"]: port["name"] for port in container["ports"]}
    service = manifests("gateway")["Service"]["spec"]

    assert {port["targetPort"] for port in service["ports"]} == set(opened.values())
    wanted = [*state.gateway.control, *(address for tunnel in state.tunnels for address in tunnel.listen)]
    assert {address.port for address in wanted} == opened.keys()
    labels = manifests("gateway")["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"] == labels


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as found:
        yield found


def test_an_applied_config_map_opens_a_port_and_a_bad_one_does_not(gateway: Changing) -> None:
    """The ConfigMap's own text, with addresses and keys of this machine, in a volume that is updated."""
    (settings,) = re.findall(r"^gateway:.*?(?=^\w)", gateway.text(), re.DOTALL | re.MULTILINE)
    text = re.sub(r"^gateway:.*?(?=^\w)", settings, state_text("gateway"), flags=re.DOTALL | re.MULTILINE)
    text = text.replace("0.0.0.0:8443", gateway.listen("site"))
    more = f'  - name: mail\n    listen: "{gateway.listen("mail")}"\n    client: homelab\n    service: smtp\n'
    volume = Volume(gateway.state.parent)
    volume.write({"gateway.yaml": text})
    gateway.start("site")

    volume.write({"gateway.yaml": text + more})
    gateway.becomes("site", "mail")
    volume.write({"gateway.yaml": text + more.replace("client", "clint")})
    gateway.refuses('did you mean "client"')
    volume.write({"gateway.yaml": text})
    gateway.becomes("site")
