"""The commands: what an operator types, and what is answered.

Read ``app`` and ``operations`` for the list of them, as Typer declares it; each does its
work in a file of its name. ``finding`` says which agent a command means, ``offline`` what
can be said without asking one, ``foreground`` how an agent runs on a terminal, and
``complaint`` how all of them fail. A command knows a running agent only through
``agent.api.client``.
"""
