"""A directory of fragments is one state: merged by name, as it is at one moment, without what tools left."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconcile import settling
from reconcile.reading import UnreadableError, take_snapshot
from reconcile.source import FileSource, Loaded
from reconcile.writers import Writers, writers_of
from schemas.names import TunnelName
from schemas.roles import Role
from schemas.state import GatewayState
from tests.support.kubelet import Volume

from .settled import load_settled

pytestmark = pytest.mark.anyio

GATEWAY = "tidegate: 1\ngateway:\n  tls: {cert: gw.crt, key: gw.key, client_ca: ca.crt}\n"
CLIENT = """\
tidegate: 1
client:
  id: homelab
  gateways: "gw1.example.com:9056"
  tls: {cert: homelab.crt, key: homelab.key, ca: ca.crt}
"""


def tunnel(name: str, listen: str = "0.0.0.0:443", hostname: str | None = None) -> str:
    matched = "" if hostname is None else f"    hostname: {hostname}\n"
    return (
        f'tidegate: 1\ntunnels:\n  - name: {name}\n    listen: "{listen}"\n{matched}'
        "    client: homelab\n    service: web\n"
    )


def put(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (directory / name).write_text(text)


def names(loaded: Loaded) -> list[TunnelName]:
    assert isinstance(loaded.state, GatewayState)
    return [tunnel.name for tunnel in loaded.state.tunnels]


@pytest.mark.parametrize(
    ("role", "first", "second", "words"),
    [
        (Role.GATEWAY, tunnel("blog"), tunnel("blog", "0.0.0.0:444"), '"blog"'),
        (Role.GATEWAY, tunnel("blog"), tunnel("mail"), "0.0.0.0:443"),
        (
            Role.GATEWAY,
            tunnel("blog", hostname="www.example.com"),
            tunnel("mail", hostname="WWW.example.com"),
            "www.example.com",
        ),
        (Role.GATEWAY, tunnel("blog"), tunnel("mail", "192.0.2.1:443"), "0.0.0.0:443"),
        (
            Role.GATEWAY,
            "tidegate: 1\nclients:\n  - id: homelab\n",
            "tidegate: 1\nclients:\n  - id: office\n  - id: homelab\n",
            "homelab",
        ),
        (Role.GATEWAY, tunnel("blog"), GATEWAY, "section gateway"),
        (
            Role.CLIENT,
            'tidegate: 1\nservices:\n  web: "127.0.0.1:80"\n',
            'tidegate: 1\nservices:\n  web: "127.0.0.1:81"\n',
            '"web"',
        ),
    ],
    ids=["tunnel", "listener", "listener and host name", "wildcard address", "client", "section", "service"],
)
async def test_what_is_declared_twice_is_told_with_both_places(
    tmp_path: Path, role: Role, first: str, second: str, words: str
) -> None:
    put(
        tmp_path,
        {"00.yaml": GATEWAY if role is Role.GATEWAY else CLIENT, "10.yaml": first, "20.yaml": second},
    )

    (problem,) = (await FileSource(tmp_path, role=role).load()).problems

    assert words in problem.message
    assert problem.place is not None
    assert problem.see is not None
    assert {Path(place.file).name for place in (problem.place, problem.see)} <= {
        "00.yaml",
        "10.yaml",
        "20.yaml",
    }
    assert problem.place.file > problem.see.file


LEFTOVERS = (
    "x.yaml~",  # vim, nano, emacs
    ".x.yaml.swp",
    ".x.yaml.un~",
    "4913",  # with which vim finds out whether it may write here
    "#x.yaml#",  # emacs
    ".#x.yaml",
    "x.yaml.~1~",
    "x.yaml.bak",
    "x.yaml.orig",
    "x.yaml.rej",
    "x.yaml.tmp",
    "x.yaml.new",
    "x.yaml.part",
    "x.yaml.rpmnew",
    "x.yaml.rpmsave",
    "x.yaml.dpkg-dist",
    "x.yaml.dpkg-new",
    "x.yaml.ucf-old",
    "x.yaml.12345.2026-01-31@12:00:00~",  # ansible, with backup: true
    ".ansible_tmpx1y2z3x.yaml",
    ".x.yaml.AbC123",  # rsync
    "sedAbC123",
    ".x.yaml.kate-swp",
    "x.yaml___jb_tmp___",
    ".goutputstream-AbC123",
    ".nfs000000000000000100000001",
    ".git",
    ".gitignore",
    "README.md",
    "gateway.schema.json",
)


@pytest.mark.parametrize("name", LEFTOVERS)
async def test_what_editors_and_tools_leave_is_no_fragment(tmp_path: Path, name: str) -> None:
    put(tmp_path, {"00.yaml": GATEWAY, "x.yaml": tunnel("blog")})
    source = FileSource(tmp_path, role=Role.GATEWAY)
    digest = (await source.load()).digest
    put(tmp_path, {name: tunnel("blog")})

    loaded = await source.load()

    assert (loaded.problems, loaded.digest, names(loaded)) == ((), digest, ["blog"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can tell who writes")
async def test_a_fragment_that_is_being_written_does_not_count_before_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"00.yaml": GATEWAY, "10.yaml": tunnel("blog")})
    source = FileSource(tmp_path, role=Role.GATEWAY)
    await source.load()
    with (tmp_path / "20.yaml").open("w") as file:
        file.write(tunnel("mail", "0.0.0.0:25"))
        file.flush()

        def answer_and_finish(path: Path) -> Writers:
            found = writers_of(path)
            if not file.closed:
                file.write(tunnel("wiki", "0.0.0.0:8080").partition("tunnels:\n")[2])
                file.close()
            return found

        monkeypatch.setattr(settling, "writers_of", answer_and_finish)

        loaded = await load_settled(source)

    assert (loaded.generation, names(loaded)) == (2, ["blog", "mail", "wiki"])


async def test_a_spoiled_fragment_holds_back_the_others_until_it_is_mended(tmp_path: Path) -> None:
    put(tmp_path, {"00.yaml": GATEWAY, "10.yaml": tunnel("blog")})
    source = FileSource(tmp_path, role=Role.GATEWAY)
    await source.load()

    put(tmp_path, {"20.yaml": tunnel("mail", "0.0.0.0:25"), "30.yaml": "tidegate: 1\ntunnels: [\n"})
    spoiled = await source.load()
    put(tmp_path, {"30.yaml": tunnel("wiki", "0.0.0.0:8080")})
    mended = await source.load()

    assert (spoiled.generation, names(spoiled)) == (1, ["blog"])
    assert [problem.place and Path(problem.place.file).name for problem in spoiled.problems] == ["30.yaml"]
    assert (mended.generation, names(mended)) == (2, ["blog", "mail", "wiki"])


def test_a_reading_is_of_one_moment_however_often_the_files_are_swapped(tmp_path: Path) -> None:
    """Every file tells the version it belongs to, and no reading has two of them."""
    volume = Volume(tmp_path)

    def write(version: int) -> None:
        volume.write({f"{number}.yaml": f"version {version}\n" for number in range(20)})

    def rewrite() -> None:
        for version in range(1, 150):
            write(version)

    write(0)
    writer = threading.Thread(target=rewrite)
    writer.start()
    seen: set[bytes] = set()
    while writer.is_alive() or not seen:
        try:
            texts = take_snapshot(tmp_path).texts
        except UnreadableError:
            continue  # it says that it is swapped too often, or that a file has just gone
        assert len({text.data for text in texts}) == 1
        seen.add(texts[0].data)
    writer.join()
    assert len(take_snapshot(tmp_path).texts) == 20
