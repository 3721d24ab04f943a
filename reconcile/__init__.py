"""The decision: what must be done so that the machine is as the state file says.

This room reads desired state (``source``, ``watch``), compares it with what runs
(``desired``, ``observed``, ``plan``), has the difference carried out (``execute``)
and does so again and again (``loop``). It also words what came of it for one
tunnel (``conditions``) and keeps the tunnels that were declared through the API
on disk (``declared``).

What it decides: which state is accepted, which generation is in force, which
actions are due, in which order, and when a failed one is tried again.

What it may not know: sockets, sessions, TLS, HTTP, or which role it serves. The
world is behind one seam, ``actuator.Actuator``: observe, and perform one action.
So it imports ``schemas`` and never ``transport`` or ``agent``; the gateway and the
client run the same loop, each with its own actuator.

Two rules hold everywhere here. Level, not edge: a turn looks at what is wanted
and what runs, never at what an event said; events only ring a bell, and bells
merge. And a bad reading changes nothing: the last good state stays in force and
the problems are reported.
"""
