"""HTTP out: the one place that talks to upstreams, chooses credentials and decides which addresses may be reached."""
