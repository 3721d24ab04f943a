"""Whose sessions would end if the ports had other keys: asked by whoever plans a change.

Rule: nothing is changed here. What is read is what ``keyring`` would read, and whoever
would lose his session there is told; a file in the same place that says something else by
then is nothing that could be known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconcile.desired import ControlSpec, Key, Spec
from schemas.errors import TidegateError
from schemas.names import ClientId

from .keyring import Keyring
from .vouched_links import VouchedLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOutlook:
    """``problem``: why the keys would not be taken, and so nobody loses anything; "" if they would."""

    losing: frozenset[ClientId] = frozenset()
    problem: str = ""


async def look_ahead(desired: Mapping[Key, Spec], keyring: Keyring, links: VouchedLinks) -> KeyOutlook:
    """What the keys in these resources would mean for the clients that are here."""
    tls = next((spec.tls for spec in desired.values() if isinstance(spec, ControlSpec)), None)
    if tls is None:
        return KeyOutlook()
    try:
        news = await keyring.look_at(tls)
    except TidegateError as error:
        return KeyOutlook(problem=str(error))
    if news is None:
        return KeyOutlook()
    return KeyOutlook(losing=await links.losing(news.authorities, news.lists))
