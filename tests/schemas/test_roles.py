from __future__ import annotations

import pytest

from schemas.errors import StateError
from schemas.roles import Role, find_role, top_level_problems

from .reading import CLIENT, GATEWAY, document


def said_of(*texts: str, wanted: Role | None = None) -> tuple[Role | None, list[str]]:
    documents = [document(text, name=f"{name}.yaml") for name, text in zip("abc", texts, strict=False)]
    role, problems = find_role(documents, wanted=wanted)
    return role, [str(problem) for problem in problems]


TUNNELS = "tidegate: 1\ntunnels: []\n"


@pytest.mark.parametrize(
    ("texts", "role"),
    [
        ([GATEWAY], Role.GATEWAY),
        ([CLIENT], Role.CLIENT),
        ([TUNNELS, GATEWAY], Role.GATEWAY),
        (["tidegate: 1\nservices: {}\n", CLIENT], Role.CLIENT),
    ],
)
def test_a_section_in_any_document_says_the_role(texts: list[str], role: Role) -> None:
    assert said_of(*texts) == (role, [])
    assert said_of(*texts, wanted=role) == (role, [])


def test_the_state_of_the_other_role_is_told_which_command_uses_it() -> None:
    assert said_of(CLIENT, wanted=Role.GATEWAY) == (
        None,
        ['a.yaml:2:1: this is the state of a client; run "tidegate client a.yaml" to use it'],
    )
    assert said_of(GATEWAY, wanted=Role.CLIENT) == (
        None,
        ['a.yaml:2:1: this is the state of a gateway; run "tidegate gateway a.yaml" to use it'],
    )


@pytest.mark.parametrize("wanted", [None, Role.GATEWAY, Role.CLIENT])
def test_both_roles_together_are_no_role(wanted: Role | None) -> None:
    assert said_of(GATEWAY, CLIENT, wanted=wanted) == (
        None,
        [
            "b.yaml:2:1: an agent plays one role, gateway or client; move this section "
            "into a state of its own (see a.yaml:2:1)"
        ],
    )


def test_a_section_that_stands_in_two_documents_shows_both_places() -> None:
    assert said_of(GATEWAY, TUNNELS, GATEWAY) == (
        Role.GATEWAY,
        ["c.yaml:2:1: the section gateway stands in another file already; keep one (see a.yaml:2:1)"],
    )


@pytest.mark.parametrize(
    ("text", "wanted", "role", "said"),
    [
        ("tidegate: 1\n", None, None, 'neither a section "gateway" nor "client"'),
        ("tidegate: 1\n", Role.CLIENT, Role.CLIENT, 'the section "client" is missing'),
        (TUNNELS, None, Role.GATEWAY, 'the section "gateway" is missing'),
        ("tidegate: 1\nservices: {}\n", None, Role.CLIENT, 'the section "client" is missing'),
        ("tidegate: 1\nservices: {}\ntunnels: []\n", None, Role.CLIENT, 'the section "client" is missing'),
        ("tidegate: 1\nservices: {}\negress: {}\n", None, None, 'neither a section "gateway" nor "client"'),
    ],
)
def test_without_a_section_the_other_keys_say_what_is_missing(
    text: str, wanted: Role | None, role: Role | None, said: str
) -> None:
    found, (line,) = said_of(text, wanted=wanted)
    assert found is role
    assert line.startswith("a.yaml:1:1: ")
    assert said in line


def test_a_misspelled_section_says_the_role_and_is_left_to_be_reported_as_a_key() -> None:
    assert said_of("tidegate: 1\ngatewy: {}\n") == (Role.GATEWAY, [])
    assert said_of("tidegate: 1\nclent: {}\n", wanted=Role.CLIENT) == (Role.CLIENT, [])


def test_no_documents_are_no_state() -> None:
    with pytest.raises(StateError, match="no state file"):
        find_role([], wanted=None)


@pytest.mark.parametrize(
    ("role", "key", "said"),
    [
        (Role.GATEWAY, "services", "services belongs in the state of a client; move it there"),
        (Role.GATEWAY, "socks5", "socks5 belongs in the state of a client; move it there"),
        (Role.CLIENT, "egress", "egress belongs in the state of a gateway; move it there"),
        (Role.CLIENT, "servces", 'unknown key "servces"; did you mean "services"?'),
        (Role.GATEWAY, "x", 'unknown key "x"; the keys of a gateway\'s state are'),
    ],
)
def test_a_key_at_the_top_that_has_no_business_there_is_told_where_it_belongs(
    role: Role, key: str, said: str
) -> None:
    (problem,) = top_level_problems(document(f"tidegate: 1\n{key}: {{}}\n"), role)
    assert problem.message.startswith(said)
    assert str(problem.place) == "a.yaml:2:1"
