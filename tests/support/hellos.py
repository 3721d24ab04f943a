"""ClientHellos: real ones, and ones cut, padded or broken by hand.

Rule: a hello here is a list of bytes as a visitor would send it; nothing here knows the code under test.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from typing import Final

SERVER_NAME: Final = 0
ALPN: Final = 16
PADDING: Final = 21


def python_hello(
    server_name: str | None, *, alpn: Sequence[str] = (), newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bytes:
    """What Python's ssl, and so OpenSSL, sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake cannot be over after one flight")


def build_hello(extensions: Sequence[tuple[int, bytes]] | None, *, session_id: bytes = b"") -> bytes:
    """A hello with just these extensions, in as few records as it fits into; None: without the block."""
    body = b"\x03\x03" + bytes(range(32)) + vector(1, session_id) + vector(2, b"\x13\x01") + vector(1, b"\0")
    if extensions is not None:
        body += vector(2, b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in extensions))
    return in_records(b"\x01" + vector(3, body), 2**14)


def server_name(*names: bytes) -> tuple[int, bytes]:
    """The server_name extension with these host names."""
    return SERVER_NAME, vector(2, b"".join(b"\0" + vector(2, name) for name in names))


def vector(width: int, content: bytes) -> bytes:
    """`content` behind its length in `width` bytes."""
    return len(content).to_bytes(width, "big") + content


def message_of(records: bytes) -> bytes:
    """The handshake message that whole TLS records carry."""
    message = b""
    while records:
        length = int.from_bytes(records[3:5], "big")
        message, records = message + records[5 : 5 + length], records[5 + length :]
    return message


def in_records(message: bytes, size: int) -> bytes:
    """`message` in records that carry `size` bytes each."""
    parts = (message[start : start + size] for start in range(0, len(message), size))
    return b"".join(b"\x16\x03\x01" + vector(2, part) for part in parts)


# What Go 1.26's crypto/tls sends for "Blog.Example.com" with the protocols h2 and http/1.1: a key share
# X25519MLKEM768 of 1,216 bytes beside one of X25519. Recorded once, for Debian's OpenSSL makes none.
POST_QUANTUM: Final = base64.b64decode(
    "FgMBBfEBAAXtAwMq9+lM9saP0wpR6bSXI3b18Fk0e7r63uHVOXuTFxz70iAjE3lu3kBWGkTsIkP3dk3rdoscgZJoamF9Twx6pfV77QAa"
    "wCvAL8AswDDMqcyowAnAE8AKwBQTARMCEwMBAAWKAAAAFQATAAAQQmxvZy5FeGFtcGxlLmNvbQALAAIBAP8BAAEAABcAAAASAAAABQAF"
    "AQAAAAAACgAQAA4R7BHrEe0AHQAXABgAGQANABYAFAgEBAMIBwgFCAYEAQUBBgEFAwYDADIAGgAYCAQEAwgHCAUIBgQBBQEGAQUDBgMC"
    "AQIDABAADgAMAmgyCGh0dHAvMS4xACsABQQDBAMDADME6gToEewEwKDFdKXVa9kbsMN0z1eMIncSqEwqoLEIg19LbSK0zSojoDREI9XF"
    "DH2CxvtBXGpzeRkWM9ygrIW0ggvcumBgMYy4iUOVFIZmSaAZsfzjmSDplJNShlCEOVKQaTDxeaVzTQfEg2KgHEx4ZTj6O/+zNNuHkahj"
    "KUPBmAQIIZjXuYGAVrTIUGiUJayxl5wkfzg6JSKYXEvopj4MCpEMMju8epxhB0K7zFw6ankcr4ApmkFzIXsasb8WtZYzGcSEiQn8l2mp"
    "iRh3EpPsT+O7gHHzCtoRYmapSEPyKgXQe30AaviwXNdSIgiHRiBFw7LpcXx4CsbUnG1BAJkyBNU7uMDGCRCjXNiTBYh3ZNi0eKj6dAMA"
    "kZGhPa7iRgsrMMZjSK+CfSNXUFmxCCSVZeR1Gmq3vQyBIvwTtlwLPQDCsRIZadzUkkdyqxzWBY52Zyrmq+6Iu9URUSZAj9wXvtR8GNrC"
    "OoywGo0HXMmpMHomM+xIFyesvZxhb8unzPTwUtBaqG+om7LzpfWYv6IggHb7W5IzSNI5wTcqsqtFNleZyZ6Ti1mILsNjw5xzuX54REGw"
    "Tm2mu8g7KGR6EK1VYhTzDUGxSAlRNsvpl/8xEFAFp86aqtXcepdGPuCVY8sLrw5Yqs1DiDMyCulkMd7aZwiZl3LYFplwB7SCZyfWCIuZ"
    "J4ABfTzwAnsMIR2SaPcsGd1oNwOANCS3CMraFjcjzBnUCEr1RvhrMj7iCHMiA3dcbOu4LcQVDdn0R410HsA4HLMDS2GRQ7ETzt2gwH46"
    "NMAsdDUpLwlDTIDRk+mxDdxonLYBb+gVFFknl22pvQlDLDhCqm1su1/5yfpkp5srUucbbFCkniR2rXQVyKlcvnNTyDMnO0vHsXOZor1x"
    "QaICjWv3ycfTNOmTC03cUu2gKV11jaViiWBBehiRRMNalXFnbkyIanSMaSoYQvTGkWeiCsX7aCY4U8wBMRTVLqv5Y4GmHqQDFb4rRW3L"
    "pPIUkLCcZf75O7MEvsWzgGXIGMU3jm83sDvLGogKu3UIc/64eSfggL1nF77CusKJRtWAZ01pPgarX0+4Udl2HDncB+tjJ/E7Wb6oDnv7"
    "m0+YNAkBpyzamwV0AmEUECAQboXlpsdTCav7i/rIkqeBMo/SzF6sJxtDEk65QUC4uOWazlJoMaxAp6x5nVRYWjTXF9/5T/nkfLxZu9f0"
    "sEyyPQaXLRDhJnijc73hPax4Q8bobdK5XVBTWuxbj1yauFxnUhjhdURDvKz5iZWcBnH8dVwhuO5QTTqHOQF3QHHAgoqUAyfqO6N2uO6j"
    "ObbgMsWCOFi2dSnjmtcEvSu0slsbDXRce1BmHpH7LZR5WIgchKNcB5ssFbZHduXTPTLHqTiAq+WnkrE3c+gJXlJHxHG2ABYqZyNipkUY"
    "v9hoqKGsPhmRNqsnwCOBc1jgPUW4ONJClAiDjcKiH31iGyo0AL4qqxREy6c3cEGmR8IztK3yF06yN7RDMiyVAr63VRoECzA4QEmwu1pG"
    "G/vxKFYnn5qbir9znr1qD4P0RUVLoYciZ4cj3zjoeyaOT+TxZJnkZdXsZYy4zPXCLPvLDYEUk4X0XheupsyQWlCdrlama6NQscOSGGIE"
    "owo6iB5HdAYAHQAgk4X0XheupsyQWlCdrlama6NQscOSGGIEowo6iB5HdAY="
)
