"""What is written is read again, and what cannot be read stops nobody."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from agent.gateway.kept_declarations import KeptDeclarations
from schemas.errors import TidegateError
from schemas.messages import DeclaredTunnel
from schemas.names import ClientId
from schemas.text import MAX_BYTES

BLOG = DeclaredTunnel(
    name="blog", listen=(":443",), hostname=("b.example",), service="web", proxy_protocol="v2"
)
KEPT = {ClientId("homelab"): (BLOG, DeclaredTunnel(name="mail", listen=("[::]:25",), service="smtp"))}


def test_what_was_written_is_read_and_is_for_the_owner_alone(tmp_path: Path) -> None:
    file = KeptDeclarations(tmp_path / "data" / "gateway.clients")

    file.write(KEPT)

    assert KeptDeclarations(file.path).read() == KEPT
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_whatever_a_crowd_declares_is_read_again_although_no_state_file_is_as_large(tmp_path: Path) -> None:
    file = KeptDeclarations(tmp_path / "gateway.clients")
    hostnames = tuple("x" * 250 + f"{number:03}" for number in range(256))
    large = tuple(replace(BLOG, name=name, hostname=hostnames) for name in "ab")
    crowd = {ClientId(f"client-{number}"): large for number in range(140)}

    file.write(crowd)

    assert file.path.stat().st_size > MAX_BYTES
    assert file.read() == crowd


def test_nothing_is_no_file(tmp_path: Path) -> None:
    file = KeptDeclarations(tmp_path / "gateway.clients")
    assert file.read() == {}
    file.write({})
    file.write(KEPT)

    file.write({})

    assert not file.path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        '{"clients": 7}',
        '{"clients": {"a b": []}}',
        '{"clients": {"a": [{"name": "a/b", "listen": [], "service": "web"}]}}',
        '{"clients": {"a": [7]}}',
    ],
)
def test_what_is_not_understood_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.clients"
    path.write_text(text)

    with pytest.raises(TidegateError, match="cannot be understood: remove it") as caught:
        KeptDeclarations(path).read()
    assert "\n" not in str(caught.value)


def test_a_directory_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="it is a directory"):
        KeptDeclarations(tmp_path).read()
