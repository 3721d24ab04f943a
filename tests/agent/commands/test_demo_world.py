"""What surrounds the agents in the demo."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketStream

from agent.commands.demo_world import HOST, VisitError, free_ports, is_open, serve_greetings, visit

pytestmark = pytest.mark.anyio


async def test_a_visitor_of_the_service_is_greeted() -> None:
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_greetings, "blog")

        assert await visit(f"{HOST}:{port}") == "Hello from the blog, which listens on 127.0.0.1 only."
        tasks.cancel_scope.cancel()


async def test_a_visitor_who_hangs_up_early_costs_the_service_nothing() -> None:
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_greetings, "blog")
        async with await anyio.connect_tcp(HOST, port) as visitor:
            await visitor.send(b"GET")

        assert await visit(f"{HOST}:{port}")
        tasks.cancel_scope.cancel()


async def test_a_port_that_is_closed_is_told_from_one_that_is_open() -> None:
    (closed,) = free_ports(1)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve_greetings, "blog")

        assert [await is_open(f"{HOST}:{port}"), await is_open(f"{HOST}:{closed}")] == [True, False]
        tasks.cancel_scope.cancel()


async def test_a_visit_to_a_closed_port_says_so() -> None:
    (closed,) = free_ports(1)

    with pytest.raises(VisitError, match=f"GET http://{HOST}:{closed}/ failed: "):
        await visit(f"{HOST}:{closed}")


async def test_a_page_that_is_none_is_an_error() -> None:
    async def turn_away(visitor: SocketStream) -> None:
        async with visitor:
            await visitor.receive()
            await visitor.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\naway")

    async with await anyio.create_tcp_listener(local_host=HOST, local_port=0) as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, turn_away)

            with pytest.raises(VisitError, match="was answered 503 away"):
                await visit(f"{HOST}:{port}")
            tasks.cancel_scope.cancel()


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20
