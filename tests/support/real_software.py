"""Tests that drive other people's programs: what they need, and what happens without it.

Rule: such a test carries the marker ``real_software`` with the programs it starts. Where one of them is
missing the test is skipped and says so. Where ``TIDEGATE_REQUIRE_REAL_SOFTWARE`` is set, as in ``.ci/run``,
nothing marked so may be skipped, whatever the reason: a skip is a failure.

pytest loads this file as a plugin, see ``addopts`` in pyproject.toml. In a test::

    @pytest.mark.real_software("nginx", "curl")
    def test_a_page_comes_through(programs: Programs) -> None:
        subprocess.run([programs["curl"], ...])

What cannot be told from a name (root, a kernel feature) a test finds out itself and says with
:func:`unavailable`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Mapping
from typing import NoReturn, TypeAlias

import pytest

REQUIRED = "TIDEGATE_REQUIRE_REAL_SOFTWARE"
MARKER = "real_software"

Programs: TypeAlias = Mapping[str, str]  # the name of a program -> its path

# Debian keeps nginx, haproxy and ip where an ordinary user's PATH does not look.
_ALSO_SEARCHED = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin")


def is_required() -> bool:
    """Whether a test without its program fails rather than being skipped."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def find(program: str) -> str | None:
    """The path of an installed program, or None."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ALSO_SEARCHED))
    return shutil.which(program, path=path)


def require(*programs: str) -> Programs:
    """The path of each program; without one of them the calling test ends as :func:`unavailable` says."""
    found = {program: find(program) for program in programs}
    missing = [program for program, path in found.items() if path is None]
    if missing:
        unavailable(f"not installed: {', '.join(missing)}")
    return {program: path for program, path in found.items() if path is not None}


def unavailable(reason: str) -> NoReturn:
    """End the calling test for want of something: skipped, or failed where nothing may be skipped."""
    if is_required():
        pytest.fail(f"{reason} ({REQUIRED} is set, so this may not be skipped)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> Programs:
    """The programs that the test's markers name, each with its path."""
    return require(*_named(request.node))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}(*programs): drives these programs; skipped without them")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker(MARKER) is not None:
        require(*_named(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A marked test that skipped itself, by whatever means, fails where nothing may be skipped."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")  # an expected failure did run
    if skipped and is_required() and item.get_closest_marker(MARKER) is not None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"{reason} ({REQUIRED} is set, so this may not be skipped)"
    return report


def _named(item: pytest.Item) -> tuple[str, ...]:
    names = (str(name) for marker in item.iter_markers(MARKER) for name in marker.args)
    return tuple(dict.fromkeys(names))
