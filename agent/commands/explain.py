"""``tidegate explain``: what becomes of a visitor of a running gateway.

Rule: the exit status is 0 exactly if the visitor gets through.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agent.api.client import RefusedError, fetch_explanation
from agent.gateway.places import tunnel_place
from agent.gateway.question import parse_question
from agent.process.loops import run
from schemas.errors import TidegateError
from schemas.explanation import Explanation

from .finding import found_agent, found_state


def run_explain(
    listen: str,
    *,
    sni: str | None,
    host: str | None,
    state: Path | None,
    socket: Path | None,
    as_json: bool,
) -> int:
    """The command.

    :returns: the exit status.
    :raises TidegateError: if the question is none, or there is no gateway to be asked.
    """
    if sni is not None and host is not None:
        raise TidegateError("a visitor speaks TLS or plain HTTP: give --sni or --host, and not both")
    try:
        question = parse_question(listen, sni=sni, host=host)
    except ValueError as error:
        raise TidegateError(str(error)) from error
    agent = found_agent(state, socket)
    ask = partial(fetch_explanation, agent.socket, listen, sni=sni, host=host, start=agent.start)
    try:
        found = run(ask)
    except RefusedError as error:
        raise TidegateError(error.detail) from error
    if as_json:
        print(found.model_dump_json(indent=2))
    else:
        anywhere = len(question.addresses) > 1 and found.listener is not None
        print(f"{question}: {found.listener}" if anywhere else question)
        for sentence in found.why:
            print(f"  {sentence}")
        print(_sum_up(found, found_state(state, socket)))
    return 0 if found.served else 1


def _sum_up(found: Explanation, state: Path | None) -> str:
    if found.match is None:
        return f"The visitor gets {found.gets}."
    place = None if state is None else tunnel_place(state, found.match.tunnel)
    where = "" if place is None else f" ({place.file}:{place.line})"
    tunnel = f"tunnel {found.match.tunnel}{where}"
    if found.served:
        return f"The visitor gets through: {tunnel}, client {found.client}, service {found.service}."
    return f"The visitor gets {found.gets}: {tunnel} cannot take it."
