"""Clients for our own commands: another Wheelgate over HTTP, and a file by its URL."""
