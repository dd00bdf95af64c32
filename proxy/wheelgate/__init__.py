"""Wheelgate: one authenticating Simple API index in front of public PyPI, private feeds and packages in storage.

The rooms, and which may import which: ``docs/architecture.md``, held against the code by ``tests/test_layers.py``.
"""
