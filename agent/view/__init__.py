"""What a person sees: reports turned into lines that fit a terminal.

It decides how a status or a plan looks, never what it says: that comes from outside as
values of ``schemas``. ``cells`` and ``table`` know terminals and nothing of Tidegate,
``status`` and ``plan`` put the screens together, and ``live`` draws again and again.
"""
