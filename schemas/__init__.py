"""The language spoken in every room: what may be declared, and what is said about it.

Values only: nothing here touches a file, a socket, a clock or a log, so whatever
happens here can be tested by calling it.

Reading a state file goes through these, in this order:

1. ``text`` (with ``yaml_text``, ``toml_text``, ``json_text``): bytes to a ``Document``
   that knows where everything in it stands;
2. ``parse`` (with ``roles``, ``merge``, ``wording``): documents to one ``State``, or to
   a ``StateError`` with every problem;
3. ``rules``: what must hold between the entries.

``state`` is the list of everything an operator can ask for; ``fields``, ``names``,
``quantities`` and ``references`` say how it is spelled. ``json_schema`` says the same
for editors, with ``patterns``. ``fragment`` writes what Tidegate itself declares.
``messages`` and ``status`` are the other two things said aloud: between the
programs, and about them.
"""
