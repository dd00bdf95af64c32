"""What the tests stand on: a clock that can be moved, packages made on the spot, an index on loopback, the real server."""
