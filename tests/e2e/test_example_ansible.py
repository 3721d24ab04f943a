"""The role of examples/ansible, run by the real Ansible on this machine, with a real gateway."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ansible import settings
from tests.support.changing import Changing, changing
from tests.support.real_software import Programs
from tests.support.source import ROOT


class Play:
    """A copy of the example, for one machine: this one."""

    def __init__(self, programs: Programs, gateway: Changing) -> None:
        self._programs = programs
        self._gateway = gateway
        self.path = gateway.directory / "ansible"
        shutil.copytree(ROOT / "examples" / "ansible", self.path)
        shutil.copytree(gateway.place.pki, self.path / "pki")
        template = self.path / "templates" / "gateway.yaml"
        text = template.read_text().replace("0.0.0.0:9056", gateway.place.control)
        text = text.replace("0.0.0.0:8080", gateway.listen("site"))
        text = text.replace("/run/tidegate-gateway/admin.sock", str(gateway.state.with_suffix(".sock")))
        self.text = text.replace("/var/lib/tidegate-gateway", str(gateway.directory / "data"))
        self._command = gateway.directory / "tidegate"
        self._command.write_text(f'#!/bin/sh\nexec {sys.executable} -m agent "$@"\n')
        self._command.chmod(0o755)

    def run(self, text: str, *options: str, wait: bool = False) -> tuple[str, dict[str, int]]:
        """Run the play with that template. What it prints, and the numbers of its recap."""
        (self.path / "templates" / "gateway.yaml").write_text(text)
        variables = {
            "ansible_python_interpreter": self._programs["python3"],
            "tidegate_directory": self._gateway.state.parent,
            "tidegate_owner": pwd.getpwuid(os.getuid()).pw_name,
            "tidegate_group": grp.getgrgid(os.getgid()).gr_name,
            "tidegate_command": self._command,
            "tidegate_wait": wait,
        }
        done = subprocess.run(
            [
                *(self._programs["ansible-playbook"], "--inventory=inventory.yaml", "--connection=local"),
                *("gateway-play.yaml", *options),
                *(word for key, value in variables.items() for word in ("--extra-vars", f"{key}={value}")),
            ],
            cwd=self.path,
            env=settings(self._gateway.directory / "ansible-home"),
            capture_output=True,
            text=True,
        )
        printed = done.stdout + done.stderr
        recap = printed.partition("PLAY RECAP")[2]
        assert recap, printed
        numbers = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", recap)}
        assert bool(numbers["failed"]) == bool(done.returncode), printed
        return printed, numbers


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as found:
        found.state.parent.rmdir()  # for the role to make
        yield found


@pytest.mark.timeout(180)  # five runs of Ansible, which takes seconds for each
@pytest.mark.real_software("ansible-playbook", "python3", "sh")
def test_the_role_shows_applies_repeats_and_refuses(gateway: Changing, programs: Programs) -> None:
    play = Play(programs, gateway)
    keys = [path.read_text() for path in play.path.glob("pki/*.key")]
    assert len(keys) == 2

    # With --check it shows what it would do, asks Tidegate whether that is valid, and does nothing of it.
    printed, numbers = play.run(play.text, "--check", "--diff", "-vvv")
    assert (numbers["failed"], numbers["changed"]) == (0, 3)
    assert "+    service: web\n" in printed
    assert "valid: 1 tunnel on 1 listener" in printed
    assert not [line for key in keys for line in key.splitlines() if line in printed]
    assert not gateway.state.parent.exists()

    # The first run changes as much, and the second one nothing.
    _, numbers = play.run(play.text)
    assert (numbers["failed"], numbers["changed"]) == (0, 3)
    key = gateway.state.parent / "pki" / "gateway.key"
    assert [oct(path.stat().st_mode & 0o7777) for path in (key, gateway.state)] == ["0o640", "0o640"]
    gateway.start("site")
    printed, numbers = play.run(play.text, wait=True)
    assert (numbers["failed"], numbers["changed"]) == (0, 0), printed
    assert "Wait until the state is in force" in printed

    # What Tidegate refuses is not installed.
    printed, numbers = play.run(play.text.replace("service: web", "servcie: web"))
    assert (numbers["failed"], numbers["changed"]) == (1, 0)
    assert 'unknown key \\"servcie\\"; did you mean \\"service\\"?' in printed
    assert "servcie" not in gateway.state.read_text()

    # A tunnel more is one change, and when the play is over its port is open.
    more = f'  - name: mail\n    listen: "{gateway.listen("mail")}"\n    client: homelab\n    service: smtp\n'
    printed, numbers = play.run(play.text + more, "--diff", wait=True)
    assert (numbers["failed"], numbers["changed"]) == (0, 1), printed
    assert "+  - name: mail\n" in printed
    gateway.becomes("site", "mail")
    assert "state_refused" not in gateway.gateway.log
