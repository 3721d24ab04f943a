"""``/v1/state``, read and sent back over a real unix socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from agent.api import state as module
from agent.api.app import create_app
from reconcile.actuator import ActionError
from tests.support import pki

from .backend import BLOG, GATEWAY, FakeGateway, entry, port, running
from .serving import calling, calling_tls, on_tls, on_unix, problem, texts
from .test_app import FakeClient

pytestmark = pytest.mark.anyio

PEM = "-----BEGIN PRIVATE KEY-----\\nc2VjcmV0\\n-----END PRIVATE KEY-----\\n"
MAIL = {"name": "mail", "listen": ["0.0.0.0:25"], "client": ["homelab"], "service": "smtp"}


async def got(http: httpx2.AsyncClient) -> tuple[dict[str, Any], str]:
    """The document, and its tag."""
    answer = await http.get("/v1/state")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document, answer.headers["etag"]


async def put(http: httpx2.AsyncClient, document: object, tag: str | None = "*") -> httpx2.Response:
    headers = {} if tag is None else {"If-Match": tag}
    return await http.put("/v1/state", json=document, headers=headers)


async def test_the_state_is_one_document_whoever_declared_its_parts(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    await http.put("/tunnels", json=[entry("homelab", 25)])

    document, tag = await got(http)

    assert document["gateway"]["admins"] == ["ops"]
    assert [(one["name"], one.get("declared_by")) for one in document["tunnels"]] == [
        ("blog", None),
        ("homelab-25", "unix socket"),
    ]
    assert tag == f'"{gateway.loop.status.digest}"'


async def test_a_key_that_stands_in_the_file_is_not_shown_and_may_stay_when_it_is_sent_back(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.write(GATEWAY.replace("gw.key", f'"{PEM}"'), BLOG)
    await gateway.turn()

    answer = await http.get("/v1/state")
    document, tag = await got(http)
    sent = await put(http, {**document, "tunnels": [*document["tunnels"], MAIL]}, tag)

    assert "c2VjcmV0" not in answer.text
    assert document["gateway"]["tls"]["key"] == {"inline": "hidden"}
    assert sent.status_code == 200
    assert "c2VjcmV0" not in sent.text


async def test_whoever_has_it_already_is_told_so_in_short(http: httpx2.AsyncClient) -> None:
    _, tag = await got(http)

    same = await http.get("/v1/state", headers={"If-None-Match": tag})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)


async def test_what_is_sent_back_as_it_was_changes_nothing(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    document, tag = await got(http)
    turn = gateway.loop.status.turn

    answer = await put(http, document, tag)

    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, document, tag)
    assert (gateway.loop.status.turn, gateway.fragment_text()) == (turn, None)


async def test_a_tunnel_that_is_added_is_in_force_when_it_answers_and_one_that_is_left_out_is_gone(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    before = gateway.state_path.read_text()
    document, tag = await got(http)

    added = await put(http, {**document, "tunnels": [*document["tunnels"], MAIL]}, tag)
    opened = gateway.open_ports()
    removed = await put(http, document, added.headers["etag"])

    assert added.status_code == 200
    assert added.json()["tunnels"][-1] == {**MAIL, "declared_by": "unix socket"}
    assert opened == {"0.0.0.0:443": ["blog"], "0.0.0.0:25": ["mail"]}
    assert (removed.status_code, removed.json()) == (200, document)
    assert gateway.open_ports() == {"0.0.0.0:443": ["blog"]}
    assert gateway.state_path.read_text() == before


async def test_a_state_that_nobody_read_is_not_overwritten(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    document, old = await got(http)
    first = await put(http, {**document, "tunnels": [*document["tunnels"], MAIL]}, old)

    second = await put(http, document, old)
    without = await put(http, document, None)
    broken = await put(http, document, "ab")
    listed = await http.get("/tunnels")
    tunnels = await http.put("/tunnels", json=[], headers={"If-Match": old})

    assert (second.status_code, second.headers["etag"]) == (412, first.headers["etag"])
    assert "read it again" in problem(second)["detail"]
    assert (without.status_code, broken.status_code) == (428, 400)
    assert (tunnels.status_code, listed.headers["etag"]) == (412, first.headers["etag"])
    assert "0.0.0.0:25" in gateway.open_ports()
    assert (
        await http.put("/tunnels", json=[], headers={"If-Match": listed.headers["etag"]})
    ).status_code == 200


async def test_of_two_writers_at_once_one_is_told_to_read_again(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    document, tag = await got(http)
    answers: list[httpx2.Response] = []

    async def write(number: int) -> None:
        mine = {**MAIL, "name": f"mail-{number}", "listen": [f"0.0.0.0:{number}"]}
        answers.append(await put(http, {**document, "tunnels": [*document["tunnels"], mine]}, tag))

    async with anyio.create_task_group() as tasks:
        for number in (25, 26, 27):
            tasks.start_soon(write, number)

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    assert len(gateway.open_ports()) == 2


async def test_a_file_that_has_just_been_changed_is_not_what_was_read(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    """Git was quicker; the loop has not looked yet."""
    document, tag = await got(http)
    gateway.write(GATEWAY, BLOG, "# a comment\n")

    answer = await put(http, {**document, "tunnels": [*document["tunnels"], MAIL]}, tag)
    while (fresh := await got(http))[1] == tag:
        pass  # it looks at once

    assert (answer.status_code, "etag" in answer.headers) == (412, False)
    assert (await put(http, *fresh)).status_code == 200


async def test_a_file_that_is_broken_is_what_must_be_mended_first(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    document, tag = await got(http)
    gateway.write(GATEWAY, BLOG.replace("web", "web web"))
    await gateway.turn()

    answer = await put(http, document, tag)

    assert answer.status_code == 409
    assert "must be mended first" in problem(answer)["detail"]


def changed(document: dict[str, Any], **section: Any) -> dict[str, Any]:
    return {**document, "gateway": {**document["gateway"], **section}}


async def test_what_the_file_declares_is_changed_in_the_file_and_its_line_is_named(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    document, tag = await got(http)
    (blog,) = document["tunnels"]
    other = changed(document, admins=["me"], domain="example.com")
    other |= {"allow_empty": True, "clients": [], "revoked": [{"serial": "0x01"}]}
    other |= {"egress": {"allow": []}, "tunnels": [{**blog, "service": "other"}]}

    answer = await put(http, other, tag)
    removed = await put(http, {**document, "tunnels": []}, tag)

    assert answer.status_code == 409
    state = gateway.state_path
    assert [one["pointer"] for one in problem(answer)["problems"]] == [
        "/gateway/admins",
        "/gateway/domain",
        "/clients",
        "/revoked",
        "/egress",
        "/allow_empty",
        "/tunnels/0",
    ]
    assert [(one["file"], one["line"]) for one in problem(answer)["problems"]] == [
        (str(state), 3),
        (str(state), 3),
        (None, None),
        (None, None),
        (None, None),
        (None, None),
        (str(state), 6),
    ]
    only = "and only the state file can say it: change it there"
    assert [one["message"] for one in problem(answer)["problems"]] == [
        f"gateway.admins is changed here, {only}",
        f"gateway.domain is set here, {only}",
        f"clients is set here, {only}",
        f"revoked is set here, {only}",
        f"egress is set here, {only}",
        f"allow_empty is set here, {only}",
        f'{state} declares the tunnel "blog", which stands here otherwise: change it there',
    ]
    assert [one["file"] for one in problem(removed)["problems"]] == [str(state)]
    assert "is not in the document" in texts(removed)[0]


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ([], ["mapping"]),
        ({}, ["holds no state"]),
        ({"tunnels": []}, ["tidegate is missing", "gateway is missing"]),
        ({"tidegate": 1, "gateway": {}, "tunels": []}, ['unknown key "tunels"']),
        ({"tidegate": 1, "gateway": {}, "tunnels": {}}, ["where the list of tunnels belongs"]),
        (
            {"tidegate": 1, "gateway": {}, "tunnels": [1, {}]},
            ["where a tunnel belongs", "its name is missing"],
        ),
    ],
)
async def test_what_is_no_document_is_told_with_every_problem(
    http: httpx2.AsyncClient, body: object, messages: list[str]
) -> None:
    answer = await put(http, body)

    assert answer.status_code == 400
    found = texts(answer)
    assert len(found) == len(messages)
    assert all(message in text for message, text in zip(messages, found, strict=True))


async def test_every_mistake_in_a_tunnel_is_told_with_its_place(http: httpx2.AsyncClient) -> None:
    document, tag = await got(http)
    wrong = [{**MAIL, "listen": "smtp", "servise": "x"}, {**MAIL, "name": "b", "client": []}]
    body = json.dumps({**document, "tunnels": [*document["tunnels"], *wrong]}, indent=1)

    answer = await http.put("/v1/state", content=body, headers={"If-Match": tag})

    assert answer.status_code == 400
    problems = problem(answer)["problems"]
    assert [one["pointer"] for one in problems] == ["/tunnels/1", "/tunnels/1", "/tunnels/2"]
    assert all(one["file"] == "request body" and one["line"] > 20 for one in problems)


async def test_clashes_and_ports_that_are_taken_are_told_of_the_tunnel_in_the_document(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    document, tag = await got(http)
    gateway.actuator.break_key(port("0.0.0.0:25"), ActionError("0.0.0.0:25 is taken by another program"))
    clash = {**MAIL, "listen": "0.0.0.0:443"}

    taken = await put(http, {**document, "tunnels": [*document["tunnels"], MAIL]}, tag)
    twice = await put(http, {**document, "tunnels": [*document["tunnels"], MAIL, MAIL]}, tag)
    mixed = await put(
        http, {**document, "tunnels": [clash, *document["tunnels"], {**clash, "name": "b"}]}, tag
    )

    assert (taken.status_code, texts(taken)) == (
        409,
        ["tunnels[1]: 0.0.0.0:25 is taken by another program"],
    )
    assert twice.status_code == 409
    assert texts(twice)[0].startswith("tunnels[2]: ")
    assert mixed.status_code == 409
    assert texts(mixed)[0].startswith("tunnels[2]: ")
    assert gateway.fragment_text() is None


async def test_a_client_changes_its_own_and_leaves_the_others_as_they_are(gateway: FakeGateway) -> None:
    async with running(gateway), on_tls(gateway) as tls:
        async with calling_tls(tls, pki.client("office")) as office:
            document, tag = await got(office)
            mine = {**MAIL, "name": "office", "client": ["office"], "listen": ["0.0.0.0:26"]}
            assert (
                await put(office, {**document, "tunnels": [*document["tunnels"], mine]}, tag)
            ).status_code == 200
        async with calling_tls(tls, pki.client("homelab")) as homelab:
            document, tag = await got(homelab)
            added = await put(homelab, {**document, "tunnels": [*document["tunnels"], MAIL]}, tag)
            theirs = {**document["tunnels"][1], "service": "mine"}
            stolen = await put(homelab, {**document, "tunnels": [document["tunnels"][0], theirs]})
            dropped = await put(homelab, {**document, "tunnels": document["tunnels"][:1]})
            foreign = {**MAIL, "name": "x", "client": ["office"]}
            posed = await put(homelab, {**document, "tunnels": [*document["tunnels"], foreign]})

    assert added.status_code == 200
    assert [(one["name"], one.get("declared_by")) for one in added.json()["tunnels"]] == [
        ("blog", None),
        ("office", "office"),
        ("mail", "homelab"),
    ]
    for answer in (stolen, dropped):
        assert answer.status_code == 409
        assert "office, through the API, declares the tunnel" in texts(answer)[0]
    assert (posed.status_code, problem(posed)["problems"][0]["pointer"]) == (403, "/tunnels/2/client")


async def test_an_admin_leaves_to_others_what_it_sends_back_as_it_was(gateway: FakeGateway) -> None:
    async with running(gateway), on_tls(gateway) as tls:
        async with calling_tls(tls, pki.client("homelab")) as homelab:
            document, tag = await got(homelab)
            await put(homelab, {**document, "tunnels": [*document["tunnels"], MAIL]}, tag)
        async with calling_tls(tls, pki.client("ops")) as ops:
            document, tag = await got(ops)
            mine = {**MAIL, "name": "mine", "listen": ["0.0.0.0:26"]}
            answer = await put(ops, {**document, "tunnels": [*document["tunnels"], mine]}, tag)

    assert [one.get("declared_by") for one in answer.json()["tunnels"]] == [None, "homelab", "ops"]


async def test_a_body_that_is_too_large_or_of_another_kind_is_refused(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 2**20)
    large = await http.put("/v1/state", content=b" " * (2**20 + 1), headers={"If-Match": "*"})
    yaml = await http.put(
        "/v1/state", content=b"a: 1", headers={"If-Match": "*", "Content-Type": "application/yaml"}
    )

    assert (large.status_code, yaml.status_code) == (413, 415)


async def test_a_clients_state_can_be_read_and_not_written(gateway: FakeGateway, tmp_path: Path) -> None:
    client = FakeClient(gateway.state_path)
    path = tmp_path / "s"
    async with running(client), on_unix(create_app(client), path), calling(path) as http:
        document, tag = await got(http)
        answer = await put(http, document, tag)

    assert answer.status_code == 404
