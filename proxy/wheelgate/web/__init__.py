"""HTTP in: what a URL means, who may ask, and how an answer is put."""
