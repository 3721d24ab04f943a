"""The tunnel: how bytes travel between the two programs.

This room decides what goes over a link and when: the mux and its flow control, the
greeting, what ends a session, and how a socket is joined to a stream. ``wire`` is
its pure half and ``SPEC.md`` there its contract; ``pump`` moves the bytes.

It may not know what is declared, which port a visitor came to, where a name leads,
or who may connect: whoever uses it says so, through the handlers it is given.
"""
