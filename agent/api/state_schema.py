"""The schema of the document that is a whole state.

Rule: it is that of the state files, and takes besides what only a document has: who
declared a tunnel through the API, and what stands for secrets that are not shown.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from schemas.json_schema import schema_of
from schemas.render import HIDDEN
from schemas.roles import Role

from .operation import Schema

_DECLARER: Final = {
    "description": "Who declared the tunnel through the API; nobody, if a state file of the operator does.",
    "type": "string",
}
_HIDDEN: Final = {
    "description": "PEM text, or a proxy with its password, that stands in a state file, and is not shown.",
    "const": HIDDEN,
}


def state_schema() -> Schema:
    """The schema of the document of either role, with the definitions that it refers to."""
    roles = {role: deepcopy(schema_of(role)) for role in Role}
    definitions: dict[str, Any] = {}
    for schema in roles.values():
        definitions |= schema.pop("$defs")
        del schema["$schema"]
    roles[Role.GATEWAY]["properties"]["tunnels"]["items"]["properties"]["declared_by"] = _DECLARER
    for name in ("reference", "proxy"):
        definitions[name]["anyOf"].append(_HIDDEN)
    return {
        "title": "State",
        "description": "A document of a state file, of either role. What has its default is left out.",
        "anyOf": list(roles.values()),
        "$defs": definitions,
    }
