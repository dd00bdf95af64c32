"""Readers of distribution files: what a wheel or an sdist says of itself, and what has to be true of it. Pure."""
