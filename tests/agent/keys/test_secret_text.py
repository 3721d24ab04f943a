"""A password is the one line that stands somewhere, and nothing of it is ever told."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.keys.references import UnreadableReferenceError
from agent.keys.secret_text import LONGEST, read_secret
from schemas.references import EnvRef, FileRef


@pytest.mark.parametrize(
    ("written", "password"),
    [
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"secret", b"secret"),
        (b" with spaces \n", b" with spaces "),
        (b"x" * LONGEST + b"\r\n", b"x" * LONGEST),
        ("Schlüssel\n".encode(), "Schlüssel".encode()),
    ],
)
def test_the_end_of_the_line_is_no_part_of_it(tmp_path: Path, written: bytes, password: bytes) -> None:
    (tmp_path / "password").write_bytes(written)

    assert read_secret(FileRef(str(tmp_path / "password"))) == password


def test_it_may_stand_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKS_PASSWORD", "secret")

    assert read_secret(EnvRef("SOCKS_PASSWORD")) == b"secret"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"", "is empty: put a password there"),
        (b"\n", "is empty: put a password there"),
        (b"secret\nsecret\n", "holds more than one line"),
        (b"secret\n\n", "holds more than one line"),
        (b"sec\0ret", "holds more than one line"),
        (b"secret" * 42 + b"....", "holds 256 bytes and a password has 255 at most"),
        (b"secret" * 1000, "holds more than 257 bytes: is it really a password"),
    ],
)
def test_what_is_no_password_is_refused_and_not_shown(tmp_path: Path, written: bytes, why: str) -> None:
    (tmp_path / "password").write_bytes(written)

    with pytest.raises(UnreadableReferenceError, match=why) as caught:
        read_secret(FileRef(str(tmp_path / "password")))
    assert "secret" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_not_there_is_no_key_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(UnreadableReferenceError, match=r"there is no such file: check the path$"):
        read_secret(FileRef(str(tmp_path / "password")))
