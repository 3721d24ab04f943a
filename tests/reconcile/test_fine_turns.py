"""Shorter turns with the interpreter, for a while."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reconcile.fine_turns import FINE, fine_turns
from reconcile.source import FileSource
from schemas.roles import Role


def test_turns_are_as_long_as_before_when_the_last_of_several_has_ended() -> None:
    before = sys.getswitchinterval()

    first, second = fine_turns(), fine_turns()
    first.__enter__()
    second.__enter__()
    assert sys.getswitchinterval() == pytest.approx(FINE)
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(FINE)
    second.__exit__(None, None, None)

    assert sys.getswitchinterval() == before


@pytest.mark.anyio
async def test_turns_are_short_while_a_source_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    source = FileSource(tmp_path / "gateway.yaml", role=Role.GATEWAY)
    monkeypatch.setattr(source, "_read", lambda: seen.append(sys.getswitchinterval()))
    before = sys.getswitchinterval()

    with pytest.raises(AttributeError):  # what was read is nothing
        await source.load()

    assert seen == [pytest.approx(FINE)]
    assert sys.getswitchinterval() == before
