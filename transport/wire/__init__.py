"""What is said on the wire, without a wire: bytes in, calls or values out, bytes out.

Everything here is pure: no input or output, no clock, no randomness, no log. A peer
that breaks the rules raises ``RemoteProtocolError``, a mistake of ours
``LocalProtocolError``, and nothing else comes out of a parser. ``SPEC.md`` says what
a second implementation has to know.
"""
