"""What operators and their programs ask a running gateway, with curl and with the commands."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.real_software import Programs
from tests.support.services import listening, target
from tests.support.site import PATIENCE, Agent, Site, connect, site, tidegate

pytestmark = pytest.mark.real_software("curl")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


class Curl:
    """curl on the socket of one agent."""

    def __init__(self, program: str, agent: Agent) -> None:
        self.command = [program, "--silent", "--show-error", "--unix-socket", str(agent.socket_path)]

    def __call__(self, path: str, *options: str, stdin: str = "") -> tuple[int, dict[str, str], str]:
        """Status, headers and body of an answer."""
        done = subprocess.run(
            [*self.command, "--include", "--max-time", str(PATIENCE), *options, f"http://agent{path}"],
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        )
        head, _, body = done.stdout.partition("\n\n")
        first, *lines = head.splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, body

    @contextmanager
    def events(self, *, after: str | None = None) -> Iterator[Events]:
        place = [] if after is None else ["--header", f"Last-Event-ID: {after}"]
        command = [*self.command, "--no-buffer", *place, "http://agent/v1/events"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                events = Events(process)
                if after is None:
                    events.read_start()
                yield events
            finally:
                process.kill()


class Events:
    """What curl prints of a stream of events."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self.process = process
        self.last_id = ""

    def read_start(self) -> None:
        """Until it is known from where on it reads."""
        while not self.last_id:
            self._note(next(self._lines))

    def wait_for(self, name: str, **data: Any) -> dict[str, Any]:
        """The data of the next event of that name with this data."""
        found = ""
        for line in self._lines:
            field, value = self._note(line)
            if field == "event":
                found = value
            elif field == "data" and found == name:
                told: dict[str, Any] = json.loads(value)
                if all(told.get(key) == wanted for key, wanted in data.items()):
                    return told
        raise AssertionError(f"the stream ended before there was {name} with {data}")

    def _note(self, line: str) -> tuple[str, str]:
        field, _, value = line.rstrip("\n").partition(": ")
        if field == "id":
            self.last_id = value
        return field, value


def tunnel(name: str, listen: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "listen": listen, "client": "homelab", "service": "web", **more}


def test_a_day_of_a_gateway_as_its_events_tell_it(place: Site, programs: Programs) -> None:
    """From a client that comes to the end of the gateway, which is the end of the stream and of curl."""
    first, second = place.listen(), place.listen()
    gateway = place.start("gateway", place.gateway_file([tunnel("a", first)]))
    curl = Curl(programs["curl"], gateway)
    with listening() as web, curl.events() as events:
        client = place.start("client", place.client_file({"web": target(web)}))
        events.wait_for("client_connected", client="homelab", session=1)
        changed = events.wait_for("tunnel_changed", tunnel="a")
        assert {one["type"]: one["status"] for one in changed["conditions"]} == {
            "ResolvedRefs": True,
            "Ready": True,
        }
        place.gateway_file([tunnel("a", first), tunnel("b", second)])
        events.wait_for("state_accepted", generation=2)
        events.wait_for("resource_opened", resource=f"listener {second}")
        events.wait_for("state_in_force", generation=2)
        place.gateway_file([tunnel("a", "nowhere")])
        refused = events.wait_for("state_refused", generation=2)
        assert refused["problems"][0]["line"] > 1
        mark = events.last_id
        assert client.stop() == 0
        events.wait_for("client_disconnected", client="homelab")
        with curl.events(after=mark) as again:
            again.wait_for("client_disconnected", client="homelab")
        gateway.process.send_signal(signal.SIGTERM)
        events.wait_for("drain_began")
        events.wait_for("drain_ended", dropped=0)
        assert events.wait_for("stream_ended") == {"reason": "the agent is stopping"}
        assert events.process.wait(PATIENCE) == 0
        assert gateway.process.wait(PATIENCE) == 0


def test_a_client_tells_of_its_links_and_is_reloaded_like_a_gateway(place: Site, programs: Programs) -> None:
    state = place.gateway_file([])
    gateway = place.start("gateway", state)
    client = place.start("client", place.client_file({}))
    client.wait_for("link_up")
    with Curl(programs["curl"], client).events() as events:
        gateway.kill()
        assert events.wait_for("link_lost", gateway=place.control, session=1)["reason"]
        place.start("gateway", state)
        events.wait_for("link_connected", gateway=place.control)
        place.client_file({"web": "127.0.0.1:1"})
        reloaded = tidegate("reload", "--socket", str(client.socket_path))
        events.wait_for("resource_updated", resource="services")
        ready = tidegate("wait", place.control, "--socket", str(client.socket_path))

    assert (reloaded.returncode, reloaded.stdout) == (0, "generation 2 is in force\n")
    assert (ready.returncode, ready.stdout) == (0, f"{place.control} is Ready\n")


def test_two_programs_change_one_gateway_and_neither_overwrites_the_other(
    place: Site, programs: Programs
) -> None:
    fixed, one, other = place.listen(), place.listen(), place.listen()
    state = place.gateway_file([tunnel("fixed", fixed)])
    before = state.read_bytes()
    curl = Curl(programs["curl"], place.start("gateway", state))
    put = ("--request", "PUT", "--header", "Content-Type: application/json", "--data-binary", "@-")
    status, headers, body = curl("/v1/state")
    document = json.loads(body)

    def sent(listen: str, etag: str) -> tuple[int, dict[str, str], str]:
        mine = tunnel(f"t{listen.rpartition(':')[2]}", listen)
        changed = {**document, "tunnels": [*document["tunnels"], mine]}
        return curl("/v1/state", *put, "--header", f"If-Match: {etag}", stdin=json.dumps(changed))

    first = sent(one, headers["etag"])
    second = sent(other, headers["etag"])
    unseen = curl("/v1/state", *put, stdin=body)

    assert (status, first[0], second[0], unseen[0]) == (200, 200, 412, 428)
    assert second[1]["etag"] == first[1]["etag"] != headers["etag"]
    assert second[1]["content-type"] == "application/problem+json"
    with connect(one):
        pass
    with pytest.raises(ConnectionRefusedError):
        connect(other)
    assert state.read_bytes() == before


def test_reload_wait_and_explain_say_the_same_of_a_visitor_who_gets_through(
    place: Site, programs: Programs
) -> None:
    listen = place.listen()
    gateway = place.start("gateway", place.gateway_file([tunnel("a", listen, hostname="a.test")]))
    sock = ("--socket", str(gateway.socket_path))
    away = tidegate("explain", listen, "--host", "a.test", *sock)
    with listening() as web:
        place.start("client", place.client_file({"web": target(web)}))
        ready = tidegate("wait", "a", *sock)
        reloaded = tidegate("reload", "--json", *sock)
        through = tidegate("explain", listen, "--host", "A.Test", "--json", *sock)
        status, _, body = Curl(programs["curl"], gateway)(f"/v1/explain?listen={listen}&host=a.test")

    assert (away.returncode, ready.returncode, through.returncode) == (1, 0, 0), ready.stderr
    assert "HTTP 503" in away.stdout
    assert ready.stdout == "a is Ready\n"
    assert json.loads(reloaded.stdout)["in_force"] is True
    assert (status, json.loads(body)) == (200, json.loads(through.stdout))
    assert json.loads(body)["client"] == "homelab"


def test_the_description_of_the_api_is_one_that_yaml_and_json_readers_take(
    place: Site, programs: Programs
) -> None:
    gateway = place.start("gateway", place.gateway_file([]))

    status, headers, body = Curl(programs["curl"], gateway)("/v1/openapi.json")

    assert (status, headers["content-type"]) == (200, "application/json")
    assert yaml.safe_load(body)["openapi"].startswith("3.1.")
