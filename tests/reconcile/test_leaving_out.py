"""The operator's files win over what was declared through the API."""

from __future__ import annotations

import pytest

from reconcile.leaving_out import leave_out
from schemas.errors import Place, Problem, StateError
from schemas.parse import parse_gateway
from schemas.text import Document, Syntax, read_document

FILE = """\
tidegate: 1
gateway: {tls: {cert: c, key: k, client_ca: a}}
clients: [{id: home}]
tunnels:
  - {name: web, listen: "127.0.0.1:1000", client: home, service: s}
"""


def declared(*tunnels: tuple[str, int, str]) -> Document:
    text = "tidegate = 1\n" + "".join(
        f'[[tunnels]]\nname = "{name}"\nlisten = "127.0.0.1:{port}"\nclient = "{client}"\nservice = "s"\n'
        'declared_by = "ops"\n'
        for name, port, client in tunnels
    )
    return read_document(text.encode(), name="own.toml", directory=".", syntax=Syntax.TOML, owned=True)


def file() -> Document:
    return read_document(FILE.encode(), name="gw.yaml", directory=".", syntax=Syntax.YAML)


def problems_of(documents: list[Document]) -> tuple[Problem, ...]:
    with pytest.raises(StateError) as caught:
        parse_gateway(documents)
    return caught.value.problems


def test_every_clashing_tunnel_is_left_out_and_told_of_and_the_others_stay() -> None:
    """A taken port, a name that is taken, a client that is not listed: each in one go."""
    documents = [
        file(),
        declared(("a", 1000, "home"), ("b", 1001, "home"), ("web", 1002, "home"), ("c", 1003, "gone")),
    ]
    rest = leave_out(documents, problems_of(documents))
    assert rest is not None
    fitting, told = rest
    assert [tunnel.name for tunnel in parse_gateway(fitting).tunnels] == ["web", "b"]
    assert len(told) == 3
    assert all("is left out" in problem.message for problem in told)


def test_nothing_is_left_out_if_the_files_themselves_are_wrong() -> None:
    documents = [file(), declared(("a", 1000, "home"))]
    own = problems_of(documents)
    other = Problem(Place("gw.yaml", 1, 1), "something else")
    assert leave_out(documents, (*own, other)) is None


def test_without_a_fragment_there_is_nothing_to_leave_out() -> None:
    assert leave_out([file()], ()) is None
