"""The program: both roles, gateway and client, and all that touches the world outside.

It listens, dials, reads files, serves the API and draws the status. What should be
open is decided in ``reconcile``, how bytes travel between the two programs in
``transport``, and what may be declared in ``schemas``; this room carries it out, and
is the only one that knows all of them.

A tour of ten minutes:

1. ``schemas/state.py``: what an operator can ask for.
2. ``reconcile/plan.py``: how asking becomes steps.
3. ``agent/gateway/listeners.py``: a step becomes an open port.
4. ``agent/gateway/frontdoor.py``: a visitor walks in.
5. ``transport/wire/SPEC.md``, then ``mux.py``: how visitors share one link.
6. ``agent/client/connector.py`` and ``agent/client/services.py``: the other end.
7. ``tests/e2e/``: all of it at once.
"""
