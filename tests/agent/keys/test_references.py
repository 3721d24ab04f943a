"""What secret references give, and what is said where they give nothing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.keys.references import MAX_SIZE, UnreadableReferenceError, describe, exposure, resolve
from schemas.references import EnvRef, FileRef, InlinePem, Reference

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_each_kind_of_reference_gives_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.pem").write_text(PEM)
    monkeypatch.setenv("GATEWAY_KEY", PEM)

    for reference in (FileRef(str(tmp_path / "x.pem")), EnvRef("GATEWAY_KEY"), InlinePem(PEM)):
        assert resolve(reference) == PEM.encode()


def test_a_link_leads_to_the_file_as_kubernetes_mounts_secrets(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "tls.key").write_text(PEM)
    (tmp_path / "tls.key").symlink_to("..data/tls.key")

    assert resolve(FileRef(str(tmp_path / "tls.key"))) == PEM.encode()


@pytest.mark.parametrize(
    ("reference", "called"),
    [
        (FileRef("pki/gateway.key"), "pki/gateway.key"),
        (EnvRef("GATEWAY_KEY"), "$GATEWAY_KEY"),
        (InlinePem(PEM), "the PEM in the state file"),
    ],
)
def test_a_message_calls_a_reference_by_its_place_and_not_by_its_value(
    reference: Reference, called: str
) -> None:
    assert describe(reference) == called


def refusal(reference: Reference) -> str:
    with pytest.raises(UnreadableReferenceError) as raised:
        resolve(reference)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert refusal(FileRef(str(tmp_path / "no"))).startswith(
        f"{tmp_path}/no cannot be read; there is no such file"
    )
    assert "a part of its path is a file" in refusal(FileRef(str(tmp_path / "file" / "x")))


def test_a_circle_of_links_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert "lead in a circle" in refusal(FileRef(str(tmp_path / "a")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_this_user_may_not_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.pem").touch(mode=0o000)

    assert "this user may not read it" in refusal(FileRef(str(tmp_path / "x.pem")))


def test_what_is_no_file_is_refused_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))

    assert "is a directory" in refusal(FileRef(str(tmp_path)))
    assert "is not a regular file" in refusal(FileRef(str(tmp_path / "pipe")))
    assert "is not a regular file" in refusal(FileRef(str(tmp_path / "socket")))
    assert "is not a regular file" in refusal(FileRef("/dev/zero"))


def test_more_than_the_limit_is_refused_and_the_limit_itself_is_not(tmp_path: Path) -> None:
    at_limit, above = tmp_path / "at", tmp_path / "above"
    at_limit.write_bytes(b"x" * MAX_SIZE)
    above.write_bytes(b"x" * (MAX_SIZE + 1))

    assert len(resolve(FileRef(str(at_limit)))) == MAX_SIZE
    assert "more than 1024 KiB" in refusal(FileRef(str(above)))
    assert "more than 1024 KiB" in refusal(InlinePem("x" * (MAX_SIZE + 1)))


def test_nothing_is_not_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.pem").write_text(" \n")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)

    assert "is empty: put PEM there" in refusal(FileRef(str(tmp_path / "empty.pem")))
    assert refusal(EnvRef("EMPTY")).startswith("$EMPTY is empty")
    assert refusal(EnvRef("UNSET")).startswith("$UNSET is not set: set it")


@pytest.mark.parametrize(
    ("mode", "is_exposed"),
    [(0o600, False), (0o400, False), (0o640, False), (0o644, True), (0o620, True), (0o602, True)],
)
def test_a_key_is_warned_about_if_anybody_can_read_it_or_others_change_it(
    tmp_path: Path, mode: int, is_exposed: bool
) -> None:
    key = tmp_path / "gateway.key"
    key.write_text(PEM)
    key.chmod(mode)

    warning = exposure(FileRef(str(key)))

    assert (warning is not None) == is_exposed
    if warning is not None:
        assert f"mode {mode:04o}" in warning
        assert f"chmod 600 {key}" in warning


def test_what_has_no_mode_is_not_warned_about(tmp_path: Path) -> None:
    for reference in (FileRef(str(tmp_path / "missing")), EnvRef("GATEWAY_KEY"), InlinePem(PEM)):
        assert exposure(reference) is None
