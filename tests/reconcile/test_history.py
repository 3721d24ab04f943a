"""The last good states on disk: their numbers, what is kept, and what becomes of damage and full disks."""

from __future__ import annotations

import errno
import json
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile import history as history_module
from reconcile.history import FileHistory, NotKeptError, list_generations, read_generation
from reconcile.placing import Access
from reconcile.reading import StateText, digest_of
from schemas.parse import parse_gateway
from schemas.state import State
from schemas.text import Syntax, read_document
from tests.support.dying import deaths

NOW = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)


def content(*tunnels: str) -> bytes:
    entries = "".join(
        f'  - {{name: {name}, listen: ":{1 + number}", client: c, service: s}}\n'
        for number, name in enumerate(tunnels)
    )
    return (
        f"tidegate: 1\ngateway: {{tls: {{cert: c, key: k, client_ca: a}}}}\ntunnels:\n{entries or '  []'}\n"
    ).encode()


def state_text(
    data: bytes, name: str = "gateway.yaml", *, directory: str = "/etc/tidegate", owned: bool = False
) -> StateText:
    return StateText(name=f"{directory}/{name}", directory=directory, data=data, owned=owned)


def understand(texts: Sequence[StateText]) -> State | None:
    return parse_gateway(
        [read_document(text.data, name=text.name, directory="/", syntax=Syntax.YAML) for text in texts]
    )


class Accepting:
    """What a source does with a history."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: NOW, **limits: int) -> None:
        self.history = FileHistory(directory, understand=understand, clock=clock, **limits)

    def accept(self, *tunnels: str) -> int:
        texts = [state_text(content(*tunnels))]
        state = understand(texts)
        assert state is not None
        return self.history.keep(texts, state)

    def declare(self, own: str, *through_the_api: str) -> int:
        """Accept the tunnel of a file, and others."""
        texts = [
            state_text(content(own)),
            state_text(content(*through_the_api), "gateway.api.toml", owned=True),
        ]
        state = understand(texts[:1])
        assert state is not None
        return self.history.keep(texts, state)

    def numbers(self) -> list[int]:
        return [generation.number for generation in list_generations(self.history.directory).generations]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "gateway.history"


@pytest.fixture
def three(kept: Path) -> Path:
    accepting = Accepting(kept)
    for name in "abc":
        accepting.accept(name)
    return kept


def test_each_other_content_is_a_generation_and_says_what_changed(kept: Path) -> None:
    accepting = Accepting(kept)

    assert [accepting.accept("a"), accepting.accept("a", "b"), accepting.accept("c")] == [1, 2, 3]
    shelf = list_generations(kept)
    assert [(one.number, one.changed) for one in shelf.generations] == [
        (1, "the first"),
        (2, "+1 tunnel"),
        (3, "+1 -2 tunnels"),
    ]
    assert [one.accepted_at for one in shelf.generations] == [NOW] * 3
    assert (shelf.damaged, accepting.history.warnings) == ((), ())


def test_numbers_go_on_after_a_restart_and_the_same_content_keeps_its_own(kept: Path) -> None:
    Accepting(kept).accept("a")
    Accepting(kept).accept("a", "b")

    assert Accepting(kept).accept("a", "b") == 2
    assert Accepting(kept).accept("b") == 3
    assert [one.changed for one in list_generations(kept).generations] == [
        "the first",
        "+1 tunnel",
        "-1 ~1 tunnels",
    ]


def test_a_content_that_comes_back_later_is_a_generation_of_its_own(kept: Path) -> None:
    accepting = Accepting(kept)

    assert [accepting.accept(name) for name in "aba"] == [1, 2, 3]
    assert list_generations(kept).generations[0].digest == list_generations(kept).generations[2].digest


def test_the_same_files_in_another_directory_are_the_same_generation(kept: Path) -> None:
    state = understand([state_text(content("a"))])
    assert state is not None

    history = FileHistory(kept, understand=understand, clock=lambda: NOW)
    assert history.keep([state_text(content("a"), directory="/etc/tidegate")], state) == 1
    assert history.keep([state_text(content("a"), directory="/srv")], state) == 1
    assert history.keep([state_text(content("a"), "other.yaml")], state) == 2


def test_the_files_of_a_generation_can_be_read_byte_for_byte(kept: Path) -> None:
    texts = [
        state_text("\ufefftidegate: 1 # Käse\r\n".encode(), "10-base.yaml"),
        state_text(b"", "20-empty.yaml"),
        state_text(content("a"), "gateway.api.toml", owned=True),
    ]
    state = understand(texts[2:])
    assert state is not None
    FileHistory(kept, understand=understand, clock=lambda: NOW).keep(texts, state)

    generation, found = read_generation(kept, 1)
    assert [(text.name, text.data, text.owned) for text in found] == [
        ("10-base.yaml", texts[0].data, False),
        ("20-empty.yaml", b"", False),
        ("gateway.api.toml", texts[2].data, True),
    ]
    assert generation.digest == digest_of(texts)


def test_whose_the_files_were_is_kept_too(kept: Path) -> None:
    access = Access(mode=0o640, owner=0, group=7)
    texts = [replace(state_text(content("a")), access=access), state_text(content(), "other.yaml")]
    state = understand(texts[:1])
    assert state is not None
    FileHistory(kept, understand=understand, clock=lambda: NOW).keep(texts, state)

    assert [text.access for text in read_generation(kept, 1)[1]] == [access, None]


def test_only_the_user_of_the_agent_may_look_into_it(kept: Path) -> None:
    Accepting(kept).accept("a")

    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in kept.iterdir()] == [0o600] * 2


def test_the_oldest_go_when_there_are_too_many(kept: Path) -> None:
    accepting = Accepting(kept, most_kept=3)

    for number in range(5):
        accepting.accept(f"t{number}")
    assert accepting.numbers() == [3, 4, 5]


def test_whoever_declares_often_through_the_api_leaves_the_files_to_return_to(kept: Path) -> None:
    accepting = Accepting(kept, most_kept=4)

    for own in "abc":
        accepting.declare(own)
    for number in range(9):
        accepting.declare("c", f"t{number}")
    assert accepting.numbers() == [1, 2, 11, 12]
    accepting.declare("d", "t8")
    assert accepting.numbers() == [1, 2, 12, 13]


def test_the_oldest_go_when_they_are_too_large_together_and_two_always_stay(kept: Path) -> None:
    accepting = Accepting(kept, most_bytes=1)

    for number in range(4):
        accepting.accept(f"t{number}")
    assert accepting.numbers() == [3, 4]


def test_numbers_decide_the_order_when_the_clock_jumps(kept: Path) -> None:
    times = iter([NOW, NOW - timedelta(days=1000), NOW - timedelta(days=1)])
    accepting = Accepting(kept, clock=lambda: next(times), most_kept=2)

    for name in "abc":
        accepting.accept(name)
    assert accepting.numbers() == [2, 3]


def test_a_generation_that_was_not_kept_is_told_and_comes_into_force_all_the_same(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    accepting = Accepting(kept)
    accepting.accept("a")
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "place", full)
        assert accepting.accept("b") == 2
        told = accepting.history.warnings
        assert told == (
            f"generation 2 could not be kept in {kept}: No space left on device; "
            "tidegate rollback cannot return to it",
        )
    assert accepting.accept("c") == 3
    assert list(accepting.history.warnings) == []
    assert accepting.numbers() == [1, 3]


def full(path: Path, data: bytes, *, mode: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_could_not_be_kept_is_counted_beyond_a_restart(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = Accepting(kept)
    accepting.accept("a")
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "place", full)
        assert [accepting.accept("b"), accepting.accept("c")] == [2, 3]
        assert Accepting(kept).accept("c") == 3

    again = Accepting(kept)
    assert [again.accept("c"), again.accept("d")] == [3, 4]
    assert again.numbers() == [1, 3, 4]


def test_what_could_not_be_kept_is_kept_when_it_is_tried_again(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = Accepting(kept)
    accepting.accept("a")
    assert not accepting.history.retry()
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "place", full)
        accepting.accept("b")
        assert not accepting.history.retry()

    assert accepting.history.retry()
    assert list(accepting.history.warnings) == []
    assert [one.changed for one in list_generations(kept).generations] == ["the first", "+1 -1 tunnels"]
    assert not accepting.history.retry()


@pytest.mark.parametrize("damage", [b"", b"9" * 18, b"9" * 18 + b" " + b"a" * 64 + b"\n", b"?" * 10_000])
def test_a_last_number_that_cannot_be_read_is_that_of_the_last_file(three: Path, damage: bytes) -> None:
    (three / "last").write_bytes(damage)

    assert [Accepting(three).accept("c"), Accepting(three).accept("d")] == [3, 4]
    assert Accepting(three).accept("d") == 4


def test_what_was_accepted_before_anything_could_be_read_takes_no_place_of_another(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(directory: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    accepting = Accepting(three)
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "list_generations", unreadable)
        accepting.accept("x")
    assert not accepting.history.retry()
    assert [text.data for text in read_generation(three, 1)[1]] == [content("a")]


@pytest.mark.parametrize("in_the_way", ["a file", "nothing that can be made"])
def test_a_place_that_cannot_be_used_is_a_warning(tmp_path: Path, in_the_way: str) -> None:
    obstacle = tmp_path / "data"
    obstacle.write_text("")
    accepting = Accepting(obstacle if in_the_way == "a file" else obstacle / "gateway.history")

    assert [accepting.accept("a"), accepting.accept("b")] == [1, 2]
    assert [warning.partition(" in ")[0] for warning in accepting.history.warnings] == ["nothing can be kept"]


def test_what_could_not_be_read_at_first_is_not_overwritten_and_numbers_go_on_later(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Accepting(kept)
    for name in "abc":
        before.accept(name)

    def unreadable(directory: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    accepting = Accepting(kept)
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "list_generations", unreadable)
        assert accepting.accept("x") == 1
        told = accepting.history.warnings
        assert told == (
            f"nothing can be kept in {kept}: Too many open files; "
            "tidegate rollback cannot return to what is in force now",
        )
    assert accepting.numbers() == [1, 2, 3]
    assert accepting.accept("y") == 4
    assert list(accepting.history.warnings) == []
    assert accepting.numbers() == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"{}\n", b"[" * 100_000, b'{"format_version": 1}\n'])
def test_what_is_damaged_is_told_and_left_out_and_its_number_is_not_used_again(
    three: Path, damage: bytes
) -> None:
    (three / "00000003.json").write_bytes(damage)

    shelf = list_generations(three)
    assert [one.number for one in shelf.generations] == [1, 2]
    assert shelf.damaged == (f"{three}/00000003.json is damaged, and left out of the history: remove it",)
    with pytest.raises(NotKeptError, match="generation 3 is damaged"):
        read_generation(three, 3)
    accepting = Accepting(three)
    assert accepting.accept("d") == 4
    assert accepting.history.warnings == shelf.damaged


def test_one_that_was_cut_off_or_changed_is_damaged(three: Path) -> None:
    (three / "00000001.json").write_bytes((three / "00000001.json").read_bytes()[:-1])
    changed = (three / "00000002.json").read_bytes().replace(b"listen", b"lasten")
    (three / "00000002.json").write_bytes(changed)

    assert [one.number for one in list_generations(three).generations] == [2, 3]
    with pytest.raises(NotKeptError, match="generation 2 is damaged"):
        read_generation(three, 2)


def test_one_that_leads_out_of_its_directory_is_damaged(three: Path) -> None:
    head, line = (three / "00000001.json").read_bytes().splitlines()
    value = json.loads(line) | {"name": "../gateway.yaml"}
    body = json.dumps(value).encode() + b"\n"
    fixed = json.loads(head) | {"bytes": len(body)}
    (three / "00000001.json").write_bytes(json.dumps(fixed).encode() + b"\n" + body)

    with pytest.raises(NotKeptError, match="damaged"):
        read_generation(three, 1)


def test_other_files_in_the_directory_are_nobodys_generation(three: Path) -> None:
    for name in ("notes.txt", "7.json", ".00000009.json.1234.tmp", "0000000x.json"):
        (three / name).write_text("mine")

    assert Accepting(three).accept("d") == 4


def test_a_generation_that_is_not_there_is_told(three: Path, tmp_path: Path) -> None:
    with pytest.raises(NotKeptError, match="generation 9 is not kept: see which are with tidegate history"):
        read_generation(three, 9)
    assert list_generations(tmp_path / "nowhere").generations == ()


def accept_one(directory: Path) -> None:
    Accepting(directory / "history", most_kept=2).accept("a")
    Accepting(directory / "history", most_kept=2).accept("b")


def accept_another(directory: Path) -> None:
    Accepting(directory / "history", most_kept=2).accept("c")


def test_whenever_the_agent_is_killed_the_history_is_whole_and_its_numbers_go_on(tmp_path: Path) -> None:
    for _, directory in deaths(tmp_path, accept_one, accept_another):
        shelf = list_generations(directory / "history")
        numbers = [generation.number for generation in shelf.generations]
        assert (shelf.damaged, numbers in ([1, 2], [1, 2, 3], [2, 3])) == ((), True)
        for number in numbers:
            read_generation(directory / "history", number)

        accept_another(directory)  # as the agent does that is started next
        assert list_generations(directory / "history").generations[-1].number == 3
        assert list((directory / "history").glob(".*")) == []


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(min_value=1, max_value=4))
def test_however_often_it_is_restarted_numbers_grow_exactly_when_the_content_changes(
    contents: list[str], every: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        numbers: list[int] = []
        accepting = Accepting(Path(name))
        for at, one in enumerate(contents):
            if at % every == 0:
                accepting = Accepting(Path(name))
            numbers.append(accepting.accept(one))
        expected = 0
        for at, one in enumerate(contents):
            expected += at == 0 or one != contents[at - 1]
            assert numbers[at] == expected


@pytest.mark.parametrize("content", ["", "a: 1\n", 'q"\\\n\t', "\U0001f30a\x80" * 3])
def test_a_text_that_is_written_in_pieces_is_the_same(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_PIECE", 2)
    data = content.encode() + b"\xff"
    text = StateText(name="/etc/gateway.yaml", directory="/etc", data=data, owned=True)

    assert json.loads(history_module._line(text)) == {
        "name": "gateway.yaml",
        "owned": True,
        "access": None,
        "text": data.decode("utf-8", "surrogateescape"),
    }
