"""Keys and certificates: made, read, watched, and turned into TLS contexts.

What it decides is whether material on the disk fits together and can be used; who is let
in with it is decided by each role.
"""
