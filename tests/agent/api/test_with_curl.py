"""The JSON of threshold's usage example, and what people do with curl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from agent.api.app import create_app
from schemas.names import ClientId
from tests.support import pki
from tests.support.real_software import Programs

from .backend import GATEWAY, FakeGateway, running
from .serving import on_tls, on_unix

pytestmark = [pytest.mark.anyio, pytest.mark.real_software("curl")]

# As threshold's example sends it, and as it expects it back.
TUNNELS = (
    '[{"HaProxyProxyProtocol":true,"ListenAddress":"127.0.0.1","ListenHostnameGlob":"*",'
    '"ListenPort":9000,"BackEndService":"fooService","ClientId":"TestClient1"}]'
)


class Curl:
    """curl with the options that lead to one API."""

    def __init__(self, program: str, base: str, *options: str) -> None:
        self._start = [program, "--silent", "--show-error", "--max-time", "20", *options]
        self._base = base

    async def __call__(self, path: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        return await anyio.run_process([*self._start, *options, self._base + path], check=False)


async def text(call: subprocess.CompletedProcess[bytes]) -> str:
    assert (call.returncode, call.stderr) == (0, b"")
    return call.stdout.decode()


@pytest.fixture
async def asked(gateway: FakeGateway) -> AsyncIterator[FakeGateway]:
    gateway.write(GATEWAY.replace("[ops]", "[ops, TestClient1]"))
    gateway.states = {ClientId("TestClient1"): ("ClientConnected", "ClientUnknown")}
    async with running(gateway):
        yield gateway


@pytest.fixture
async def over_tls(asked: FakeGateway, programs: Programs, tmp_path: Path) -> AsyncIterator[Curl]:
    credentials = pki.client("TestClient1")
    for name, pem in (
        ("ca.crt", pki.authority().certificate),
        ("client.crt", credentials.certificate),
        ("client.key", credentials.key),
    ):
        (tmp_path / name).write_bytes(pem)
    options = [
        f"--cacert={tmp_path / 'ca.crt'}",
        f"--cert={tmp_path / 'client.crt'}",
        f"--key={tmp_path / 'client.key'}",
    ]
    async with on_tls(asked) as port:
        yield Curl(programs["curl"], f"https://127.0.0.1:{port}", *(_split(options)))


@pytest.fixture
async def over_unix(asked: FakeGateway, programs: Programs, tmp_path: Path) -> AsyncIterator[Curl]:
    path = tmp_path / "s"
    async with on_unix(create_app(asked), path):
        yield Curl(programs["curl"], "http://agent", "--unix-socket", str(path))


async def test_the_usage_example_of_threshold(over_tls: Curl, asked: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "tunnels.json").write_text(TUNNELS)

    clients = await text(await over_tls("/clients"))
    put = await over_tls(
        "/tunnels",
        "-X", "PUT", "-H", "Content-Type: application/json", "--data", f"@{tmp_path / 'tunnels.json'}",
    )  # fmt: skip

    assert clients == '{"TestClient1":{"CurrentState":"ClientConnected","LastState":"ClientUnknown"}}'
    assert await text(put) == TUNNELS
    assert await text(await over_tls("/tunnels")) == TUNNELS
    assert await text(await over_tls("/ping")) == "pong"
    assert asked.open_ports() == {"127.0.0.1:9000": ["TestClient1-9000"]}


async def test_the_same_over_the_unix_socket(over_unix: Curl) -> None:
    put = await over_unix("/tunnels", "-X", "PUT", "--json", TUNNELS)

    assert await text(put) == TUNNELS


async def test_who_forgets_to_say_json_is_told_what_to_type(over_unix: Curl) -> None:
    answer = json.loads(await text(await over_unix("/tunnels", "-X", "PUT", "--data", TUNNELS)))

    assert answer["status"] == 415
    assert "application/x-www-form-urlencoded" in answer["detail"]


async def test_a_file_that_is_too_large_is_refused_before_it_is_sent(over_unix: Curl, tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * 30_000_000)

    put = await over_unix(
        "/tunnels",
        "--upload-file", str(tmp_path / "large.json"),
        "-H", "Content-Type: application/json",
        "-w", "%{http_code} %{size_upload}",
    )  # fmt: skip

    assert put.stdout.decode().endswith("413 0")


async def test_without_a_certificate_nothing_is_said(over_tls: Curl) -> None:
    call = await over_tls("/ping", "--cert", "", "--key", "")

    assert call.returncode != 0
    assert call.stdout == b""


def _split(options: list[str]) -> list[str]:
    """curl takes a value as the next argument."""
    return [part for option in options for part in option.split("=", 1)]
