"""Which event loop runs the program.

Rule: uvloop, unless somebody asks for Python's own; nothing above knows which.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio

from .descriptors import raise_descriptor_limit

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


def run(
    function: Callable[[Unpack[Arguments]], Awaitable[T]],
    *arguments: *Arguments,
    stock_loop: bool = False,
) -> T:
    """Run a function on a new event loop until it returns. uvloop is not made for Windows."""
    raise_descriptor_limit()
    use_uvloop = not stock_loop and sys.platform != "win32"
    return anyio.run(function, *arguments, backend="asyncio", backend_options={"use_uvloop": use_uvloop})
