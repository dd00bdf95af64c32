"""Signing in upstream: which credential belongs to a URL, where its secret lies, and how it is renewed."""
