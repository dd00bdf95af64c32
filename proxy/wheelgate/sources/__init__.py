"""Sources: one class per kind of place that lists projects, and the cache in front of them."""
