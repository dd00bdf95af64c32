"""Rewriting of requirements and conda files that name private places to name Wheelgate: the text of a file in, its new text out.

``signing`` alone talks to storage. Nothing here reads or writes a file.
"""
