"""Other people's programs leave through the SOCKS5 port of a client, and hear why where they may not."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import yaml
from python_socks import ProxyError, ProxyType
from python_socks.sync import Proxy

from tests.support.real_software import Programs, require
from tests.support.services import answering, hash_at_the_end, nobody_listening, service
from tests.support.site import PATIENCE, Agent, Site, connect, own_address, read_all, site
from tests.support.tools import Curl, CurlError

pytestmark = pytest.mark.real_software("curl")

BODY: Final = random.Random(5).randbytes(8 * 1024 * 1024)
ALLOW: Final = [
    {"client": "*", "to": ["127.0.0.0/8", "::1", "*.invalid"], "ports": "*"},
]


def upload(connection: socket.socket) -> None:
    """Answer a PUT with the SHA-256 of what was sent."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 16)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    (length,) = re.findall(rb"Content-Length: (\d+)", head)
    if b"Expect: 100-continue" in head:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest = hashlib.sha256(body)
    left = int(length) - len(body)
    while left:
        chunk = connection.recv(1 << 16)
        digest.update(chunk)
        left -= len(chunk)
    answer = digest.hexdigest().encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A gateway, a client whose port is open to this machine, and one whose port wants a password."""

    place: Site
    gateway: Agent
    client: Agent
    open: str
    closed: str
    page: str
    page6: str
    hashing: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("socks5")
    with ExitStack() as running:
        answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        page = running.enter_context(service(answering(answer)))
        page6 = running.enter_context(service(answering(answer), at="::1"))
        hashing = running.enter_context(service(hash_at_the_end))
        place = running.enter_context(site(directory, own_address(), options=loop))
        listen, closed = place.listen(), place.listen()
        gateway = place.start("gateway", place.gateway_file([], egress={"allow": ALLOW}))
        (directory / "password").write_text("correct horse\n")
        client = place.start("client", place.client_file({}, socks5={"listen": listen}))
        client.wait_for("link_up")
        office = place.client_file(
            {}, id="office", socks5={"listen": closed, "user": "mail", "password": {"file": "password"}}
        )
        place.start("client", office).wait_for("link_up")
        yield World(
            place=place,
            gateway=gateway,
            client=client,
            open=listen,
            closed=closed,
            page=page,
            page6=f"[::1]:{page6.rpartition(':')[2]}",
            hashing=hashing,
        )


def curl(*options: str) -> Curl:
    return Curl(require("curl")["curl"], "--noproxy", "", *options)


def download(url: str, *options: str) -> str:
    """The SHA-256 of what curl gets."""
    done = subprocess.run(
        [
            require("curl")["curl"],
            "-sS",
            "-g",
            "--noproxy",
            "",
            "--max-time",
            f"{PATIENCE:.0f}",
            *options,
            url,
        ],
        capture_output=True,
        timeout=2 * PATIENCE,
        check=True,
    )
    return hashlib.sha256(done.stdout).hexdigest()


# curl


@pytest.mark.parametrize("how", ["--socks5-hostname", "--socks5"])
@pytest.mark.parametrize("what", ["ipv4", "ipv6", "name"])
def test_curl_gets_every_byte(world: World, how: str, what: str) -> None:
    host = {"ipv4": world.page, "ipv6": world.page6, "name": f"localhost:{world.page.rpartition(':')[2]}"}
    mark = world.client.mark

    assert download(f"http://{host[what]}/", how, world.open) == hashlib.sha256(BODY).hexdigest()
    if (how, what) != ("--socks5", "name"):  # which address that is, curl decides
        line = world.client.wait_for("program_left", after=mark, to=host[what])
        assert line["bytes_in"] > len(BODY)


def test_curl_puts_every_byte(world: World, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    with service(upload) as target:
        answer = curl("--socks5-hostname", world.open, "--upload-file", str(tmp_path / "body"))(
            f"http://{target}/"
        )

    assert answer.body == hashlib.sha256(BODY).hexdigest()


def test_curl_logs_in(world: World) -> None:
    url = f"http://{world.page}/"

    assert download(url, "--socks5-hostname", world.closed, "--proxy-user", "mail:correct horse") == (
        hashlib.sha256(BODY).hexdigest()
    )


def refusal(world: World, url: str, *options: str) -> str:
    with pytest.raises(CurlError) as caught:
        curl(*options)(url)
    return str(caught.value)


def test_a_program_is_told_from_where_the_gateway_dialed(world: World) -> None:
    """RFC 1928, section 6: BND.ADDR and BND.PORT."""
    with socket.create_server(("127.0.0.1", 0)) as server, connect(world.open) as program:
        program.sendall(
            b"\x05\x01\x00\x05\x01\x00\x03\x09localhost" + server.getsockname()[1].to_bytes(2, "big")
        )
        there, (host, port) = server.accept()
        there.close()
        said = b"\x05\x00" + b"\x05\x00\x00\x01" + socket.inet_aton(host) + port.to_bytes(2, "big")
        assert read_all(program) == said


@pytest.mark.parametrize("login", ["mail:wrong", "nobody:correct horse"])
def test_curl_is_told_that_its_password_is_wrong(world: World, login: str) -> None:
    said = refusal(world, f"http://{world.page}/", "--socks5-hostname", world.closed, "--proxy-user", login)

    assert "User was rejected by the SOCKS5 server (1 1)" in said


def test_curl_is_told_that_it_needs_a_password(world: World) -> None:
    said = refusal(world, f"http://{world.page}/", "--socks5-hostname", world.closed)

    assert "No authentication method was acceptable" in said


def test_curl_is_told_why_it_cannot_get_there(world: World) -> None:
    def reply(url: str) -> str:
        said = refusal(world, url, "-g", "--socks5-hostname", world.open)
        (number,) = re.findall(r"\((\d+)\)$", said)
        return str(number)

    with nobody_listening() as nobody:
        assert reply(f"http://{nobody}/") == "5"
    assert reply("http://nowhere.invalid/") == "4"
    assert reply("http://192.0.2.1/") == "2"
    assert reply(f"http://{world.place.control}/") == "2"


def test_curl_that_speaks_something_else_is_told_so_and_so_is_the_log(world: World) -> None:
    mark = world.client.mark
    assert refusal(world, f"http://{world.page}/", "--socks4", world.open)
    answer = curl("--proxy", f"http://{world.open}")(f"http://{world.page}/")
    assert (answer.status, answer.body) == (400, "This port speaks SOCKS5, not HTTP.\n")
    for reason in (
        "a program spoke SOCKS4, which is not supported; set it to SOCKS5 (in URLs: socks5h://)",
        "a program spoke HTTP, or something like it; set its proxy to socks5h://, not http://",
    ):
        world.client.wait_for("program_refused", after=mark, reason=reason)


def test_curl_leaves_through_a_unix_socket(world: World, tmp_path: Path) -> None:
    with site(tmp_path, own_address(), options=world.place.options) as place:
        place.start("gateway", place.gateway_file([], egress={"allow": ALLOW}))
        place.start("client", place.client_file({}, socks5={"listen": "unix:s"})).wait_for("link_up")

        proxy = f"socks5h://localhost{tmp_path}/s"
        assert download(f"http://{world.page}/", "--proxy", proxy) == hashlib.sha256(BODY).hexdigest()


def test_what_has_gone_through_is_counted_on_both_sides(world: World) -> None:
    download(f"http://{world.page}/", "--socks5-hostname", world.open)
    port = world.client.status()["socks5"]

    assert port["listen"] == world.open
    assert port["traffic"]["bytes_in"] >= len(BODY)
    clients = {client["id"]: client for client in world.gateway.status()["clients"]}
    assert clients["homelab"]["traffic"]["bytes_in"] == port["traffic"]["bytes_in"]
    assert clients["homelab"]["traffic"]["bytes_out"] == port["traffic"]["bytes_out"]


# netcat


@pytest.mark.real_software("nc")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_netcat_gets_and_sends_every_byte(world: World, programs: Programs, host: str) -> None:
    port = world.hashing.rpartition(":")[2]
    done = subprocess.run(
        [programs["nc"], "-N", "-X", "5", "-x", world.open, host, port],
        input=BODY,
        capture_output=True,
        timeout=PATIENCE,
    )

    assert (done.returncode, done.stdout.decode()) == (0, hashlib.sha256(BODY).hexdigest())


# python-socks


def proxy(listen: str, user: str | None = None, password: str | None = None) -> Proxy:
    host, _, port = listen.rpartition(":")
    made: Proxy = Proxy.create(
        ProxyType.SOCKS5, host=host, port=int(port), username=user, password=password, rdns=True
    )
    return made


def connected(through: Proxy, target: str) -> socket.socket:
    host, _, port = target.rpartition(":")
    made: socket.socket = through.connect(dest_host=host.strip("[]"), dest_port=int(port), timeout=PATIENCE)
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_python_socks_gets_and_sends_every_byte(world: World, host: str) -> None:
    target = f"{host}:{world.hashing.rpartition(':')[2]}"
    with connected(proxy(world.closed, "mail", "correct horse"), target) as there:
        there.sendall(BODY)
        there.shutdown(socket.SHUT_WR)

        assert read_all(there).decode() == hashlib.sha256(BODY).hexdigest()


def test_python_socks_is_told_why_it_cannot_get_there(world: World) -> None:
    with nobody_listening() as nobody, pytest.raises(ProxyError, match="Connection refused"):
        connected(proxy(world.open), nobody)
    with pytest.raises(ProxyError, match="not allowed"):
        connected(proxy(world.open), "192.0.2.1:25")
    with pytest.raises(ProxyError, match=r"[Aa]uthentication"):
        connected(proxy(world.closed, "mail", "wrong"), world.page)


def test_a_hundred_programs_at_once_each_get_their_own_bytes(world: World) -> None:
    def hashed(number: int) -> bool:
        mine = random.Random(number).randbytes(100_000 + number)
        with connected(proxy(world.open), world.hashing) as there:
            there.sendall(mine)
            there.shutdown(socket.SHUT_WR)
            return read_all(there).decode() == hashlib.sha256(mine).hexdigest()

    with ThreadPoolExecutor(100) as threads:
        assert all(threads.map(hashed, range(100)))


def test_a_reset_is_a_reset_for_the_program_too(world: World) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(b"the beginning")
        assert connection.recv(2) == b"ok"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with service(cut) as target, connected(proxy(world.open), target) as there:
        assert there.recv(13, socket.MSG_WAITALL) == b"the beginning"
        there.sendall(b"ok")
        with pytest.raises(ConnectionResetError):
            read_all(there)


@pytest.mark.real_software("curl")
def test_a_password_changes_while_the_port_is_open(world: World, tmp_path: Path, programs: Programs) -> None:
    with site(tmp_path, own_address(), options=world.place.options) as place:
        listen = place.listen()
        place.start("gateway", place.gateway_file([], egress={"allow": ALLOW}))
        (tmp_path / "password").write_text("first\n")
        port = {"listen": listen, "user": "mail", "password": {"file": "password"}}
        client = place.start("client", place.client_file({}, socks5=port))
        client.wait_for("link_up")
        before = connected(proxy(listen, "mail", "first"), world.hashing)
        (tmp_path / "password").write_text("second\n")
        client.wait_for("keys_renewed")

        with pytest.raises(ProxyError):
            connected(proxy(listen, "mail", "first"), world.hashing)
        connected(proxy(listen, "mail", "second"), world.hashing).close()
        with before:
            before.sendall(b"still here")
            before.shutdown(socket.SHUT_WR)
            assert read_all(before).decode() == hashlib.sha256(b"still here").hexdigest()


def test_noise_and_silence_at_the_port_cost_nobody_else_anything(world: World) -> None:
    """More who are silent than may be undecided, and whatever bytes."""
    host, _, port = world.open.rpartition(":")
    noise = random.Random(7)
    with ExitStack() as open_:
        for number in range(400):
            stranger = open_.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
            if number % 2:
                start = noise.choice([b"", b"\5", b"\5\1\0", b"\5\1\0\5\1\0\3"])
                with suppress(ConnectionError):
                    stranger.sendall(start + noise.randbytes(noise.randrange(300)))
        assert world.client.process.poll() is None
    for _ in range(3):
        assert download(f"http://{world.page}/", "--socks5-hostname", world.open) == (
            hashlib.sha256(BODY).hexdigest()
        )


def test_when_the_first_gateway_dies_programs_leave_through_the_second(world: World, tmp_path: Path) -> None:
    with site(tmp_path, own_address(), options=world.place.options) as place, ExitStack() as running:
        listen, other = place.listen(), place.listen()
        first = place.start("gateway", place.gateway_file([], egress={"allow": ALLOW}))
        state = yaml.safe_load((tmp_path / "gateway.yaml").read_text())
        state["gateway"] |= {"control": other, "name": "gw-other"}
        second = place.start("gateway", place.put("other.yaml", state))
        client = place.start(
            "client", place.client_file({}, gateways=[place.control, other], socks5={"listen": listen})
        )
        for gateway in (place.control, other):
            client.wait_for("link_up", gateway=gateway)
        before = running.enter_context(connected(proxy(listen), world.hashing))
        first.kill()

        with pytest.raises(ConnectionResetError):
            read_all(before)
        assert download(f"http://{world.page}/", "--socks5-hostname", listen) == (
            hashlib.sha256(BODY).hexdigest()
        )
        assert second.wait_for("egress_closed")["bytes_in"] > len(BODY)
        assert client.wait_for("program_left", to=world.page)["gateway"] == other
