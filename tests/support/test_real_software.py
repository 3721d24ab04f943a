"""The plugin that skips, or fails, tests whose program is not installed: run by pytest on a made-up suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from . import real_software

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from tests.support.real_software import unavailable

@pytest.mark.real_software("sh")
def test_present(programs):
    assert programs["sh"].endswith("/sh")

@pytest.mark.real_software("sh", "no-such-program")
def test_missing(programs):
    raise AssertionError("never reached")

@pytest.mark.real_software
def test_lacks_something_else():
    unavailable("not root")

@pytest.mark.real_software
def test_skips_by_itself():
    pytest.skip("by itself")

@pytest.mark.real_software
@pytest.mark.xfail(reason="known")
def test_known_failure():
    raise AssertionError

def test_unmarked():
    pytest.skip("has nothing to do with programs")
"""

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv(real_software.REQUIRED, raising=False)
    pytester.makepyfile(SUITE)
    return pytester


def run(suite: pytest.Pytester) -> pytest.RunResult:
    return suite.run(
        sys.executable, "-m", "pytest", "-rs", "-p", real_software.__name__, "-p", "no:cacheprovider"
    )


def test_a_test_without_its_program_is_skipped_and_names_it(suite: pytest.Pytester) -> None:
    result = run(suite)

    result.assert_outcomes(passed=1, skipped=4, xfailed=1)
    result.stdout.fnmatch_lines(["*not installed: no-such-program*"])


def test_no_marked_test_may_be_skipped_where_real_software_is_required(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(real_software.REQUIRED, "1")

    result = run(suite)

    outcomes = result.parseoutcomes()
    assert outcomes.pop("failed", 0) + outcomes.pop("errors", 0) == 3
    assert outcomes == {"passed": 1, "skipped": 1, "xfailed": 1}
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*not installed: no-such-program (TIDEGATE_REQUIRE_REAL_SOFTWARE is set*"])
    result.stdout.fnmatch_lines(["*by itself (TIDEGATE_REQUIRE_REAL_SOFTWARE is set*"])
