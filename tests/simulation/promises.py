"""How soon replicas must know, and what is raised where a promise was broken."""

PROMPT_S = 6.0
"""How soon every replica that reaches the store must know of a change: 5 s, and one for a request that began before."""
DEAF_S = 10.0
"""So long a replica that hears of no changes relies on what it remembers."""


class Broken(AssertionError):
    """A promise was broken; the message says which, when and how."""
