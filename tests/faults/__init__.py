"""One table of faults: how each is injected, what must be seen meanwhile, and how the server recovers."""
