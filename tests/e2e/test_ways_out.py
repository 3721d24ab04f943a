"""A client reaches its gateway through other people's proxies, and says what they answer when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.keys.pki import init_authority, issue_gateway
from tests.support.namespaces import two_machines
from tests.support.proxies import PASSWORD, USER, dante, microsocks, squid, tinyproxy
from tests.support.real_software import Programs
from tests.support.services import echo, service
from tests.support.site import Agent, Site, connect, site, tidegate

LOGIN = f"{USER}:{PASSWORD}"
SQUID_HELPER = "/usr/lib/squid/basic_ncsa_auth"


class Home:
    """A gateway with one tunnel to an echo service, and a client that is told how to get there."""

    def __init__(self, place: Site, target: str) -> None:
        self.place = place
        self.listen = place.listen()
        self._target = target
        tunnel = {"name": "t", "listen": self.listen, "client": "homelab", "service": "echo"}
        self.gateway = place.start("gateway", place.gateway_file([tunnel]))

    def write(self, **settings: Any) -> Path:
        return self.place.client_file({"echo": self._target}, **settings)

    def start(self, environment: Mapping[str, str] | None = None, **settings: Any) -> Agent:
        return self.place.start("client", self.write(**settings), environment=environment)

    def answers(self) -> bool:
        with connect(self.listen) as visitor:
            visitor.sendall(b"?")
            return visitor.recv(1) == b"?"

    def peer(self) -> str:
        """Where the gateway sees the client."""
        (client,) = self.gateway.status()["clients"]
        address: str = client["address"]
        return address


@pytest.fixture
def home(tmp_path: Path, loop: Sequence[str]) -> Iterator[Home]:
    with site(tmp_path, options=loop) as place, service(echo) as echoing:
        yield Home(place, echoing)


def everything_said_by(client: Agent) -> str:
    """Its log, its status and its plan."""
    path, admin = str(client.state), str(client.socket_path)
    texts = [client.log, json.dumps(client.status())]
    texts += [tidegate(*command).stdout for command in (("plan", path, "--socket", admin), ("check", path))]
    texts += [tidegate("plan", path, "--offline", *options).stdout for options in ((), ("--json",))]
    return "\n".join(texts)


@pytest.mark.real_software("tinyproxy")
def test_tinyproxy_lets_a_client_through_that_knows_the_password(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    proxy = home.place.listen()
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy):
        client = home.start(proxy=f"http://{LOGIN}@{proxy}")
        home.gateway.wait_for("client_connected")

        assert home.answers()
        (link,) = client.status()["links"]
        assert link["via"] == f"http://{proxy}"
        assert PASSWORD not in everything_said_by(client)


@pytest.mark.real_software("tinyproxy")
def test_what_tinyproxy_refuses_is_told_and_mended_live(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    proxy = home.place.listen()
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy):
        client = home.start(proxy=f"http://{proxy}")
        line = client.wait_for("link_down")
        assert f"the proxy http://{proxy} (client.proxy): it answered 407" in line["reason"]
        assert "set user and password in its URL" in line["reason"]

        home.write(proxy=f"http://{USER}:wrong@{proxy}")
        while "it refuses the user or the password" not in line["reason"]:
            line = client.wait_for("link_down", after=client.lines.index(line) + 1)
        home.write(proxy=f"http://{LOGIN}@{proxy}")
        client.wait_for("link_up")
        assert home.answers()
        assert PASSWORD not in everything_said_by(client)


@pytest.mark.real_software("tinyproxy")
def test_a_port_that_the_proxy_forbids_is_told(home: Home, tmp_path: Path, programs: Programs) -> None:
    proxy = home.place.listen()
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy, login=False, ports="443"):
        client = home.start(proxy=f"http://{proxy}")
        line = client.wait_for("link_down")

    assert "it answered 403" in line["reason"]
    assert "let the gateway listen at port 443" in line["reason"]


@pytest.mark.real_software("tinyproxy")
def test_a_proxy_that_goes_down_and_comes_back_takes_the_session_with_it_and_brings_it_back(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    proxy = home.place.listen()
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy):
        client = home.start(proxy=f"http://{LOGIN}@{proxy}")
        home.gateway.wait_for("client_connected")
        mark = client.mark
    line = client.wait_for("link_down", after=mark)
    while "nothing listens there" not in line["reason"]:
        line = client.wait_for("link_down", after=client.lines.index(line) + 1)
    mark = home.gateway.mark
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy):
        home.gateway.wait_for("client_connected", after=mark)
        assert home.answers()


@pytest.mark.real_software("squid", "openssl")
def test_squid_lets_a_client_through_that_knows_the_password_and_no_other(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    proxy = home.place.listen()
    with squid(programs["squid"], proxy, SQUID_HELPER):
        client = home.start(proxy=f"http://{USER}:wrong@{proxy}")
        line = client.wait_for("link_down")
        assert (
            "it answered 407 Proxy Authentication Required: it refuses the user or the password"
            in (line["reason"])
        )
        home.write(proxy={"env": "THE_PROXY"})
        while "client.proxy: $THE_PROXY is not set: set it" not in line["reason"]:
            line = client.wait_for("link_down", after=client.lines.index(line) + 1)
        (tmp_path / "proxy").write_text(f"http://{LOGIN}@{proxy}\n")
        home.write(proxy={"file": "proxy"})
        client.wait_for("link_up")

        assert home.answers()
        assert PASSWORD not in everything_said_by(client)


@pytest.mark.real_software("squid", "openssl")
def test_squid_is_spoken_to_within_tls_if_the_system_trusts_its_certificate(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    proxy = home.place.listen()
    host = proxy.rpartition(":")[0]
    authority = tmp_path / "others"
    init_authority(authority, name="of the proxy")
    issue_gateway(authority, name="proxy", hosts=[host])
    url, trusting = f"https://{LOGIN}@{proxy}", {"SSL_CERT_FILE": str(authority / "ca.crt")}
    with squid(
        programs["squid"], proxy, SQUID_HELPER, tls=(authority / "proxy.crt", authority / "proxy.key")
    ):
        client = home.start(trusting, proxy=url)
        client.wait_for("link_up")
        assert home.answers()
        (link,) = client.status()["links"]
        assert link["via"] == f"https://{proxy}"

        websocket = f"wss://{home.place.control}/tunnel"
        home.write(proxy=url, gateways=[websocket])
        client.wait_for("link_up", gateway=websocket)
        assert home.answers()
        assert PASSWORD not in client.log


@pytest.mark.real_software("microsocks")
def test_microsocks_lets_a_client_through_that_knows_the_password_and_no_other(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    proxy = home.place.listen()
    with microsocks(programs["microsocks"], tmp_path, proxy):
        client = home.start(proxy=f"socks5://{USER}:wrong@{proxy}")
        line = client.wait_for("link_down")
        assert f"the proxy socks5://{proxy} (client.proxy): " in line["reason"]
        assert "refuses the user or the password" in line["reason"]
        home.write(proxy=f"socks5://{LOGIN}@{proxy}")
        client.wait_for("link_up")

        assert home.answers()
        assert PASSWORD not in everything_said_by(client)


@pytest.mark.real_software("danted")
def test_dante_lets_a_client_through_where_its_rules_allow_it(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    good, bad = home.place.listen(), home.place.listen()
    with (
        dante(programs["danted"], tmp_path, bad, allow="192.0.2.0/24"),
        dante(programs["danted"], tmp_path, good, allow="127.0.0.0/8"),
    ):
        client = home.start(proxy=f"socks5://{bad}")
        line = client.wait_for("link_down")
        assert "the proxy answers with reply 2: its rules do not allow it" in line["reason"]
        home.write(proxy=f"socks5://{good}")
        client.wait_for("link_up")

        assert home.answers()


@pytest.mark.real_software("microsocks", "tinyproxy")
def test_a_session_goes_on_until_there_is_one_through_the_other_proxy(
    home: Home, tmp_path: Path, programs: Programs
) -> None:
    one, two = home.place.listen(), home.place.listen()
    with (
        tinyproxy(programs["tinyproxy"], tmp_path, one),
        microsocks(programs["microsocks"], tmp_path, two),
    ):
        client = home.start(proxy=f"http://{LOGIN}@{one}")
        home.gateway.wait_for("client_connected")
        with connect(home.listen) as visitor:
            visitor.sendall(b"1")
            assert visitor.recv(1) == b"1"
            mark = client.mark
            home.write(proxy=f"socks5://{LOGIN}@{two}")
            client.wait_for("link_up", after=mark)
            assert home.answers()
            visitor.sendall(b"2")
            assert visitor.recv(1) == b"2"
        assert not [line for line in client.lines if line["event"] == "link_down"]


@pytest.mark.real_software("tinyproxy")
def test_the_proxy_of_the_environment_is_used_except_for_what_it_exempts(
    tmp_path: Path, programs: Programs
) -> None:
    with two_machines() as (public, away), site(tmp_path, public.address) as place:
        listen = place.listen()
        tunnel = {"name": "t", "listen": listen, "client": "homelab", "service": "echo"}
        gateway = place.start("gateway", place.gateway_file([tunnel]), inside=public.inside)
        environment = {"https_proxy": f"http://{LOGIN}@{public.address}:1", "NO_PROXY": ""}
        client = place.start(
            "client", place.client_file({}), inside=away.inside, environment={**environment, "no_proxy": ""}
        )
        line = client.wait_for("link_down")
        assert f"the proxy http://{public.address}:1 (https_proxy): nothing listens there" in line["reason"]
        client.kill()

        environment["no_proxy"] = "192.0.2.0/24"
        client = place.start("client", place.client_file({}), inside=away.inside, environment=environment)
        gateway.wait_for("client_connected")


@pytest.mark.real_software("microsocks")
def test_the_router_of_the_default_route_is_a_proxy_that_nobody_has_to_look_up(
    tmp_path: Path, programs: Programs
) -> None:
    with two_machines() as (public, away), site(tmp_path, public.address) as place, ExitStack() as stack:
        gateway = place.start("gateway", place.gateway_file([]), inside=public.inside)
        proxy = f"{public.address}:1080"
        stack.enter_context(microsocks(programs["microsocks"], tmp_path, proxy, inside=public.inside))
        path = place.client_file({}, proxy=f"socks5://{LOGIN}@gateway:1080")
        client = place.start("client", path, inside=away.inside)
        line = client.wait_for("link_down")
        assert "no default route with a router now; connect it to a network" in line["reason"]

        away.route_through(public)

        gateway.wait_for("client_connected")


def test_a_client_dials_from_the_ports_that_it_is_told_to(home: Home) -> None:
    first = int(home.place.listen().rpartition(":")[2])
    client = home.start(local_ports=f"{first}-{first + 2}", sessions=2)
    for number in (1, 2):
        home.gateway.wait_for("client_connected", session=number)

    seen = {line["address"] for line in home.gateway.lines if line["event"] == "client_connected"}
    assert seen <= {f"127.0.0.1:{first + number}" for number in range(3)}
    assert len(seen) == 2
    home.write(local_ports=f"{first}", sessions=2)
    line = client.wait_for("link_not_renewed")
    assert f"no port of client.local_ports ({first}) is free" in line["reason"]


def test_a_way_out_that_does_not_work_is_not_called_good_because_the_one_before_does(home: Home) -> None:
    client = home.start()
    home.gateway.wait_for("client_connected")
    old = yaml.safe_load(client.state.read_text())
    nowhere = home.place.listen()
    bad = home.place.put("bad.yaml", {**old, "client": {**old["client"], "proxy": f"http://{nowhere}"}})
    good = home.place.put("good.yaml", old)
    admin = ("--socket", str(client.socket_path))

    applied = tidegate("apply", str(bad), "--to", str(client.state), *admin)
    assert applied.returncode == 1, applied.stdout

    reason = f"with the new ones: the proxy http://{nowhere} (client.proxy): nothing listens there"
    assert f"~ {home.place.control}: still on the settings of before; {reason}" in applied.stdout
    assert "is not in force as a whole: mend what failed, or return with tidegate rollback" in applied.stderr
    waited = tidegate("wait", "--for", "Ready", "--timeout", "0s", *admin)
    assert waited.returncode == 1, waited.stdout
    assert f"{home.place.control} is not Ready: still on the settings of before" in waited.stderr
    assert "1 of 2 (the state file and 1 gateway) is not so" in waited.stderr
    assert "Not ready" in tidegate("status", *admin).stdout
    assert home.answers()
    again = tidegate("apply", str(bad), "--to", str(client.state), *admin)
    assert again.returncode == 1, again.stdout
    assert reason in again.stderr
    returned = tidegate("apply", str(good), "--to", str(client.state), *admin)
    assert returned.returncode == 0, returned.stderr
    assert f"~ {home.place.control}: reached" in returned.stdout
    assert "is Ready" in tidegate("wait", "--for", "Ready", "--timeout", "0s", *admin).stdout


@pytest.mark.real_software("tinyproxy")
def test_a_websocket_goes_through_a_proxy_too(home: Home, tmp_path: Path, programs: Programs) -> None:
    proxy = home.place.listen()
    with tinyproxy(programs["tinyproxy"], tmp_path, proxy):
        client = home.start(proxy=f"http://{LOGIN}@{proxy}", gateways=[f"wss://{home.place.control}/tunnel"])
        home.gateway.wait_for("client_connected")

        assert home.answers()
        assert client.status()["links"][0]["via"] == f"http://{proxy}"
