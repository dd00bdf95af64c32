"""File delivery: how the bytes of a listed file, its core metadata and its provenance reach a client."""
