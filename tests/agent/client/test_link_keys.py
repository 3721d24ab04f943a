"""What a client knows of keys that its next session would use."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.client.link_keys import LinkKeys
from schemas.errors import TidegateError
from schemas.references import FileRef
from schemas.state import TlsClient
from tests.support import pki

pytestmark = pytest.mark.anyio


class Files:
    """The files of a client."""

    def __init__(self, directory: Path) -> None:
        self.cert, self.key, self.ca = (directory / name for name in ("crt", "key", "ca"))
        self.ca.write_bytes(pki.authority().certificate)
        self.renew()

    @property
    def tls(self) -> TlsClient:
        return TlsClient(cert=FileRef(str(self.cert)), key=FileRef(str(self.key)), ca=FileRef(str(self.ca)))

    def renew(self) -> None:
        own = pki.client()
        self.cert.write_bytes(own.certificate)
        self.key.write_bytes(own.key)


async def test_before_there_is_a_state_there_are_no_keys() -> None:
    assert not list(LinkKeys(lambda: None).in_use)


async def test_the_first_ones_are_no_news_and_later_ones_are(tmp_path: Path) -> None:
    files = Files(tmp_path)
    keys = LinkKeys(lambda: files.tls)
    assert list(keys.in_use) == [files.tls]
    assert await keys.renew(files.tls) is None
    assert await keys.renew(files.tls) is None

    files.renew()
    renewed = await keys.renew(files.tls)

    assert renewed is not None
    assert renewed["cert"] == str(files.cert)
    assert await keys.renew(files.tls) is None


async def test_a_pair_that_would_not_do_is_told_and_forgotten_when_the_old_one_is_back(
    tmp_path: Path,
) -> None:
    files = Files(tmp_path)
    keys = LinkKeys(lambda: files.tls)
    good = files.key.read_bytes()
    await keys.renew(files.tls)

    files.key.write_bytes(pki.client().key)
    for _ in range(2):
        with pytest.raises(
            TidegateError, match=r"^client\.tls\.key \(.*\) is not the key of client\.tls\.cert"
        ):
            await keys.renew(files.tls)

    files.key.write_bytes(good)
    assert await keys.renew(files.tls) is None
