"""The public role: ports that visitors come to, and clients that serve them.

Begin with ``role``, the list of its parts. ``listeners`` opens the ports,
``frontdoor`` lets a visitor in, ``routing`` decides where it goes, ``sessions`` knows who is
connected, and ``control_port`` is where clients arrive. Nothing here knows the client's side.
"""
