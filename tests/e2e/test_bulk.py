"""Much at once: 100 MiB each way with the right hash, and 200 visitors at the same time."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemons import nginx
from tests.support.real_software import Programs, require
from tests.support.services import echo, service
from tests.support.site import PATIENCE, Site, connect, read_all, site

pytestmark = pytest.mark.real_software("nginx", "curl")

MIB = 1 << 20
SIZE = 100 * MIB
VISITORS = 200


class Warehouse:
    """A gateway with an nginx that stores and hands out files, and an echo."""

    def __init__(self, place: Site, files: Path, targets: dict[str, str]) -> None:
        self.files = files
        self.store, self.echo = place.listen(), place.listen()
        tunnels = [
            {"name": name, "listen": listen, "client": "homelab", "service": name}
            for name, listen in {"store": self.store, "echo": self.echo}.items()
        ]
        self.gateway, self.client = place.start_both(tunnels, targets)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """100 MiB of which no two parts are alike, and their hash."""
    path = tmp_path_factory.mktemp("load") / "load"
    source, digest = random.Random(2), hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(SIZE // MIB):
            block = source.randbytes(MIB)
            digest.update(block)
            file.write(block)
    yield path, digest.hexdigest()
    path.unlink()


@pytest.fixture(scope="module")
def warehouse(
    tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str], load: tuple[Path, str]
) -> Iterator[Warehouse]:
    directory = tmp_path_factory.mktemp("bulk")
    files = directory / "files"
    files.mkdir()
    (files / "load").symlink_to(load[0])
    with ExitStack() as running:
        server = f"root {files}; dav_methods PUT; client_max_body_size 0;"
        targets = {
            "store": running.enter_context(nginx(require("nginx")["nginx"], directory, server)),
            "echo": running.enter_context(service(echo)),
        }
        yield Warehouse(running.enter_context(site(directory, options=loop)), files, targets)


def download(curl: str, url: str) -> str:
    """The hash of what curl gets."""
    digest = hashlib.sha256()
    command = [curl, "-sSf", "--max-time", f"{PATIENCE:.0f}", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(MIB):
            digest.update(chunk)
    assert process.returncode == 0
    return digest.hexdigest()


def upload(curl: str, path: Path, url: str) -> None:
    command = [curl, "-sSf", "--max-time", f"{PATIENCE:.0f}", "-T", str(path), url]
    subprocess.run(command, check=True, timeout=2 * PATIENCE)


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_100_mib_come_down_with_the_right_hash(
    warehouse: Warehouse, load: tuple[Path, str], programs: Programs
) -> None:
    assert download(programs["curl"], f"http://{warehouse.store}/load") == load[1]


def test_100_mib_go_up_with_the_right_hash(
    warehouse: Warehouse, load: tuple[Path, str], programs: Programs
) -> None:
    stored = warehouse.files / "uploaded"
    upload(programs["curl"], load[0], f"http://{warehouse.store}/uploaded")
    assert hash_of(stored) == load[1]
    stored.unlink()


def test_both_ways_at_once(warehouse: Warehouse, load: tuple[Path, str], programs: Programs) -> None:
    """One upload and one download of 100 MiB share the session."""
    stored = warehouse.files / "meanwhile"
    with ThreadPoolExecutor() as threads:
        up = threads.submit(upload, programs["curl"], load[0], f"http://{warehouse.store}/meanwhile")
        down = threads.submit(download, programs["curl"], f"http://{warehouse.store}/load")
        assert down.result() == load[1]
        up.result()
    assert hash_of(stored) == load[1]
    stored.unlink()


def test_200_visitors_at_once_each_get_what_is_theirs(warehouse: Warehouse) -> None:
    """All are connected before the first one speaks; each sends words of its own and reads them back."""
    everyone_is_there = threading.Barrier(VISITORS)

    def visit(number: int) -> bool:
        payload = random.Random(number).randbytes(1 + number * 1_000)
        with connect(warehouse.echo) as visitor:
            everyone_is_there.wait(PATIENCE)
            visitor.sendall(payload)
            visitor.shutdown(socket.SHUT_WR)
            return read_all(visitor) == payload

    with ThreadPoolExecutor(VISITORS) as threads:
        assert all(threads.map(visit, range(VISITORS)))


def test_a_visitor_that_does_not_read_holds_up_nobody(warehouse: Warehouse) -> None:
    """Its own stream stops at its window; the next visitor's goes on."""
    stuck_payload, payload = bytes(MIB), random.Random(3).randbytes(MIB)
    with connect(warehouse.echo) as stuck:
        stuck.setblocking(False)
        while True:
            try:
                stuck.send(stuck_payload)
            except BlockingIOError:
                break  # every buffer on its way is full, or will be in a moment
        with connect(warehouse.echo) as visitor, ThreadPoolExecutor(1) as threads:
            reading = threads.submit(read_all, visitor)
            visitor.sendall(payload)
            visitor.shutdown(socket.SHUT_WR)
            assert reading.result() == payload
