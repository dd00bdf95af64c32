"""Rewriting of requirements and conda files that name private places to name Wheelgate: the text of a file in, its new text out.

``classify_urls`` knows whose a URL is, ``decisions`` plans the edits, ``documents`` puts them into the text byte for byte, and
``redaction`` prints them without a secret. ``signing`` alone talks to storage. Nothing here reads or writes a file.
"""
