"""Enrichment: what an index leaves out of a page, learned from the files themselves, remembered and added."""
