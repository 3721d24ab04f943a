r"""How the values of a state file are spelled, as regular expressions for others to check with.

Rule: a pattern takes every text that ``names``, ``references`` and ``quantities`` take, and refuses
of the others what it can without turning into a puzzle: it is shown to whoever it refuses. It is
written in what the expressions of JSON Schema (ECMA-262), Python and RE2 have in common: no ``\d``,
no ``\Z``, nothing that looks ahead or behind. So Python, and Python alone, lets a line end pass before ``$``.
"""

from __future__ import annotations

from typing import Final

from .names import HOST_LABEL
from .names import NAME as _NAME
from .quantities import NUMBER, SECONDS
from .references import ENV_NAME

# As a text of digits, which may be zeros first: 1 to 65535 in at most five of them.
_PORT: Final = (
    "(?:0{0,4}[1-9]|0{0,3}[1-9][0-9]|0{0,2}[1-9][0-9]{2}|0?[1-9][0-9]{3}|[1-5][0-9]{4}"
    "|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
# How many groups "::" stands for is not counted.
_IPV6: Final = rf"\[(?:[0-9A-Fa-f]{{0,4}}:){{2,8}}(?:[0-9A-Fa-f]{{0,4}}|{_IPV4})(?:%[^%/\]]+)?\]"

# What becomes of a letter that is not ASCII only the tables of IDNA can tell.
_BEYOND_ASCII: Final = r"[^\x00-\x7F]"
_LABEL: Final = f"(?:{HOST_LABEL.pattern}|[A-Za-z0-9_-]*{_BEYOND_ASCII}(?:[A-Za-z0-9_-]|{_BEYOND_ASCII})*)"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_GLOB_LABEL: Final = f"(?:[A-Za-z0-9_*-]|{_BEYOND_ASCII})+"

_CONTROL: Final = r"\x00-\x1F\x7F-\x9F"
# Not blank, not from the home directory, and on one line.
_PATH: Final = rf"(?: +[^ {_CONTROL}]|[^ ~{_CONTROL}])[^{_CONTROL}]*"

NAME: Final = f"^{_NAME.pattern}$"
ENVIRONMENT_VARIABLE: Final = f"^{ENV_NAME.pattern}$"
PATH: Final = f"^{_PATH}$"
DURATION: Final = f"^{NUMBER} ?(?:{'|'.join(SECONDS)})$"
ZERO_DURATION: Final = "^[0.]+ ?[a-z]+$"
IPV4_ADDRESS: Final = rf"^{_IPV4}\.?$"
LISTEN_ADDRESS: Final = f"^(?:{_IPV4}|{_IPV6})?:{_PORT}$"
HOST_AND_PORT: Final = f"^(?:{_HOST}|{_IPV6}):{_PORT}$"
TARGET: Final = f"^(?:unix:{_PATH}|(?:{_HOST}|{_IPV6}):{_PORT})$"
HOSTNAME: Final = rf"^{_GLOB_LABEL}(?:\.{_GLOB_LABEL})*\.?$"
DOMAIN: Final = f"^{_HOST}$"

_IPV6_BARE: Final = _IPV6.removeprefix(r"\[").removesuffix(r"\]").replace(r"(?:%[^%/\]]+)?", "")
_PORTS: Final = rf"(?:\*|{_PORT}(?:-{_PORT})?)"
NETWORK: Final = f"^(?:{_IPV4}(?:/[0-9.]+)?|{_IPV6_BARE}(?:/[0-9]{{1,3}})?)$"
PORTS: Final = f"^{_PORTS}$"
LISTEN_PATTERN: Final = f"^(?:{_IPV4}|{_IPV6})?:{_PORTS}$"
LIKE_NUMBERS: Final = r"(?:^|\.)[0-9]+\.*$|^[0-9*]*[0-9][0-9*]*\.[0-9.*]*[0-9*]\.?$"
GATEWAY: Final = rf"(?:{HOST_AND_PORT})|^wss?://[^@?#/]+(?:/[^?#]*)?$"
PROXY_URL: Final = "^[A-Za-z][A-Za-z0-9]*://(?:[^@/]*@)?[^@/?#]+/?$"
LOCAL_ADDRESS: Final = f"^(?:{_IPV4}|{_IPV6_BARE})$"
SERVICE_GLOB: Final = r"^[A-Za-z0-9._*-]{1,128}$"
SERIAL: Final = "^(?:[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+|0[xX][0-9A-Fa-f]+|[0-9]+)$"
FINGERPRINT: Final = "^(?:[Ss][Hh][Aa]-?256[:=]? ?)?(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"
SOCKS5_LISTEN: Final = f"^(?:unix:{_PATH}|(?:{_IPV4}|{_IPV6}):{_PORT})$"
CLIENT_OR_ANY: Final = rf"^(?:\*|{_NAME.pattern})$"
USER: Final = f"^[^{_CONTROL}]+$"
