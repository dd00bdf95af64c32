"""HTTP out: requests to upstreams, redirects followed by hand, addresses that may be reached, retries and health."""
