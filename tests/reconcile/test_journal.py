"""The notes of changes: what is in them comes back as it was, and nothing in them is trusted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.journal import (
    Entry,
    Kept,
    Note,
    Seen,
    Side,
    Terms,
    digest_of_bytes,
    is_state_name,
    meant,
    read_note,
    render_note,
)
from reconcile.placing import Access

ACCESS = Access(mode=0o640, owner=0, group=7)
TERMS = Terms(deadline=datetime(2026, 5, 17, 12, 1, tzinfo=UTC), within=60.0)


def side(data: bytes, stamp: tuple[int, int] | None = None) -> Side:
    return Side(digest=digest_of_bytes(data), data=data, access=ACCESS, stamp=stamp)


NOTE = Note(
    files=(
        Entry(name="a.yaml", before=side(b"old", (1, 2)), after=side(b"new")),
        Entry(name="b.toml", before=None, after=side(b"new")),
        Entry(name="c.json", before=side(b"old"), after=None),
    ),
    terms=TERMS,
)


@pytest.mark.parametrize("kept", Kept)
def test_a_note_comes_back_as_it_was(kept: Kept) -> None:
    assert read_note(render_note(NOTE), kept=kept) == NOTE


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/a.yaml",
        "../a.yaml",
        "d/a.yaml",
        ".a.yaml",
        "a\0.yaml",
        "a.txt",
        "a.schema.json",
        "\ud800.yaml",
    ],
)
def test_a_note_names_state_files_of_its_directory_and_nothing_else(name: str) -> None:
    note = Note(files=(Entry(name=name, before=None, after=side(b"new")),))

    assert not is_state_name(name)
    with pytest.raises(ValueError, match="it names something that is no state file"):
        read_note(render_note(note), kept=Kept.AFTER)


def changed(**change: Any) -> bytes:
    value = json.loads(render_note(NOTE))
    value["files"][0]["after"] |= change
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        changed(data=None),
        changed(data="b2xk"),
        changed(data="*"),
        changed(access=[0o4755, 0, 0]),
        changed(access=[0o644, -1, 0]),
        changed(access=[0o644, 0, 2**40]),
        changed(stamp=[1]),
        render_note(Note(files=(NOTE.files[0], NOTE.files[0]))),
        b'{"format_version": 1, "files": [], "terms": {"deadline": "soon", "within": 1.0}}',
        b'{"format_version": 1, "files": [], "terms": {"deadline": "2026-05-17T12:00:00", "within": NaN}}',
        b'{"format_version": 1, "files": [], "terms": {"deadline": "0001-01-01T00:00+09:00", "within": 1.0}}',
    ],
    ids=[
        "nested", "without content", "other content", "no base64", "set-user-ID", "no owner", "no group",
        "half a stamp", "twice", "no deadline", "no time", "before all years",
    ],
)  # fmt: skip
def test_what_is_damaged_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_note(data, kept=Kept.AFTER)


@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_note_or_a_value_error(data: bytes) -> None:
    try:
        note = read_note(data, kept=Kept.AFTER)
    except ValueError:
        return
    assert meant(note, {"a.yaml": Seen(data=b"x", stamp=(1, 1))}) == {"a.yaml": b"x"}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"a.yaml": (b"old", (1, 2)), "c.json": (b"old", (3, 3))}, {"a.yaml": b"new", "b.toml": b"new"}),
        ({"a.yaml": (b"new", (9, 9)), "b.toml": (b"new", (8, 8))}, {"a.yaml": b"new", "b.toml": b"new"}),
        (
            {"a.yaml": (b"mine", (9, 9)), "c.json": (b"old", (3, 3))},
            {"a.yaml": b"mine", "b.toml": b"new"},
        ),
        (
            {"a.yaml": (b"old", (1, 9)), "c.json": (b"old", (3, 3))},
            {"a.yaml": b"old", "c.json": b"old"},
        ),
    ],
    ids=["nothing is done", "all is done", "one is somebody else's", "one was put back"],
)
def test_a_file_counts_as_the_new_one_while_it_is_the_old_one_and_nobody_has_touched_it(
    seen: dict[str, tuple[bytes, tuple[int, int]]], expected: dict[str, bytes]
) -> None:
    there = {name: Seen(data=data, stamp=stamp) for name, (data, stamp) in seen.items()}

    assert meant(NOTE, there) == expected
