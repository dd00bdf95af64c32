"""Readers of distribution files: what a wheel or an sdist says of itself, and what must be true of it. Pure."""
