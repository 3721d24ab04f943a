"""Fixtures for the tests of whole programs: the event loops on which agents run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final

import pytest

from tests.support.site import STOCK_LOOP


class Loop(Enum):
    """On what agents run."""

    UVLOOP = "uvloop"
    STOCK = "stock-loop"
    # Where neither has a wheel; all that is left is Python's own, with its own TLS.
    NO_WHEELS = "no-uvloop-no-aiofastnet"


WHEELS: Final = ("uvloop", "aiofastnet")

# The modules of tests that run without the wheels, too: bytes, ends, and what TLS tells, also when it fails.
WITHOUT_WHEELS: Final = {
    "test_bulk",
    "test_endings",
    "test_renewed_keys",
    "test_revocation",
    "test_wrong_certificates",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "loop" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        loops = [loop for loop in Loop if loop is not Loop.NO_WHEELS or module in WITHOUT_WHEELS]
        metafunc.parametrize("loop", loops, ids=[loop.value for loop in loops], indirect=True, scope="module")


@pytest.fixture(scope="module")
def loop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[str]]:
    """The options of agents, for each event loop. Agents inherit what else makes the difference."""
    if request.param is not Loop.NO_WHEELS:
        yield () if request.param is Loop.UVLOOP else (STOCK_LOOP,)
        return
    directory = tmp_path_factory.mktemp("no-wheels")
    for name in WHEELS:
        (directory / f"{name}.py").write_text(f'raise ImportError("there is no wheel of {name} here")\n')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)
        for name in WHEELS:
            tried = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True)
            assert tried.returncode == 1
        yield ()
