"""The private role: sessions to gateways, and the services beside it.

Begin with ``role``, the list of its parts. ``connector`` keeps the sessions,
``link_session`` is one of them from its welcome to its end, and ``services`` dials for a
visitor. The other way around, ``socks5`` lets programs out through a gateway. Nothing here
knows the gateway's side.
"""
