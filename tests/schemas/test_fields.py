from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from schemas.fields import parse_services
from schemas.names import ServiceEntry, TcpTarget, UnixTarget
from schemas.validating import FAULTS, Fault, faulty


def faults_of(value: object) -> tuple[Fault, ...]:
    with pytest.raises(PydanticCustomError) as caught:
        parse_services(value, directory="/d")
    assert caught.value.type == FAULTS
    context = caught.value.context
    assert context is not None
    faults: tuple[Fault, ...] = context["faults"]
    return faults


def test_services_are_sorted_so_that_their_order_means_nothing() -> None:
    services = {"web": "127.0.0.1:80", "api": "unix:api.sock", "db": "unix:/run/db.sock", "x": "unix:@x"}
    parsed = parse_services(services, directory="/d")
    assert parsed == parse_services(dict(reversed(services.items())), directory="/d")
    assert dict(parsed) == {
        "api": ServiceEntry(UnixTarget("/d/api.sock")),
        "db": ServiceEntry(UnixTarget("/run/db.sock")),
        "web": ServiceEntry(TcpTarget("127.0.0.1", 80)),
        "x": ServiceEntry(UnixTarget("@x")),
    }


def test_every_bad_service_is_a_fault_at_its_name_or_at_its_address() -> None:
    faults = faults_of({"a b": "127.0.0.1:80", "web": 80, "ok": "127.0.0.1:80", "api": "unix:~/x"})
    assert [(fault.path, fault.key) for fault in faults] == [
        (("a b",), True),
        (("web",), False),
        (("api",), False),
    ]


def test_services_that_are_no_mapping_are_one_fault() -> None:
    (fault,) = faults_of(["web"])
    assert fault.path == ()
    assert fault.message.startswith("a list stands where a mapping")


def test_the_text_of_a_failure_keeps_its_braces() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        raise faulty([Fault('write {file: "x"}'), Fault("or else")])
    assert caught.value.message() == 'write {file: "x"}; or else'
