"""examples/mail with a real Postfix at home: mail comes in from its senders, and leaves from the gateway."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from agent.keys.pki import init_authority, issue_client, issue_gateway
from tests.support.namespaces import Machine, star
from tests.support.postfix import Postfix, postfix
from tests.support.real_software import require
from tests.support.site import PATIENCE, Agent
from tests.support.source import ROOT

pytestmark = pytest.mark.real_software("ip", "postfix", "curl", "nc", "proxychains4")

EXAMPLE: Final = ROOT / "examples" / "mail"
HOME: Final = "home.test"
ELSEWHERE: Final = "elsewhere.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """Ours, at home behind the gateway; and somebody else's, with a mail server of its own."""

    public: Machine
    home: Machine
    elsewhere: Machine
    client_state: Path
    agents: list[Agent]
    ours: Postfix
    theirs: Postfix

    def start_client(self) -> None:
        client = Agent("client", self.client_state, inside=self.home.inside)
        self.agents.append(client)
        client.wait_for("link_up")

    @property
    def client(self) -> Agent:
        return self.agents[-1]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    directory = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("mail") / "mail")
    with ExitStack() as running:
        public, (home, elsewhere) = running.enter_context(star(2))
        pki = directory / "pki"
        init_authority(pki)
        issue_gateway(pki, hosts=[public.address])
        issue_client(pki, client_id="mailhost")
        (directory / "socks5.password").write_text("change-me\n")
        state = directory / "gateway.yaml"
        # The others of this test have addresses that are for documentation, where no rule for all leads.
        state.write_text(state.read_text().replace('to: "*"', f'to: ["*", "{elsewhere.address}"]'))
        theirs = running.enter_context(
            postfix(
                ELSEWHERE,
                master=f"{elsewhere.address}:25 inet n - n - - smtpd\n",
                inside=elsewhere.inside,
            )
        )
        where = f"transport_maps = inline:{{{ELSEWHERE}=smtp-socks:[{elsewhere.address}]}}\n"
        ours = running.enter_context(
            postfix(
                HOME,
                main=f"{(directory / 'main.cf').read_text()}{where}",
                master=f"127.0.0.1:25 inet n - n - - smtpd\n{(directory / 'master.cf').read_text()}",
                files=[directory / "proxychains.conf"],
                daemons=[directory / "smtp-socks"],
                inside=home.inside,
            )
        )
        agents = [Agent("gateway", state, inside=public.inside)]
        running.callback(lambda: [agent.stop() for agent in agents if agent.process.poll() is None])
        agents[0].wait_for("gateway_started")
        made = Machines(
            public=public,
            home=home,
            elsewhere=elsewhere,
            client_state=directory / "client.yaml",
            agents=agents,
            ours=ours,
            theirs=theirs,
        )
        made.start_client()
        yield made


def send(machine: Machine, server: str, sender: str, recipient: str, body: str) -> str:
    """Have curl send a mail from that machine; what it says if it was not accepted."""
    mail = f"From: {sender}\r\nTo: {recipient}\r\nSubject: a test\r\n\r\n{body}\r\n"
    done = subprocess.run(
        [
            *(*machine.inside, require("curl")["curl"], "-sSv", "--max-time", f"{PATIENCE:.0f}"),
            *("--mail-from", sender, "--mail-rcpt", recipient, "--upload-file", "-", f"smtp://{server}"),
        ],
        input=mail,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    return "" if done.returncode == 0 else done.stderr


def long_text(seed: int) -> str:
    """A megabyte, in lines as mail has them."""
    text = random.Random(seed).randbytes(500_000).hex()
    return "\r\n".join(text[at : at + 70] for at in range(0, len(text), 70))


def digest(text: str) -> str:
    return hashlib.sha256("".join(text.split()).encode()).hexdigest()


def test_mail_comes_in_and_the_server_at_home_knows_from_whom(machines: Machines) -> None:
    body, mark = long_text(1), machines.ours.mark
    assert send(machines.elsewhere, "192.0.2.1:25", "anna@elsewhere.test", "berta@home.test", body) == ""
    machines.ours.wait_for(r"to=<berta@home\.test>.*status=sent", after=mark)

    who = f"unknown[{machines.elsewhere.address}]"
    assert any(
        "postfix/tunnel/smtpd" in line and f"connect from {who}" in line for line in machines.ours.lines
    )
    (mail,) = machines.ours.mail_for("berta")
    assert machines.elsewhere.address in mail["Received"]
    assert digest(mail.get_content()) == digest(body)


def test_nobody_outside_may_send_to_others_through_it(machines: Machines) -> None:
    """As everybody could who looked like a program of this machine."""
    mark = machines.ours.mark
    said = send(machines.elsewhere, "192.0.2.1:25", "mallory@elsewhere.test", "x@another.test", "buy this")

    assert "554 5.7.1 <x@another.test>: Relay access denied" in said
    machines.ours.wait_for(rf"reject: RCPT from unknown\[{machines.elsewhere.address}\]", after=mark)


def test_who_does_not_say_who_it_is_is_turned_away(machines: Machines) -> None:
    """As a tunnel without the PROXY protocol would have it, and any program of this machine."""
    mark = machines.ours.mark
    done = subprocess.run(
        [*machines.home.inside, require("nc")["nc"], "-N", "127.0.0.1", "2525"],
        input="EHLO mallory\r\nMAIL FROM:<x@home.test>\r\nQUIT\r\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert not done.stdout.startswith("220")
    machines.ours.wait_for(r"postfix/tunnel/smtpd.*proxy", after=mark)


def test_mail_leaves_from_the_address_of_the_gateway(machines: Machines) -> None:
    body, mark, theirs = long_text(2), machines.ours.mark, machines.theirs.mark
    assert send(machines.home, "127.0.0.1:25", "berta@home.test", "anna@elsewhere.test", body) == ""
    machines.ours.wait_for(r"postfix/egress/smtp.*to=<anna@elsewhere\.test>.*status=sent", after=mark)

    machines.theirs.wait_for(r"connect from unknown\[192\.0\.2\.1\]", after=theirs)
    machines.theirs.wait_for(r"to=<anna@elsewhere\.test>.*status=sent", after=theirs)
    (mail,) = machines.theirs.mail_for("anna")
    assert "[192.0.2.1]" in mail["Received"]
    assert digest(mail.get_content()) == digest(body)
    line = machines.client.wait_for("program_left", to=f"{machines.elsewhere.address}:25")
    assert line["bytes_out"] > len(body)


def test_mail_that_the_gateway_may_not_deliver_waits(machines: Machines) -> None:
    """And is never sent from another address instead."""
    mark, after = machines.ours.mark, machines.client.mark
    assert send(machines.home, "127.0.0.1:25", "berta@home.test", "x@[198.51.100.99]", "hello") == ""

    machines.ours.wait_for(r"postfix/egress/smtp.*to=<x@\[198.51.100.99\]>.*status=deferred", after=mark)
    assert "egress.allow" in machines.client.wait_for("program_refused", after=after)["reason"]


def test_mail_that_finds_no_way_out_leaves_when_there_is_one_again(machines: Machines) -> None:
    machines.client.stop()
    mark = machines.ours.mark
    try:
        assert send(machines.home, "127.0.0.1:25", "berta@home.test", "clara@elsewhere.test", "late") == ""
        machines.ours.wait_for(r"to=<clara@elsewhere\.test>.*status=deferred", after=mark)
        assert machines.theirs.mail_for("clara") == []
    finally:
        machines.start_client()
    machines.ours.command("postqueue", "-f")
    machines.ours.wait_for(r"to=<clara@elsewhere\.test>.*status=sent", after=mark)
    machines.theirs.wait_for(r"to=<clara@elsewhere\.test>.*status=sent")

    (mail,) = machines.theirs.mail_for("clara")
    assert "[192.0.2.1]" in mail["Received"]
