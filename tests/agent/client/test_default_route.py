"""Who the router is, as the tables of a kernel tell it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.client.default_route import NoRouterError, default_router

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
HERE = "eth0\t0010A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
ANYWHERE = "0" * 32
little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the kernel writes numbers of its own")


def default_4(router: str, *, metric: int = 0, flags: str = "0003") -> str:
    return f"eth0\t00000000\t{router}\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n"


def default_6(router: str, *, metric: int = 1024, flags: str = "00450003", prefix: str = "00") -> str:
    return f"{ANYWHERE} {prefix} {ANYWHERE} 00 {router} {metric:08x} 00000001 00000000 {flags}     eth0\n"


def router(place: Path, routes_4: str | None, routes_6: str | None = None) -> str:
    files = []
    for name, text in (("route", routes_4), ("ipv6_route", routes_6)):
        files.append(place / name)
        if text is not None:
            files[-1].write_text(text)
    return default_router(*files)


@little_endian
def test_the_router_of_the_default_route_is_found(tmp_path: Path) -> None:
    assert router(tmp_path, HEAD + HERE + default_4("0110A8C0")) == "192.168.16.1"


@little_endian
def test_of_several_the_one_with_the_lowest_metric_counts(tmp_path: Path) -> None:
    routes = HEAD + default_4("0110A8C0", metric=600) + default_4("0200000A", metric=100)

    assert router(tmp_path, routes) == "10.0.0.2"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("20010db8000000000000000000000001", "2001:db8::1"),
        ("fe800000000000000000000000000001", "fe80::1%eth0"),
    ],
)
@pytest.mark.parametrize("routes_4", [None, HEAD + HERE])
def test_without_one_for_ipv4_that_for_ipv6_counts(
    tmp_path: Path, routes_4: str | None, address: str, found: str
) -> None:
    assert router(tmp_path, routes_4, default_6(address)) == found


@pytest.mark.parametrize(
    ("routes_4", "routes_6"),
    [
        (HEAD + HERE, None),
        (HEAD, ""),
        (HEAD + default_4("00000000", flags="0001"), default_6(ANYWHERE, flags="00200200")),
        (HEAD + default_4("0110A8C0", flags="0002"), default_6(ANYWHERE[:-1] + "1", prefix="20")),
        ("", "\n\n"),
    ],
)
def test_without_a_default_route_that_has_one_this_is_told(
    tmp_path: Path, routes_4: str, routes_6: str | None
) -> None:
    with pytest.raises(NoRouterError, match="no default route with a router now; connect it"):
        router(tmp_path, routes_4, routes_6)


def test_a_system_that_does_not_tell_is_no_riddle(tmp_path: Path) -> None:
    with pytest.raises(NoRouterError, match=r"known on Linux only; write its address into client.proxy"):
        router(tmp_path, None)
