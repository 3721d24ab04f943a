"""A program that asks a gateway to dial somebody, by the session of a client that is driven by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from reconcile.desired import EgressSpec
from schemas.egress import parse_destination
from schemas.messages import FailureCode, StreamDialed, StreamFailed
from schemas.names import HostPort, parse_host_port
from schemas.ports import parse_port_range
from schemas.state import EgressRule
from transport.byte_stream import MuxByteStream, open_byte_stream
from transport.wire.egress_header import EgressHeader, encode_egress_header

from .gateway_parts import GatewayParts, HandDriven, gateway_parts, hand_driven
from .journal import PATIENCE


def rule(*to: str, client: str = "homelab", ports: str = "*") -> EgressRule:
    """As a file has it: several clients or ports are apart by spaces."""
    return EgressRule.model_construct(
        client=tuple(client.split()),
        to=tuple(parse_destination(text) for text in to),
        ports=tuple(parse_port_range(text) for text in ports.split()),
    )


def egress(*rules: EgressRule, bind: tuple[str, ...] = ()) -> EgressSpec:
    return EgressSpec(bind=bind, allow=rules)


class Program:
    """Whoever asks through one client."""

    def __init__(self, client: HandDriven) -> None:
        self.client = client

    def ask(self, destination: str, first: bytes = b"") -> MuxByteStream:
        """Have the gateway dial ``host:port``; what follows the header is in the same frame."""
        wanted = parse_host_port(destination)
        return self.ask_for(wanted, first)

    def ask_for(self, wanted: HostPort, first: bytes = b"") -> MuxByteStream:
        header = encode_egress_header(EgressHeader(host=wanted.host, port=wanted.port))
        return open_byte_stream(self.client.session.link, header + first)

    async def is_refused(self, destination: str, first: bytes = b"") -> tuple[FailureCode, str]:
        """Ask and be refused; the code and the words."""
        return await self.refusal(self.ask(destination, first))

    async def refusal(self, stream: MuxByteStream) -> tuple[FailureCode, str]:
        """Why a stream is refused."""
        with anyio.fail_after(PATIENCE):
            try:
                while True:
                    await stream.receive()
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                pass
        while isinstance(message := await self.client.next_message(), StreamDialed):
            pass  # of another one, which was accepted
        assert isinstance(message, StreamFailed)
        assert message.stream == stream.stream.id
        return message.code, message.message


@asynccontextmanager
async def asking(
    *rules: EgressRule, bind: tuple[str, ...] = ()
) -> AsyncIterator[tuple[GatewayParts, Program]]:
    """A gateway with these rules, and a program beside its client homelab."""
    async with gateway_parts() as parts:
        await parts.put(egress(*rules, bind=bind))
        async with hand_driven(parts.control) as client:
            yield parts, Program(client)
