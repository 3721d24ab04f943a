"""What an agent remembers on the disk, and how a change of an operator's files is taken back.

``paths`` says where, ``memory`` what, ``undoing`` how a half-done change is made whole, and
``confirmation`` what happens to a change that nobody confirms.
"""
