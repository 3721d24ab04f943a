"""The private role: sessions to gateways, and the services beside it.

Begin with ``role``, the list of its parts. ``connector`` has the links to all gateways,
``gateway_link`` those to one, ``address_link`` keeps one session to one place, and
``link_session`` is a session from its welcome to its end. ``dialing`` finds a way there,
also through a proxy. ``services`` dials for a visitor; the other way around, ``socks5`` lets
programs out through a gateway. Nothing here knows the gateway's side.
"""
