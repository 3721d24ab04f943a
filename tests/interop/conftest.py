"""Fixtures for the tests with hashicorp/yamux: the peer, built once, and both of its roles."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.real_software import require, unavailable
from transport.wire.mux import Role

from .go_peer import Program

SOURCE: Final = Path(__file__).parent
_FETCHING: Final = 60  # seconds; who is offline knows at once, or never


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The peer, built by the ``go`` of this machine.

    Without ``go``, or where its module cannot be had, the tests that ask for it are skipped. What does not
    build is a failure everywhere.
    """
    go = require("go")["go"]
    made = Program(go=go, path=tmp_path_factory.mktemp("interop") / "peer", source=SOURCE)
    try:
        fetched = made.run_go("mod", "download", timeout=_FETCHING)
    except subprocess.TimeoutExpired:
        unavailable(f"github.com/hashicorp/yamux could not be fetched within {_FETCHING} s")
    if fetched.returncode:
        unavailable(f"github.com/hashicorp/yamux cannot be fetched: {fetched.stderr.strip()}")
    built = made.run_go("build", "-buildvcs=false", "-o", os.fspath(made.path), ".")
    assert built.returncode == 0, built.stderr
    return made


@pytest.fixture(params=Role, ids=["we-dial", "go-dials"])
def role(request: pytest.FixtureRequest) -> Role:
    """Our role; Go's peer has the other one."""
    ours: Role = request.param
    return ours
