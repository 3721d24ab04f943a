"""Which event loop runs the program.

Rule: uvloop where it can be imported, unless somebody asks for Python's own; nothing
above knows which. There is no uvloop for Windows, nor a wheel of it for every other
system, and a program that runs slower is better than one that does not start.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from enum import Enum
from importlib import import_module
from typing import Final, TypeVar, TypeVarTuple, Unpack

import anyio

from .descriptors import raise_descriptor_limit

# After so many new objects Python looks for garbage among them, and after so many looks among the older ones.
# Its own 700 are a few visitors: a twelfth of what a visitor costs went into looking, and hardly anything
# here is garbage of the kind that has to be looked for.
_COLLECT_AFTER: Final = (10_000, 20, 20)

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Loop(Enum):
    """An event loop, by the name of its module."""

    UVLOOP = "uvloop"
    STOCK = "asyncio"


def choose_loop(*, stock_loop: bool = False) -> Loop:
    """The loop on which :func:`run` runs a function."""
    if stock_loop:
        return Loop.STOCK
    try:
        import_module(Loop.UVLOOP.value)  # by its name, as anyio does it
    except ImportError:
        return Loop.STOCK
    return Loop.UVLOOP


def run(
    function: Callable[[Unpack[Arguments]], Awaitable[T]],
    *arguments: *Arguments,
    stock_loop: bool = False,
) -> T:
    """Run a function on a new event loop until it returns."""
    raise_descriptor_limit()
    gc.set_threshold(*_COLLECT_AFTER)
    loop = choose_loop(stock_loop=stock_loop)
    return anyio.run(
        function, *arguments, backend="asyncio", backend_options={"use_uvloop": loop is Loop.UVLOOP}
    )
