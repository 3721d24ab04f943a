"""The management API: what an agent tells about itself, and the tunnels it takes orders for.

Read ``app`` for what can be asked, ``operation`` for how that is declared, ``identity``
for who may, ``threshold`` for the words of its first users, ``declared`` for how an
order comes into force as a whole or not at all, ``conditional`` for how two who give
orders do not undo each other's, and ``server`` for how bytes become requests.
``client`` is the other end: how a command asks an agent that runs.
"""
