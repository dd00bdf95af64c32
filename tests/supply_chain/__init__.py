"""The supply chain: what the image is made of, and which known flaws of it concern us."""
