"""The log: one pipeline for what Tidegate and its libraries say, without secrets, without waiting.

Begin with ``pipeline``. No file here knows what happened, only how it is written down.
"""
