"""Diagnostics of `wheelgate check` and `connection test`: each function looks at one kind of thing, and says what is wrong."""
