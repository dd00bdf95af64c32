"""Uploads: what is accepted, where it goes, and how it is listed, yanked and deleted."""
