"""Requirements and conda files that name private places, rewritten to name Wheelgate: the text of a file in, its new text out.

``classify_urls`` knows which URLs Wheelgate answers for; ``decisions`` says what becomes
of each line; ``documents`` finds the lines of a file and puts the changes back into its text, byte for byte; ``redaction`` prints
what changed without a secret. ``signing`` alone asks anybody: storage, for signed URLs. Nothing here reads or writes a file.
"""
