"""A gateway that somebody operates by typing commands: its files, its process, and what is typed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import running, typed
from tests.support.site import local_ports
from tests.support.states import write_keys

HEAD = """\
tidegate: 1
gateway:
  name: gw1
  control: "127.0.0.1:{control}"
  tls: {{cert: pki/gateway.crt, key: pki/gateway.key, client_ca: pki/ca.crt}}
{more}tunnels:
"""


class Operated:
    """A gateway in a directory of its own, which is the current one."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.state = directory / "gateway.yaml"
        self._capsys = capsys
        self.control, *self.ports = local_ports(6)
        write_keys(directory)

    def text(self, *tunnels: str, more: str = "") -> str:
        """A state with these tunnels, each on the port of its letter: a on the first, b on the second."""
        entries = "".join(
            f'  - {{name: {name}, listen: "127.0.0.1:{self.port(name)}", client: homelab, service: web}}\n'
            for name in tunnels
        )
        return HEAD.format(control=self.control, more=more) + (entries or "  []\n")

    def fragment(self, *tunnels: str) -> str:
        """A fragment with these tunnels."""
        return f"tidegate: 1\ntunnels:{self.text(*tunnels).split('tunnels:')[1]}"

    def port(self, name: str) -> int:
        return self.ports[ord(name[0]) - ord("a")]

    def write(self, *tunnels: str, name: str = "gateway.yaml") -> str:
        """Write a state file; its text."""
        text = self.text(*tunnels)
        (self.directory / name).write_text(text)
        return text

    @contextmanager
    def running(self, state: str = "gateway.yaml") -> Iterator[subprocess.Popen[str]]:
        with running("gateway", self.directory / state, "--log-format", "json") as process:
            yield process

    def types(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a command."""
        return typed(*arguments, capsys=self._capsys)

    def types_json(self, *arguments: str) -> Mapping[str, Any]:
        _, out, _ = self.types(*arguments, "--json")
        value: Mapping[str, Any] = json.loads(out)
        return value

    def left(self) -> set[str]:
        """What is in the directory besides keys, state files and the history."""
        return {
            entry.name
            for entry in self.directory.iterdir()
            if entry.suffix not in (".yaml", ".history", ".d") and entry.name not in ("pki", "gateway.sock")
        }


@contextmanager
def operated(directory: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield Operated(directory, capsys)
    finally:
        os.chdir(before)
