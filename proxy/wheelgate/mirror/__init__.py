"""Copying what builds need to where they can reach it: inputs -> pins -> files -> stored, each file proven by its digest."""
