"""HTTP in: URLs, authentication, and the answers of the server."""
