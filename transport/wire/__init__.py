"""What is said on the wire, as pure code: bytes in, calls and bytes out.

What this package decides: what each byte of a session, of a ClientHello, of an HTTP
head, of a PROXY header or of SOCKS5 means, and which bytes say a thing. Everything a
peer may do wrong ends here in a ``RemoteProtocolError``, everything we may do
wrong in a ``LocalProtocolError``, and nothing else is raised.

What it may not know: sockets, event loops, clocks, randomness, files and logs. Time
comes in as a number. So all of it is tested without waiting, fed byte by byte, and
fuzzed. What a header or a name is good for is not its business either.

``SPEC.md`` beside this file is the session in words. The order to read it in:
``frames``, ``stream_state``, ``window``, ``stream_sink``, ``mux``; then ``control``,
``open_header`` and ``egress_header``; then ``keepalive``. The rest reads what visitors send
first, and speaks SOCKS5 and WebSocket with whoever is no part of a session.
"""
