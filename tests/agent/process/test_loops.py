"""Which event loop runs the program."""

from __future__ import annotations

import gc
import sys

import anyio.lowlevel
import pytest

from agent.process.loops import Loop, choose_loop, run


async def module_of_the_loop() -> str:
    return type(anyio.lowlevel.current_token().native_token).__module__


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_it_is_uvloop_unless_pythons_own_is_asked_for() -> None:
    assert choose_loop() is Loop.UVLOOP
    assert run(module_of_the_loop).startswith("uvloop")
    assert run(module_of_the_loop, stock_loop=True).startswith("asyncio")


def test_it_is_pythons_own_where_uvloop_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert choose_loop() is Loop.STOCK
    assert run(module_of_the_loop).startswith("asyncio")


async def collects_after() -> int:
    return gc.get_threshold()[0]


def test_a_visitor_more_or_less_does_not_make_python_look_for_garbage() -> None:
    before = gc.get_threshold()
    try:
        assert run(collects_after) >= 5_000
    finally:
        gc.set_threshold(*before)


async def add(left: int, right: int) -> int:
    return left + right


def test_arguments_go_in_and_the_result_comes_out() -> None:
    assert run(add, 1, 2) == 3
